"""gRPC behind the balancer: what the service's stack has beside HTTP where EnableGrpc is true.

Its rule is one of the HTTPS listener: a balancer speaks gRPC over HTTPS alone, and callers keep one name and one port.
"""

from __future__ import annotations

from dataclasses import dataclass

from troposphere import And, Condition, Equals, If, NoValue, Ref, Tag, Template, ec2, ecs
from troposphere import elasticloadbalancingv2 as elb

from cloudformation.links import imported
from cloudformation.parameters import NETWORK_STACK
from cloudformation.security_groups import GRPC_PORT

PARAMETER, HAS_GRPC = "EnableGrpc", "HasGrpc"
# A call's path is /package.service/method. A condition takes three paths, a rule five values.
PATHS = ["/inference.GRPCInferenceService/*", "/grpc.health.v1.Health/*", "/grpc.reflection.*"]
# Before every other rule: calls carry keys, and have no browser to sign in with.
PRIORITY = 1


@dataclass(frozen=True, slots=True)
class Grpc:
    """The target group and the rule that forwards to it."""

    target_group: elb.TargetGroup
    rule: elb.ListenerRule

    @property
    def tag(self) -> If:
        """Return the tag by which the service waits for the rule."""
        return If(HAS_GRPC, Tag("GrpcRule", Ref(self.rule)), NoValue)


def is_offered(template: Template) -> bool:
    """Return whether this form of the service's template has the parameter."""
    return PARAMETER in template.parameters


def add_condition(template: Template, has_certificate: str) -> None:
    """Name what the parameter means, in the forms that have it."""
    if is_offered(template):
        template.add_condition(HAS_GRPC, And(Condition(has_certificate), Equals(Ref(PARAMETER), "true")))


def port_mapping() -> If:
    """Return the container's port."""
    return If(HAS_GRPC, ecs.PortMapping(ContainerPort=GRPC_PORT, Protocol="tcp"), NoValue)


def variable() -> If:
    """Return the container's variable that opens the port."""
    return If(HAS_GRPC, ecs.Environment(Name="GRPC_PORT", Value=str(GRPC_PORT)), NoValue)


def add_way_to_tasks(template: Template) -> None:
    """Open the port between the balancer and the tasks.

    The rules are in this stack, so that the option is one parameter of one stack.
    """
    balancer, tasks = (imported(NETWORK_STACK, f"{name}SecurityGroup") for name in ("Balancer", "Tasks"))
    ports: dict[str, object] = {"IpProtocol": "tcp", "FromPort": GRPC_PORT, "ToPort": GRPC_PORT, "Condition": HAS_GRPC}
    template.add_resource(
        ec2.SecurityGroupEgress(
            "BalancerToGrpc", GroupId=balancer, DestinationSecurityGroupId=tasks, Description="gRPC to the tasks",
            **ports,
        )
    )  # fmt: skip
    template.add_resource(
        ec2.SecurityGroupIngress(
            "GrpcFromBalancer", GroupId=tasks, SourceSecurityGroupId=balancer, Description="gRPC from the balancer",
            **ports,
        )
    )  # fmt: skip
