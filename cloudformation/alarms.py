"""What wakes somebody, and what rolls a deployment back: alarms on callers, tasks, models and the database."""

from __future__ import annotations

from dataclasses import dataclass

from troposphere import Ref, Sub, Template, cloudwatch, events

from cloudformation.links import imported, tags
from cloudformation.parameters import DATA_STACK, SERVICE_STACK

ROLLS = "RollsTaskByTask"
METRICS_NAMESPACE = "mlapi"
DEPLOYMENT_ALARMS = ("TargetErrors", "ReplicaFailed")
_GIBIBYTE = 1024**3
_ALB, _API, _RDS = "AWS/ApplicationELB", "AWS/ApiGateway", "AWS/RDS"


@dataclass(frozen=True, slots=True)
class Watch:
    """When an alarm goes off: `periods` of `of_periods` are beyond the threshold.

    With `needs_samples` CloudWatch leaves the alarm as it is while a period has fewer than `10 / (1 - percentile)`
    samples: that is the minimum of requests.
    """

    title: str
    description: str
    namespace: str
    metric: str
    dimensions: dict[str, object]
    threshold: float
    statistic: str = "Sum"
    comparison: str = "GreaterThanOrEqualToThreshold"
    seconds: int = 60
    periods: int = 2
    of_periods: int = 3
    missing: str = "notBreaching"
    needs_samples: bool = False


def add_deployment_alarms(template: Template) -> list[cloudwatch.Alarm]:
    """Add the alarms that roll a deployment back, to the service stack.

    `TargetErrors` is a rate of failed predictions, as the service itself reports them: each request is a sample of 0 or
    100, so p90 is above 50 where one in ten failed, and CloudWatch wants at least 100 samples for a p90. The answers
    503 by which `/health/ready` tells a prober to wait are not failures; the balancer's count of 5xx cannot tell.
    """
    of_service: dict[str, object] = {"Service": Ref("AWS::StackName")}
    watches = (
        Watch(
            "TargetErrors", "At least 10 % of the predictions failed, among 100 or more in five minutes",
            METRICS_NAMESPACE, "FailurePercent", of_service, 50, statistic="p90",
            seconds=300, periods=1, of_periods=1, needs_samples=True,
        ),
        Watch(
            "ReplicaFailed", "A replica cannot load a model, and still serves the previous version",
            METRICS_NAMESPACE, "ReplicaFailed", of_service, 1, statistic="Maximum", periods=1, of_periods=1,
        ),
    )  # fmt: skip
    return [_add_alarm(template, watch, imported(DATA_STACK, "AlarmTopicArn")) for watch in watches]


def add_service_alarms(template: Template) -> None:
    """Add the alarms on what callers see, to the monitoring stack."""
    balancer, targets = (imported(SERVICE_STACK, f"{name}FullName") for name in ("LoadBalancer", "TargetGroup"))
    of_balancer: dict[str, object] = {"LoadBalancer": balancer}
    watches = (
        Watch(
            "BalancerErrors", "The balancer itself answered 5xx", _ALB, "HTTPCode_ELB_5XX_Count", of_balancer, 5,
        ),
        Watch(
            "ConnectionErrors", "Tasks refused connections", _ALB, "TargetConnectionErrorCount", of_balancer, 5,
        ),
        Watch(
            "RejectedConnections", "The balancer is full",
            _ALB, "RejectedConnectionCount", of_balancer, 1, periods=1,
        ),
        Watch(
            "SlowAnswers", "1 % of the requests take more than a second",
            _ALB, "TargetResponseTime", of_balancer, 1.0, statistic="p99", periods=5, of_periods=5,
        ),
        _no_healthy_target("NoHealthyTarget", "No task is ready", balancer, targets),
    )  # fmt: skip
    for watch in watches:
        alarm = _add_alarm(template, watch, imported(DATA_STACK, "AlarmTopicArn"))
        if watch.title == "NoHealthyTarget":
            # Of two groups one is always empty; there BalancerErrors says the same, by the balancer's 503.
            alarm.resource["Condition"] = ROLLS


def add_grpc_alarm(template: Template, balancer: object, targets: object, *, condition: str) -> None:
    """Add the alarm on the tasks' port for gRPC, to the service stack.

    The monitoring stack would need an export of the target group, and one that is in use cannot go with the option.
    """
    watch = _no_healthy_target("NoHealthyGrpcTarget", "No task is ready for gRPC", balancer, targets)
    _add_alarm(template, watch, imported(DATA_STACK, "AlarmTopicArn"), Condition=condition)


