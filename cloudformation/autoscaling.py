"""How many tasks run: as many as hold the CPU and the requests per task at their targets."""

from __future__ import annotations

from troposphere import Equals, GetAtt, If, Join, Not, NoValue, Ref, Sub, Template
from troposphere import applicationautoscaling as scaling

from cloudformation.alb import Balancer
from cloudformation.door import Door
from cloudformation.ecs import Service
from cloudformation.sizes import by_cpu

HAS_REQUESTS = "HasRequestsPerTask"
HAS_NIGHT = "HasNight"
_OUT_SECONDS, _IN_SECONDS = 60, 120


def add_conditions(template: Template) -> None:
    """Name what the parameters mean for the number of tasks, as each form of the template has them."""
    if "RequestsPerTask" in template.parameters:
        template.add_condition(HAS_REQUESTS, Not(Equals(Ref("RequestsPerTask"), "0")))
    if "NightFrom" in template.parameters:
        template.add_condition(HAS_NIGHT, Not(Equals(Ref("NightFrom"), "")))


def add_autoscaling(template: Template, service: Service, door: Door) -> None:
    """Add the range of tasks and the rules that move within it."""
    target = template.add_resource(
        scaling.ScalableTarget(
            "ScalableTarget",
            ServiceNamespace="ecs",
            ScalableDimension="ecs:service:DesiredCount",
            ResourceId=Join("/", ["service", Ref(service.cluster), GetAtt(service.service, "Name")]),
            MinCapacity=Ref("MinTasks"),
            MaxCapacity=Ref("MaxTasks"),
            ScheduledActions=If(HAS_NIGHT, _nights(), NoValue) if "NightFrom" in template.parameters else NoValue,
        )
    )
    cpu = scaling.PredefinedMetricSpecification(PredefinedMetricType="ECSServiceAverageCPUUtilization")
    _add_policy(template, target, "ScaleByCpu", cpu, Ref("CpuTargetPercent"))
    # The metric is of one target group, and if there are two, the other may have the traffic.
    if isinstance(door, Balancer) and door.api is None:
        names = (door.load_balancer.title, door.target_group.title)
        requests = scaling.PredefinedMetricSpecification(
            PredefinedMetricType="ALBRequestCountPerTarget",
            ResourceLabel=Sub("${{{}.LoadBalancerFullName}}/${{{}.TargetGroupFullName}}".format(*names)),
        )
        wanted = If(HAS_REQUESTS, Ref("RequestsPerTask"), by_cpu("Requests"))
        _add_policy(template, target, "ScaleByRequests", requests, wanted)


def _nights() -> list[scaling.ScheduledAction]:
    """Return the two actions of a night: fewer tasks, or none, and back to the range of the day."""

    def action(name: str, schedule: str, least: str, most: str) -> scaling.ScheduledAction:
        return scaling.ScheduledAction(
            ScheduledActionName=name,
            Schedule=Sub(schedule),
            Timezone=Ref("NightTimezone"),
            ScalableTargetAction=scaling.ScalableTargetAction(MinCapacity=Ref(least), MaxCapacity=Ref(most)),
        )

    return [
        action("Night", "cron(0 ${NightFrom} ? * * *)", "NightTasks", "NightTasks"),
        action("Day", "cron(0 ${NightUntil} ? * ${WakeDays} *)", "MinTasks", "MaxTasks"),
    ]


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
