"""How many tasks run: as many as hold the CPU and the requests per task at their targets."""

from __future__ import annotations

from troposphere import Equals, GetAtt, If, Join, Not, Ref, Sub, Template
from troposphere import applicationautoscaling as scaling

from cloudformation.alb import Balancer
from cloudformation.ecs import Service
from cloudformation.sizes import by_cpu

HAS_REQUESTS = "HasRequestsPerTask"
_OUT_SECONDS, _IN_SECONDS = 60, 120


def add_conditions(template: Template) -> None:
    template.add_condition(HAS_REQUESTS, Not(Equals(Ref("RequestsPerTask"), "0")))


def add_autoscaling(template: Template, service: Service, balancer: Balancer) -> None:
    """Add the range of tasks and the two rules that move within it."""
    target = template.add_resource(
        scaling.ScalableTarget(
            "ScalableTarget",
            ServiceNamespace="ecs",
            ScalableDimension="ecs:service:DesiredCount",
            ResourceId=Join("/", ["service", Ref(service.cluster), GetAtt(service.service, "Name")]),
            MinCapacity=Ref("MinTasks"),
            MaxCapacity=Ref("MaxTasks"),
        )
    )
    label = Sub(
        f"${{{balancer.load_balancer.title}.LoadBalancerFullName}}/${{{balancer.target_group.title}.TargetGroupFullName}}"
    )
    cpu = scaling.PredefinedMetricSpecification(PredefinedMetricType="ECSServiceAverageCPUUtilization")
    requests = scaling.PredefinedMetricSpecification(
        PredefinedMetricType="ALBRequestCountPerTarget", ResourceLabel=label
    )
    _add_policy(template, target, "ScaleByCpu", cpu, Ref("CpuTargetPercent"))
    wanted = If(HAS_REQUESTS, Ref("RequestsPerTask"), by_cpu("Requests"))
    _add_policy(template, target, "ScaleByRequests", requests, wanted)


def _add_policy(
    template: Template,
    target: scaling.ScalableTarget,
    name: str,
    metric: scaling.PredefinedMetricSpecification,
    value: Ref | If,
) -> None:
    template.add_resource(
        scaling.ScalingPolicy(
            name,
            PolicyName=Sub(f"${{AWS::StackName}}-{name}"),
            PolicyType="TargetTrackingScaling",
            ScalingTargetId=Ref(target),
            TargetTrackingScalingPolicyConfiguration=scaling.TargetTrackingScalingPolicyConfiguration(
                PredefinedMetricSpecification=metric,
                TargetValue=value,
                ScaleOutCooldown=_OUT_SECONDS,
                ScaleInCooldown=_IN_SECONDS,
            ),
        )
    )
