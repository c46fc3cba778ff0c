"""Who may speak to whom: internet -> balancer -> tasks -> database and endpoints, and no other way."""

from __future__ import annotations

from dataclasses import dataclass

from troposphere import GetAtt, If, Ref, Template, ec2

from cloudformation.links import skipped_checks, tags
from cloudformation.network import EVERYWHERE, HAS_BALANCER, IN_ENDPOINTS, Network

HTTP, HTTPS, SERVICE_PORT, GRPC_PORT, POSTGRES = 80, 443, 8000, 8001, 5432

# A group without any outbound rule gets one to everywhere, so "none" is written as a rule to itself alone.
_NOWHERE = ec2.SecurityGroupRule(
    IpProtocol="-1", CidrIp="127.0.0.1/32", Description="Nothing goes out; without a rule everything could"
)


@dataclass(frozen=True, slots=True)
class SecurityGroups:
    balancer: ec2.SecurityGroup
    tasks: ec2.SecurityGroup
    database: ec2.SecurityGroup
    endpoints: ec2.SecurityGroup


def add_security_groups(template: Template, network: Network) -> SecurityGroups:
    """Add the four groups, each admitting only the one in front of it.

    Outbound rules name address ranges where a group would name its caller: two groups that name each
    other cannot be made.
    """
    subnets = (*network.addresses.public, *network.addresses.private)
    balancer = _add(
        template,
        network,
        "Balancer",
        "The load balancer, open to the internet",
        # With an HTTP API this is the group of its VPC link, which accepts nothing from outside.
        inbound=If(
            HAS_BALANCER,
            [
                _from_cidr(EVERYWHERE, HTTP, "HTTP from the internet; redirected when there is a certificate"),
                _from_cidr(EVERYWHERE, HTTPS, "HTTPS from the internet"),
            ],
            [],
        ),
        outbound=[_from_cidr(cidr, SERVICE_PORT, "To the tasks") for cidr in subnets],
    )
    balancer.Metadata = skipped_checks(CKV_AWS_260="A public HTTP service: port 80 redirects, or serves, by design")
    tasks = _add(
        template,
        network,
        "Tasks",
        "The tasks, entered from the balancer only",
        inbound=[_from_group(balancer, SERVICE_PORT, "From the balancer")],
        outbound=[
            _from_cidr(EVERYWHERE, HTTPS, "To AWS: images, models, secrets, logs"),
            *(_from_cidr(cidr, POSTGRES, "To the database") for cidr in network.addresses.private),
        ],
    )
    database = _add(
        template,
        network,
        "Database",
        "The registry database, entered from the tasks only",
        inbound=[_from_group(tasks, POSTGRES, "From the tasks")],
        outbound=[_NOWHERE],
    )
    endpoints = _add(
        template,
        network,
        "Endpoint",
        "The interface endpoints, entered from the tasks only",
        inbound=[_from_group(tasks, HTTPS, "From the tasks")],
        outbound=[_NOWHERE],
        Condition=IN_ENDPOINTS,
    )
    return SecurityGroups(balancer=balancer, tasks=tasks, database=database, endpoints=endpoints)


def _add(
    template: Template,
    network: Network,
    name: str,
    description: str,
    *,
    inbound: list[ec2.SecurityGroupRule] | If,
    outbound: list[ec2.SecurityGroupRule],
    **attributes: str,
) -> ec2.SecurityGroup:
    return template.add_resource(
        ec2.SecurityGroup(
            f"{name}SecurityGroup",
            GroupDescription=description,
            VpcId=Ref(network.vpc),
            SecurityGroupIngress=inbound,
            SecurityGroupEgress=outbound,
            Tags=tags(name.lower()),
            **attributes,
        )
    )


def _from_cidr(cidr: str, port: int, description: str) -> ec2.SecurityGroupRule:
    return ec2.SecurityGroupRule(IpProtocol="tcp", FromPort=port, ToPort=port, CidrIp=cidr, Description=description)


def _from_group(group: ec2.SecurityGroup, port: int, description: str) -> ec2.SecurityGroupRule:
    return ec2.SecurityGroupRule(
        IpProtocol="tcp",
        FromPort=port,
        ToPort=port,
        SourceSecurityGroupId=GetAtt(group, "GroupId"),
        Description=description,
    )
