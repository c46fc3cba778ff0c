"""Who spoke to whom in the network: VPC flow logs in the log bucket, if they are asked for.

They belong to the data stack, whose bucket keeps them: that is half the price of CloudWatch, and needs no role.
"""

from __future__ import annotations

from troposphere import Equals, Not, Ref, Sub, Template, ec2

from cloudformation.links import imported, tags
from cloudformation.parameters import NETWORK_STACK
from cloudformation.s3 import FLOW_LOG_PREFIX, Buckets

HAS_FLOW_LOGS = "HasFlowLogs"


def add_conditions(template: Template) -> None:
    template.add_condition(HAS_FLOW_LOGS, Not(Equals(Ref("FlowLogs"), "NONE")))


def add_flow_log(template: Template, buckets: Buckets) -> None:
    """Add the flow log of the whole network."""
    template.add_resource(
        ec2.FlowLog(
            "FlowLog",
            Condition=HAS_FLOW_LOGS,
            DependsOn=f"{buckets.logs.title}Policy",  # a log that may not be delivered is refused
            ResourceType="VPC",
            ResourceId=imported(NETWORK_STACK, "Vpc"),
            TrafficType=Ref("FlowLogs"),
            LogDestinationType="s3",
            LogDestination=Sub(f"${{{buckets.logs.title}.Arn}}/{FLOW_LOG_PREFIX}/"),
            MaxAggregationInterval=600,
            Tags=tags("flow-log"),
        )
    )
