"""The network: one VPC, two public and two private subnets in two zones, and the way out of them."""

from __future__ import annotations

from dataclasses import dataclass

from troposphere import And, Condition, Equals, GetAtt, GetAZs, If, Not, Ref, Select, Template, ec2

from cloudformation.config import AddressPlan
from cloudformation.links import refused_controls, tags

IN_NAT, IN_ENDPOINTS = "TasksBehindNat", "TasksBehindEndpoints"
HAS_BALANCER = "HasBalancer"
IN_NAT_IN_PROD, IS_PROD, HAS_ZONES = "TasksBehindNatInProd", "IsProd", "HasZones"
_ZONES = ("FirstZone", "SecondZone")
EVERYWHERE = "0.0.0.0/0"
_REFUSED = {
    "EC2.2": "CloudFormation cannot change the default group; nothing here is in it",
    "EC2.172": "The service answers the internet, by way of a gateway",
    **dict.fromkeys(("EC2.10", "EC2.57", "EC2.58", "EC2.60"), "Nothing in the network calls it"),
}


@dataclass(frozen=True, slots=True)
class Network:
    """The parts that others are placed in."""

    vpc: ec2.VPC
    public_subnets: tuple[ec2.Subnet, ...]
    private_subnets: tuple[ec2.Subnet, ...]
    public_routes: ec2.RouteTable
    private_routes: tuple[ec2.RouteTable, ...]
    addresses: AddressPlan


def add_modes(template: Template) -> None:
    """Name the network modes that add something as conditions."""
    for condition, mode in ((IN_NAT, "nat"), (IN_ENDPOINTS, "endpoints")):
        template.add_condition(condition, Equals(Ref("NetworkMode"), mode))
    template.add_condition(IS_PROD, Equals(Ref("EnvironmentName"), "prod"))
    template.add_condition(IN_NAT_IN_PROD, And(Condition(IN_NAT), Condition(IS_PROD)))
    template.add_condition(HAS_BALANCER, Equals(Ref("Door"), "balancer"))
    template.add_condition(HAS_ZONES, Not(Equals(Ref("FirstZone"), "")))


def add_network(template: Template, addresses: AddressPlan) -> Network:
    """Add the VPC with its subnets and routes; a NAT gateway in the mode `nat` only."""
    vpc = template.add_resource(
        ec2.VPC(
            "Vpc",
            CidrBlock=addresses.vpc,
            EnableDnsSupport=True,
            EnableDnsHostnames=True,  # interface endpoints answer under AWS's own names only with both
            Metadata=refused_controls(_REFUSED),
            Tags=tags("vpc"),
        )
    )
    public = _add_subnets(template, vpc, "Public", addresses.public)
    private = _add_subnets(template, vpc, "Private", addresses.private)
    public_routes = _add_routes(template, vpc, "Public", public)
    # A table for each zone, so that in prod each zone has its own way out.
    private_routes = (
        _add_routes(template, vpc, "Private", private[:1]),
        _add_routes(template, vpc, "Private", private[1:], number="2"),
    )
    _add_internet_gateway(template, vpc, public_routes)
    first = _add_nat_gateway(template, public[0], IN_NAT)
    second = _add_nat_gateway(template, public[1], IN_NAT_IN_PROD, number="2")
    _add_private_default_route(template, private_routes[0], Ref(first))
    _add_private_default_route(template, private_routes[1], If(IN_NAT_IN_PROD, Ref(second), Ref(first)), number="2")
    return Network(vpc, public, private, public_routes, private_routes, addresses)


def _add_subnets(template: Template, vpc: ec2.VPC, kind: str, cidrs: tuple[str, ...]) -> tuple[ec2.Subnet, ...]:
    return tuple(
        template.add_resource(
            ec2.Subnet(
                f"{kind}Subnet{zone + 1}",
                VpcId=Ref(vpc),
                CidrBlock=cidr,
                AvailabilityZone=If(HAS_ZONES, Ref(_ZONES[zone]), Select(zone, GetAZs(""))),
                # a task asks for a public address itself; nothing else placed here should get one unasked
                MapPublicIpOnLaunch=False,
                Tags=tags(f"{kind.lower()}-{zone + 1}"),
            )
        )
        for zone, cidr in enumerate(cidrs)
    )


def _add_routes(
    template: Template, vpc: ec2.VPC, kind: str, subnets: tuple[ec2.Subnet, ...], *, number: str = ""
) -> ec2.RouteTable:
    name = f"{kind.lower()}-routes" + (f"-{number}" if number else "")
    table = template.add_resource(ec2.RouteTable(f"{kind}Routes{number}", VpcId=Ref(vpc), Tags=tags(name)))
    for subnet in subnets:
        template.add_resource(
            ec2.SubnetRouteTableAssociation(f"{subnet.title}Routes", SubnetId=Ref(subnet), RouteTableId=Ref(table))
        )
    return table


def _add_internet_gateway(template: Template, vpc: ec2.VPC, routes: ec2.RouteTable) -> None:
    gateway = template.add_resource(ec2.InternetGateway("InternetGateway", Tags=tags("internet")))
    attachment = template.add_resource(
        ec2.VPCGatewayAttachment("InternetGatewayAttachment", VpcId=Ref(vpc), InternetGatewayId=Ref(gateway))
    )
    template.add_resource(
        ec2.Route(
            "PublicDefaultRoute",
            RouteTableId=Ref(routes),
            DestinationCidrBlock=EVERYWHERE,
            GatewayId=Ref(gateway),
            DependsOn=attachment.title,  # a route to a gateway that is not attached yet is refused
        )
    )


def _add_nat_gateway(template: Template, subnet: ec2.Subnet, condition: str, *, number: str = "") -> ec2.NatGateway:
    address = template.add_resource(
        ec2.EIP(
            f"NatAddress{number}",
            Condition=condition,
            Domain="vpc",
            DependsOn="InternetGatewayAttachment",
            Tags=tags("nat"),
        )
    )
    return template.add_resource(
        ec2.NatGateway(
            f"NatGateway{number}",
            Condition=condition,
            AllocationId=GetAtt(address, "AllocationId"),
            SubnetId=Ref(subnet),
            Tags=tags("nat"),
        )
    )


def _add_private_default_route(
    template: Template, routes: ec2.RouteTable, gateway: object, *, number: str = ""
) -> None:
    template.add_resource(
        ec2.Route(
            f"PrivateDefaultRoute{number}",
            Condition=IN_NAT,
            RouteTableId=Ref(routes),
            DestinationCidrBlock=EVERYWHERE,
            NatGatewayId=gateway,
        )
    )