def _no_healthy_target(title: str, description: str, balancer: object, targets: object) -> Watch:
    return Watch(
        title, description, _ALB, "HealthyHostCount", {"LoadBalancer": balancer, "TargetGroup": targets}, 1,
        statistic="Minimum", comparison="LessThanThreshold", missing="breaching",
    )  # fmt: skip


def add_api_alarms(template: Template) -> None:
    """Add the alarms on what callers of an HTTP API see, to the monitoring stack."""
    of_api: dict[str, object] = {"ApiId": imported(SERVICE_STACK, "ApiId")}
    of_tasks: dict[str, object] = {
        "ClusterName": imported(SERVICE_STACK, "Cluster"),
        "ServiceName": imported(SERVICE_STACK, "Service"),
    }
    watches = (
        Watch("ApiErrors", "Clients got 5xx, from the tasks or from the API itself", _API, "5xx", of_api, 5),
        Watch(
            "SlowAnswers", "1 % of the requests take more than a second",
            _API, "Latency", of_api, 1000, statistic="p99", periods=5, of_periods=5,
        ),
        Watch(
            # Each task reports its CPU once a minute; Cloud Map itself has no metric of healthy tasks.
            "NoTask", "No task runs", "AWS/ECS", "CPUUtilization", of_tasks, 1,
            statistic="SampleCount", comparison="LessThanThreshold", periods=3, missing="breaching",
        ),
    )  # fmt: skip
    for watch in watches:
        _add_alarm(template, watch, imported(DATA_STACK, "AlarmTopicArn"))


def add_database_alarms(template: Template, instance: object, topic: object, *, condition: str) -> None:
    """Add the alarms on the registry's database, to the stack that has it."""
    of_database: dict[str, object] = {"DBInstanceIdentifier": instance}
    watches = (
        Watch(
            "DatabaseStorage", "The database has under 2 GiB left", _RDS, "FreeStorageSpace", of_database,
            2 * _GIBIBYTE, statistic="Minimum", comparison="LessThanThreshold", periods=5, of_periods=5,
        ),
        Watch(
            "DatabaseCpu", "The database uses over 80 % of its CPU", _RDS, "CPUUtilization", of_database, 80,
            statistic="Average", periods=10, of_periods=10,
        ),
    )  # fmt: skip
    for watch in watches:
        # named, so that the dashboard of another stack can show them without an export
        alarm = _add_alarm(template, watch, topic, AlarmName=Sub(f"${{AWS::StackName}}-{watch.title}"))
        alarm.resource["Condition"] = condition


def database_alarm_arns() -> list[Sub]:
    """Return the ARNs of the alarms on the database, as the stacks above the data know them."""
    names = ("DatabaseCpu", "DatabaseStorage")
    prefix = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm"
    return [Sub(f"{prefix}:${{{DATA_STACK}}}-{name}") for name in names]


def add_failed_deployment_event(template: Template) -> None:
    """Mail a deployment of the service that failed, with ECS's own reason."""
    template.add_resource(
        events.Rule(
            "DeploymentFailed",
            Description="A deployment of the service failed and is rolled back",
            EventPattern={
                "source": ["aws.ecs"],
                "detail-type": ["ECS Deployment State Change"],
                "resources": [imported(SERVICE_STACK, "ServiceArn")],
                "detail": {"eventName": ["SERVICE_DEPLOYMENT_FAILED"]},
            },
            Targets=[events.Target(Id="Mail", Arn=imported(DATA_STACK, "AlarmTopicArn"))],
        )
    )


def _add_alarm(template: Template, watch: Watch, topic: object, **attributes: object) -> cloudwatch.Alarm:
    attributes["ExtendedStatistic" if watch.statistic.startswith("p") else "Statistic"] = watch.statistic
    if watch.needs_samples:
        attributes["EvaluateLowSampleCountPercentile"] = "ignore"
    return template.add_resource(
        cloudwatch.Alarm(
            watch.title,
            AlarmDescription=watch.description,
            Namespace=watch.namespace,
            MetricName=watch.metric,
            Dimensions=[cloudwatch.MetricDimension(Name=k, Value=v) for k, v in watch.dimensions.items()],
            ComparisonOperator=watch.comparison,
            Threshold=watch.threshold,
            Period=watch.seconds,
            DatapointsToAlarm=watch.periods,
            EvaluationPeriods=watch.of_periods,
            TreatMissingData=watch.missing,
            AlarmActions=[topic],
            OKActions=[topic],
            Tags=tags(watch.title),
            **attributes,
        )
    )
