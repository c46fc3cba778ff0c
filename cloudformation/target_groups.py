"""The target groups: how the balancer asks a task whether it is ready, and how long it lets one go."""

from __future__ import annotations

from troposphere import elasticloadbalancingv2 as elb

from cloudformation.door import DRAIN_SECONDS, READINESS_PATH
from cloudformation.links import imported, tags
from cloudformation.parameters import NETWORK_STACK
from cloudformation.security_groups import GRPC_PORT, SERVICE_PORT

# The balancer looks at a call's status alone. Health's Check and ServerReady have the status OK where they answer no.
GRPC_READINESS_PATH = "/AWS.ALB/healthcheck"


def http_group(name: str, **attributes: str) -> elb.TargetGroup:
    """Return a target group of the tasks' port for HTTP."""
    ready = elb.Matcher(HttpCode="200")
    return _group(name, port=SERVICE_PORT, path=READINESS_PATH, ready=ready, **attributes)


def grpc_group(name: str, **attributes: str) -> elb.TargetGroup:
    """Return a target group of the tasks' port for gRPC."""
    ready = elb.Matcher(GrpcCode="0")
    return _group(name, port=GRPC_PORT, path=GRPC_READINESS_PATH, ready=ready, ProtocolVersion="GRPC", **attributes)


def _group(name: str, *, port: int, path: str, ready: elb.Matcher, **attributes: str) -> elb.TargetGroup:
    return elb.TargetGroup(
        name,
        TargetType="ip",
        Protocol="HTTP",
        Port=port,
        VpcId=imported(NETWORK_STACK, "Vpc"),
        HealthCheckEnabled=True,
        HealthCheckProtocol="HTTP",
        HealthCheckPath=path,
        HealthCheckIntervalSeconds=10,
        HealthCheckTimeoutSeconds=5,
        HealthyThresholdCount=2,
        UnhealthyThresholdCount=3,
        Matcher=ready,
        TargetGroupAttributes=[
            elb.TargetGroupAttribute(Key="deregistration_delay.timeout_seconds", Value=str(DRAIN_SECONDS)),
            # a slow task gets fewer requests than its fast sibling
            elb.TargetGroupAttribute(Key="load_balancing.algorithm.type", Value="least_outstanding_requests"),
        ],
        Tags=tags("targets"),
        **attributes,
    )
