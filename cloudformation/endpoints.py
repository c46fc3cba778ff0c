"""Doors to AWS that need no internet: S3's in every mode, four paid ones in the mode `endpoints`."""

from __future__ import annotations

from troposphere import Equals, GetAtt, If, NoValue, Ref, Sub, Template, ec2

from cloudformation.network import IN_ENDPOINTS, Network
from cloudformation.security_groups import SecurityGroups

IN_TWO_ZONES = "EndpointsInTwoZones"

# All that a Fargate task calls before and while it serves, except S3.
INTERFACE_SERVICES = {
    "EcrApi": "ecr.api",
    "EcrDocker": "ecr.dkr",
    "Logs": "logs",
    "SecretsManager": "secretsmanager",
}


def add_endpoints(template: Template, network: Network, groups: SecurityGroups) -> None:
    """Add the gateway to S3 for all subnets, and the interface endpoints for private tasks without NAT."""
    template.add_condition(IN_TWO_ZONES, Equals(Ref("EndpointZones"), "2"))
    template.add_resource(
        ec2.VPCEndpoint(
            "S3Gateway",
            VpcId=Ref(network.vpc),
            VpcEndpointType="Gateway",
            ServiceName=Sub("com.amazonaws.${AWS::Region}.s3"),
            RouteTableIds=[Ref(network.public_routes), *(Ref(table) for table in network.private_routes)],
        )
    )
    first, second = network.private_subnets
    for name, service in INTERFACE_SERVICES.items():
        template.add_resource(
            ec2.VPCEndpoint(
                f"{name}Endpoint",
                Condition=IN_ENDPOINTS,
                VpcId=Ref(network.vpc),
                VpcEndpointType="Interface",
                ServiceName=Sub(f"com.amazonaws.${{AWS::Region}}.{service}"),
                PrivateDnsEnabled=True,
                SubnetIds=[Ref(first), If(IN_TWO_ZONES, Ref(second), NoValue)],
                SecurityGroupIds=[GetAtt(groups.endpoints, "GroupId")],
            )
        )
