"""What has to be so before a deployment begins: quiet alarms, and the roles that AWS's services act under."""

from __future__ import annotations

import sys

from cloudformation.alarms import DEPLOYMENT_ALARMS
from cloudformation.aws import Aws, AwsError

# Each is made by itself at somebody's first use of the service, and that first use then often fails.
_SERVICES = ("ecs.amazonaws.com", "elasticloadbalancing.amazonaws.com", "ecs.application-autoscaling.amazonaws.com")
_ALREADY_THERE = ("has been taken in this account", "EntityAlreadyExists")
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


def make_service_linked_roles(aws: Aws, *, with_database: bool) -> None:
    """Make the roles of the AWS services that are used, where the account does not have them yet."""
    for service in (*_SERVICES, _DATABASE_SERVICE) if with_database else _SERVICES:
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
