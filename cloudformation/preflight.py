"""What has to be so before a deployment begins: quiet alarms, and the roles that AWS's services act under."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cloudformation.alarms import DEPLOYMENT_ALARMS
from cloudformation.aws import Aws, AwsError
from cloudformation.config import Settings

# The alarm on failed predictions looks at no fewer.
_MIN_REQUESTS = 100

# Each is made by itself at somebody's first use of the service, and that first use then often fails.
_SERVICES = ("ecs.amazonaws.com", "elasticloadbalancing.amazonaws.com", "ecs.application-autoscaling.amazonaws.com")
_ALREADY_THERE = ("has been taken in this account", "EntityAlreadyExists")
_API_SERVICE = "ops.apigateway.amazonaws.com"  # of VPC links
_DATABASE_SERVICE = "rds.amazonaws.com"


def require_quiet_alarms(aws: Aws, service_stack: str) -> None:
    """Raise AwsError while an alarm that would roll a deployment back is on: ECS then ignores it."""
    listed = aws.resources(service_stack)
    names = [part["PhysicalResourceId"] for part in listed if part["LogicalResourceId"] in DEPLOYMENT_ALARMS]
    if not names:
        return
    alarms = aws.call("cloudwatch", "describe_alarms", AlarmNames=names)["MetricAlarms"]
    loud = [alarm for alarm in alarms if alarm["StateValue"] == "ALARM"]
    if loud:
        lines = "\n".join(f"  {alarm['AlarmName']}: {alarm.get('AlarmDescription', '')}" for alarm in loud)
        raise AwsError(
            f"Nothing was deployed, since these alarms are on:\n{lines}\n"
            "ECS does not watch an alarm that is on when a deployment begins, so a bad image would not be rolled back "
            "by it. Wait until it is OK; or, where this deployment is the remedy, add --despite-alarms and watch it."
        )


def make_service_linked_roles(aws: Aws, *, with_database: bool, with_api: bool = False) -> None:
    """Make the roles of the AWS services that are used, where the account does not have them yet."""
    wanted = [*_SERVICES, *([_DATABASE_SERVICE] if with_database else []), *([_API_SERVICE] if with_api else [])]
    for service in wanted:
        try:
            aws.call("iam", "create_service_linked_role", AWSServiceName=service)
        except AwsError as error:
            if any(text in str(error) for text in _ALREADY_THERE):
                continue
            if "AccessDenied" not in str(error):
                raise
            print(
                f"You may not make the role of {service}. If the account lacks it, the first deployment fails: "
                f"have an administrator run aws iam create-service-linked-role --aws-service-name {service}",
                file=sys.stderr,
            )


def live_target_group(aws: Aws, service_stack: str) -> str:
    """Return which of the two target groups has the traffic: main, or alternate."""
    parts = {part["LogicalResourceId"]: part["PhysicalResourceId"] for part in aws.resources(service_stack)}
    rule = parts.get("HttpsServes") or parts.get("HttpServes")
    if rule is None:
        return "main"
    described = aws.call("elbv2", "describe_rules", RuleArns=[rule])["Rules"][0]
    return "alternate" if parts["AlternateTargetGroup"] in groups_with_traffic(described) else "main"


def groups_with_traffic(rule: Mapping[str, Any]) -> set[str]:
    """Return the target groups to which a described rule forwards, those of weight 0 left out."""
    return {
        group["TargetGroupArn"]
        for action in rule["Actions"]
        for group in action.get("ForwardConfig", {}).get("TargetGroups", [])
        if group.get("Weight", 0)
    }


def require_main_is_live(live: str) -> None:
    """Raise AwsError if a return to ROLLING would meet a target group without tasks."""
    if live != "main":
        raise AwsError(
            "The traffic is with the alternate target group, and ROLLING knows the main one alone. Deploy once more "
            "with the strategy that the service has, which brings the traffic back to the main one, then with ROLLING."
        )


def require_traffic(aws: Aws, settings: Settings, service_stack: str) -> None:
    """Raise AwsError if a step of the shift would see too few requests to say anything."""
    if settings.deployment_strategy not in {"LINEAR", "CANARY"} or aws.stack(service_stack) is None:
        return
    balancer = aws.outputs(service_stack).get("LoadBalancerFullName")
    per_minute = _requests_per_minute(aws, balancer) if balancer else 0.0  # an HTTP API until now: nothing is known
    seen = per_minute * settings.bake_minutes * settings.shift_percent / 100
    if seen < _MIN_REQUESTS:
        raise AwsError(
            f"Nothing was deployed: in the last day the service had {per_minute:.1f} requests a minute, so a step of "
            f"{settings.shift_percent} % for {settings.bake_minutes} minutes sees {seen:.0f}, and the alarms need "
            f"{_MIN_REQUESTS}. Set DeploymentStrategy=BLUE_GREEN, whose smoke test needs no traffic, or more "
            "BakeMinutes or ShiftPercent."
        )


def _requests_per_minute(aws: Aws, load_balancer: str) -> float:
    now = datetime.now(UTC)
    points = aws.call(
        "cloudwatch",
        "get_metric_statistics",
        Namespace="AWS/ApplicationELB",
        MetricName="RequestCount",
        Dimensions=[{"Name": "LoadBalancer", "Value": load_balancer}],
        StartTime=now - timedelta(days=1),
        EndTime=now,
        Period=3600,
        Statistics=["Sum"],
    )["Datapoints"]
    return float(sum(point["Sum"] for point in points)) / (24 * 60)
