"""The way in where requests are few: an HTTP API, which finds the tasks in Cloud Map and reaches them by a VPC link.

The API's own address has a certificate, so there is HTTPS without a domain name. API Gateway turns `X-Forwarded-*` into
`Forwarded` and lets nobody map onto either, so the client's address and scheme come in headers of the service's own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from troposphere import Equals, GetAtt, If, Join, Not, Output, Ref, Split, Sub, Tags, Template, ecs
from troposphere import apigatewayv2 as api
from troposphere import servicediscovery as discovery

from cloudformation.door import CONTAINER, READINESS_PATH
from cloudformation.links import imported, tags
from cloudformation.logs import add_log_group
from cloudformation.parameters import NETWORK_STACK
from cloudformation.security_groups import SERVICE_PORT

FORM = "service-http-api"
HAS_ADMIN_CIDR, HAS_CERTIFICATE = "HasAdminCidr", "HasCertificate"
TIMEOUT_SECONDS = 30  # API Gateway's own limit
PROXY_HEADERS = "X-Mlapi"
_NOBODY = "127.0.0.1/32"
_LOG_LINE = {
    "request_id": "$context.requestId",
    "client": "$context.identity.sourceIp",
    "method": "$context.httpMethod",
    "path": "$context.path",
    "status": "$context.status",
    "ms": "$context.responseLatency",
    "error": "$context.error.message",
}


@dataclass(frozen=True, slots=True)
class HttpApi:
    """The HTTP API as a door of the service."""

    api: api.Api
    discovery: discovery.Service
    form: str = FORM

    @property
    def host(self) -> Sub:
        return Sub(f"${{{self.api.title}}}.execute-api.${{AWS::Region}}.${{AWS::URLSuffix}}")

    @property
    def https(self) -> str:
        return "on"

    @property
    def url(self) -> Join:
        return Join("", ["https://", self.public_host])

    @property
    def public_host(self) -> If:
        """Return the host name that callers use."""
        return If(HAS_CERTIFICATE, Ref("DomainName"), self.host)

    @property
    def health_check(self) -> list[str]:
        # What a balancer would ask: no request comes until models are loaded, and API Gateway itself asks nothing.
        return ["CMD", "python", "docker/healthcheck.py", READINESS_PATH]

    def variables(self) -> list[object]:
        # An HTTP API has no rule by address, so the service refuses the admin and the metrics; by default to everybody.
        admin = If(HAS_ADMIN_CIDR, Ref("AdminCidr"), _NOBODY)
        found = {"MLAPI_PROXY_HEADERS": PROXY_HEADERS, "MLAPI_ADMIN_CIDR": admin}
        return [ecs.Environment(Name=name, Value=value) for name, value in found.items()]

    def port_mappings(self) -> list[object]:
        return []

    def service_options(self) -> dict[str, object]:
        registry = ecs.ServiceRegistry(
            RegistryArn=GetAtt(self.discovery, "Arn"), ContainerName=CONTAINER, ContainerPort=SERVICE_PORT
        )
        return {"ServiceRegistries": [registry]}

    def deployment_options(self) -> dict[str, object]:
        return {}

    def service_tags(self) -> Tags:
        return Tags()


def add_conditions(template: Template) -> None:
    """Name what the parameters mean for the way in."""
    template.add_condition(HAS_ADMIN_CIDR, Not(Equals(Ref("AdminCidr"), "")))
    template.add_condition(HAS_CERTIFICATE, Not(Equals(Ref("CertificateArn"), "")))


def add_http_api(template: Template) -> HttpApi:
    """Add the API with the way from it to the tasks, its throttle and its log."""
    door = HttpApi(template.add_resource(_api()), _add_discovery(template))
    integration = template.add_resource(_integration(template, door))
    template.add_resource(
        api.Route(
            "Route",
            ApiId=Ref(door.api),
            RouteKey="$default",
            AuthorizationType="NONE",  # the service asks for keys and sign-ins itself
            Target=Sub(f"integrations/${{{integration.title}}}"),
        )
    )
    stage = template.add_resource(_stage(template, door))
    _add_domain(template, door, stage)
    return door


def _api() -> api.Api:
    return api.Api(
        "Api",
        Name=Ref("AWS::StackName"),
        ProtocolType="HTTP",
        # With a domain name it would be a second address, whose requests carry the other host name.
        DisableExecuteApiEndpoint=If(HAS_CERTIFICATE, True, False),
        Tags=_name("api"),
    )


def _add_discovery(template: Template) -> discovery.Service:
    """Add where ECS registers the tasks with address and port, and takes those out that are not healthy."""
    namespace = template.add_resource(
        discovery.PrivateDnsNamespace(
            "Namespace",
            Name=Sub("${AWS::StackName}.internal"),
            Vpc=imported(NETWORK_STACK, "Vpc"),
            Tags=tags("tasks"),
        )
    )
    return template.add_resource(
        discovery.Service(
            "Discovery",
            Name="tasks",
            NamespaceId=Ref(namespace),
            DnsConfig=discovery.DnsConfig(
                RoutingPolicy="MULTIVALUE", DnsRecords=[discovery.DnsRecord(Type="SRV", TTL="10")]
            ),
            HealthCheckCustomConfig=discovery.HealthCheckCustomConfig(FailureThreshold=1),
            Tags=tags("tasks"),
        )
    )


def _integration(template: Template, door: HttpApi) -> api.Integration:
    link = template.add_resource(
        api.VpcLink(
            "VpcLink",
            Name=Ref("AWS::StackName"),
            SubnetIds=Split(",", imported(NETWORK_STACK, "PrivateSubnets")),
            # The balancer's own group, for it is the one that the tasks admit.
            SecurityGroupIds=[imported(NETWORK_STACK, "BalancerSecurityGroup")],
            Tags=_name("link"),
        )
    )
    return api.Integration(
        "Integration",
        ApiId=Ref(door.api),
        IntegrationType="HTTP_PROXY",
        IntegrationMethod="ANY",
        IntegrationUri=GetAtt(door.discovery, "Arn"),
        ConnectionType="VPC_LINK",
        ConnectionId=Ref(link),
        PayloadFormatVersion="1.0",
        TimeoutInMillis=TIMEOUT_SECONDS * 1000,
        # overwrite: what a client sends under these names is lost
        RequestParameters={
            # A constant, as API Gateway demands; otherwise it would be the task's address.
            "overwrite:header.Host": door.public_host,
            f"overwrite:header.{PROXY_HEADERS}-For": "$context.identity.sourceIp",
            f"overwrite:header.{PROXY_HEADERS}-Proto": "https",
        },
    )


def _stage(template: Template, door: HttpApi) -> api.Stage:
    log_group = add_log_group(template, "ApiLogGroup", "api-logs")
    return api.Stage(
        "Stage",
        ApiId=Ref(door.api),
        StageName="$default",  # the one whose name is not a part of the paths
        AutoDeploy=True,
        DefaultRouteSettings=api.RouteSettings(
            ThrottlingRateLimit=Ref("ThrottlePerSecond"), ThrottlingBurstLimit=Ref("ThrottleBurst")
        ),
        AccessLogSettings=api.AccessLogSettings(
            DestinationArn=GetAtt(log_group, "Arn"), Format=json.dumps(_LOG_LINE, separators=(",", ":"))
        ),
        Tags=_name("stage"),
    )


def _add_domain(template: Template, door: HttpApi, stage: api.Stage) -> None:
    """Add the domain name, if there is one."""
    domain = template.add_resource(
        api.DomainName(
            "Domain",
            Condition=HAS_CERTIFICATE,
            DomainName=Ref("DomainName"),
            DomainNameConfigurations=[
                api.DomainNameConfiguration(
                    CertificateArn=Ref("CertificateArn"), EndpointType="REGIONAL", SecurityPolicy="TLS_1_2"
                )
            ],
            Tags=_name("domain"),
        )
    )
    template.add_resource(
        api.ApiMapping(
            "DomainMapping", Condition=HAS_CERTIFICATE, ApiId=Ref(door.api), DomainName=Ref(domain), Stage=Ref(stage)
        )
    )
    template.add_output(
        Output(
            "ApiDomainName",
            Condition=HAS_CERTIFICATE,
            Value=GetAtt(domain, "RegionalDomainName"),
            Description="Point the domain name here",
        )
    )


def _name(part: str) -> dict[str, object]:
    # The types of API Gateway take their tags as a mapping.
    return {"Name": Sub(f"${{ProjectName}}-${{EnvironmentName}}-{part}")}
