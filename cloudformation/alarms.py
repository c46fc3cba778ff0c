"""What wakes somebody: alarms on the balancer, the tasks, the models and the database, mailed to one address."""

from __future__ import annotations

from dataclasses import dataclass

from troposphere import Equals, GetAtt, If, Not, NoValue, Ref, Template, cloudwatch, events, sns

from cloudformation.alb import Balancer
from cloudformation.iam import HAS_DATABASE
from cloudformation.links import imported, skipped_checks, tags
from cloudformation.parameters import DATA_STACK

HAS_EMAIL = "HasAlarmEmail"
METRICS_NAMESPACE = "mlapi"
_GIBIBYTE = 1024**3


@dataclass(frozen=True, slots=True)
class Watch:
    """When an alarm goes off: the metric, and `of_minutes` of which `minutes` are beyond the threshold."""

    title: str
    description: str
    namespace: str
    metric: str
    dimensions: dict[str, object]
    threshold: float
    statistic: str = "Sum"
    comparison: str = "GreaterThanOrEqualToThreshold"
    minutes: int = 2
    of_minutes: int = 3
    missing: str = "notBreaching"
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Alarms:
    topic: sns.Topic
    all: tuple[cloudwatch.Alarm, ...]
    of_deployment: tuple[cloudwatch.Alarm, ...]


def add_conditions(template: Template) -> None:
    template.add_condition(HAS_EMAIL, Not(Equals(Ref("AlarmEmail"), "")))


def add_alarms(template: Template, balancer: Balancer) -> Alarms:
    """Add the alarms, and a topic for them where an address is given."""
    topic = _add_topic(template)
    alarms = {watch.title: _add_alarm(template, topic, watch) for watch in _watches(balancer)}
    # Not the alarm on healthy targets: a first deployment begins without any.
    of_deployment = (alarms["TargetErrors"], alarms["ReplicaFailed"])
    return Alarms(topic=topic, all=tuple(alarms.values()), of_deployment=of_deployment)


def add_failed_deployment_event(template: Template, topic: sns.Topic, service_arn: object) -> None:
    """Mail a deployment of the service that failed, with ECS's own reason."""
    template.add_resource(
        events.Rule(
            "DeploymentFailed",
            Condition=HAS_EMAIL,
            Description="A deployment of the service failed and is rolled back",
            EventPattern={
                "source": ["aws.ecs"],
                "detail-type": ["ECS Deployment State Change"],
                "resources": [service_arn],
                "detail": {"eventName": ["SERVICE_DEPLOYMENT_FAILED"]},
            },
            Targets=[events.Target(Id="Mail", Arn=Ref(topic))],
        )
    )


def _watches(balancer: Balancer) -> tuple[Watch, ...]:
    of_balancer: dict[str, object] = {"LoadBalancer": GetAtt(balancer.load_balancer, "LoadBalancerFullName")}
    of_targets = of_balancer | {"TargetGroup": GetAtt(balancer.target_group, "TargetGroupFullName")}
    of_service: dict[str, object] = {"Service": Ref("AWS::StackName")}
    of_database: dict[str, object] = {"DBInstanceIdentifier": imported(DATA_STACK, "DatabaseInstance")}
    alb, rds = "AWS/ApplicationELB", "AWS/RDS"
    return (
        Watch("BalancerErrors", "The balancer itself answered 5xx", alb, "HTTPCode_ELB_5XX_Count", of_balancer, 5),
        Watch("TargetErrors", "The service answered 5xx", alb, "HTTPCode_Target_5XX_Count", of_targets, 5),
        Watch("ConnectionErrors", "Tasks refused connections", alb, "TargetConnectionErrorCount", of_targets, 5),
        Watch("RejectedConnections", "The balancer is full", alb, "RejectedConnectionCount", of_balancer, 1, minutes=1),
        Watch(
            "SlowAnswers", "One answer in a hundred takes over a second", alb, "TargetResponseTime", of_targets, 1.0,
            statistic="p99", minutes=5, of_minutes=5,
        ),
        Watch(
            "NoHealthyTarget", "No task is ready", alb, "HealthyHostCount", of_targets, 1,
            statistic="Minimum", comparison="LessThanThreshold", missing="breaching",
        ),
        Watch(
            "ReplicaFailed", "A replica cannot load a model; it serves the version before", METRICS_NAMESPACE,
            "ReplicaFailed", of_service, 1, statistic="Maximum", minutes=1, of_minutes=1,
        ),
        Watch(
            "DatabaseStorage", "The database has under 2 GiB left", rds, "FreeStorageSpace", of_database, 2 * _GIBIBYTE,
            statistic="Minimum", comparison="LessThanThreshold", minutes=5, of_minutes=5, condition=HAS_DATABASE,
        ),
        Watch(
            "DatabaseCpu", "The database is busy", rds, "CPUUtilization", of_database, 80,
            statistic="Average", minutes=10, of_minutes=10, condition=HAS_DATABASE,
        ),
    )  # fmt: skip


def _add_alarm(template: Template, topic: sns.Topic, watch: Watch) -> cloudwatch.Alarm:
    statistic = "ExtendedStatistic" if watch.statistic.startswith("p") else "Statistic"
    actions = If(HAS_EMAIL, [Ref(topic)], NoValue)
    attributes: dict[str, object] = {statistic: watch.statistic}
    if watch.condition:
        attributes["Condition"] = watch.condition
    return template.add_resource(
        cloudwatch.Alarm(
            watch.title,
            AlarmDescription=watch.description,
            Namespace=watch.namespace,
            MetricName=watch.metric,
            Dimensions=[cloudwatch.MetricDimension(Name=k, Value=v) for k, v in watch.dimensions.items()],
            ComparisonOperator=watch.comparison,
            Threshold=watch.threshold,
            Period=60,
            DatapointsToAlarm=watch.minutes,
            EvaluationPeriods=watch.of_minutes,
            TreatMissingData=watch.missing,
            AlarmActions=actions,
            OKActions=actions,
            Tags=tags(watch.title),
            **attributes,
        )
    )


def _add_topic(template: Template) -> sns.Topic:
    topic = template.add_resource(
        sns.Topic(
            "AlarmTopic",
            Condition=HAS_EMAIL,
            Subscription=[sns.Subscription(Protocol="email", Endpoint=Ref("AlarmEmail"))],
            Metadata=skipped_checks(CKV_AWS_26="CloudWatch cannot publish to a topic under AWS's own key"),
            Tags=tags("alarms"),
        )
    )
    template.add_resource(
        sns.TopicPolicy(
            "AlarmTopicPolicy",
            Condition=HAS_EMAIL,
            Topics=[Ref(topic)],
            PolicyDocument={
                "Version": "2012-10-17",
                "Statement": [_may_publish(topic, service) for service in ("cloudwatch", "events")],
            },
        )
    )
    return topic


def _may_publish(topic: sns.Topic, service: str) -> dict[str, object]:
    return {
        "Sid": f"{service.capitalize()}MayPublish",
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": Ref(topic),
        "Condition": {"StringEquals": {"aws:SourceAccount": Ref("AWS::AccountId")}},
    }
