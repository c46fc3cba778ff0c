"""The way in: the load balancer, what it forwards, what it redirects, what it refuses."""

from __future__ import annotations

from dataclasses import dataclass

from troposphere import And, Condition, Equals, If, Not, Ref, Split, Template
from troposphere import elasticloadbalancingv2 as elb

from cloudformation.links import imported, skipped_checks, tags
from cloudformation.parameters import DATA_STACK, NETWORK_STACK
from cloudformation.s3 import BALANCER_LOG_PREFIX
from cloudformation.security_groups import HTTP, HTTPS, SERVICE_PORT

HAS_CERTIFICATE, HAS_NO_CERTIFICATE, HAS_ADMIN_CIDR, IS_PROD = (
    "HasCertificate",
    "HasNoCertificate",
    "HasAdminCidr",
    "IsProd",
)
READINESS_PATH = "/health"
DRAIN_SECONDS = 30  # for so long a leaving target may still get requests; the container serves on meanwhile
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"

_PRIVATE_PATHS = ["/admin", "/admin/*", "/metrics"]
# Django decodes a path before it chooses a view, the balancer does not: /%61dmin/ would pass as another path.
_ENCODED_PATHS = ["^/[^/]*%"]


@dataclass(frozen=True, slots=True)
class Balancer:
    load_balancer: elb.LoadBalancer
    target_group: elb.TargetGroup
    http: elb.Listener
    https: elb.Listener


def add_conditions(template: Template) -> None:
    """Name what the parameters mean for the way in."""
    template.add_condition(HAS_CERTIFICATE, Not(Equals(Ref("CertificateArn"), "")))
    template.add_condition(HAS_NO_CERTIFICATE, Equals(Ref("CertificateArn"), ""))
    template.add_condition(HAS_ADMIN_CIDR, Not(Equals(Ref("AdminCidr"), "")))
    template.add_condition(IS_PROD, Equals(Ref("EnvironmentName"), "prod"))


def add_balancer(template: Template) -> Balancer:
    """Add the balancer, its target group and its listeners."""
    load_balancer = template.add_resource(_load_balancer())
    target_group = template.add_resource(_target_group())
    http = template.add_resource(_http_listener(load_balancer, target_group))
    https = template.add_resource(_https_listener(load_balancer, target_group))
    _add_rules(template, http, "Http", HAS_NO_CERTIFICATE, target_group)
    _add_rules(template, https, "Https", HAS_CERTIFICATE, target_group)
    return Balancer(load_balancer, target_group, http=http, https=https)


def _load_balancer() -> elb.LoadBalancer:
    attributes: dict[str, object] = {
        "routing.http.drop_invalid_header_fields.enabled": "true",
        "routing.http.desync_mitigation_mode": "defensive",
        "idle_timeout.timeout_seconds": "60",  # below the 75 s for which gunicorn keeps a connection
        "deletion_protection.enabled": If(IS_PROD, "true", "false"),
        "access_logs.s3.enabled": "true",
        "access_logs.s3.bucket": imported(DATA_STACK, "LogBucket"),
        "access_logs.s3.prefix": BALANCER_LOG_PREFIX,
    }
    return elb.LoadBalancer(
        "LoadBalancer",
        Type="application",
        Scheme="internet-facing",
        Subnets=Split(",", imported(NETWORK_STACK, "PublicSubnets")),
        SecurityGroups=[imported(NETWORK_STACK, "BalancerSecurityGroup")],
        LoadBalancerAttributes=[elb.LoadBalancerAttributes(Key=key, Value=value) for key, value in attributes.items()],
        Tags=tags("balancer"),
    )


def _target_group() -> elb.TargetGroup:
    return elb.TargetGroup(
        "TargetGroup",
        TargetType="ip",
        Protocol="HTTP",
        Port=SERVICE_PORT,
        VpcId=imported(NETWORK_STACK, "Vpc"),
        HealthCheckEnabled=True,
        HealthCheckProtocol="HTTP",
        HealthCheckPath=READINESS_PATH,
        HealthCheckIntervalSeconds=10,
        HealthCheckTimeoutSeconds=5,
        HealthyThresholdCount=2,
        UnhealthyThresholdCount=3,
        Matcher=elb.Matcher(HttpCode="200"),
        TargetGroupAttributes=[
            elb.TargetGroupAttribute(Key="deregistration_delay.timeout_seconds", Value=str(DRAIN_SECONDS)),
            # a slow task gets fewer requests than its fast sibling
            elb.TargetGroupAttribute(Key="load_balancing.algorithm.type", Value="least_outstanding_requests"),
        ],
        Tags=tags("targets"),
    )


def _http_listener(load_balancer: elb.LoadBalancer, target_group: elb.TargetGroup) -> elb.Listener:
    redirect = elb.Action(
        Type="redirect",
        RedirectConfig=elb.RedirectConfig(Protocol="HTTPS", Port=str(HTTPS), StatusCode="HTTP_301"),
    )
    return elb.Listener(
        "HttpListener",
        LoadBalancerArn=Ref(load_balancer),
        Port=HTTP,
        Protocol="HTTP",
        DefaultActions=[If(HAS_CERTIFICATE, redirect, _forward(target_group))],
        Metadata=skipped_checks(
            CKV_AWS_2="Redirects to HTTPS when there is a certificate; without one there is only HTTP",
            CKV_AWS_103="Redirects to HTTPS when there is a certificate; without one there is only HTTP",
        ),
    )


def _https_listener(load_balancer: elb.LoadBalancer, target_group: elb.TargetGroup) -> elb.Listener:
    return elb.Listener(
        "HttpsListener",
        Condition=HAS_CERTIFICATE,
        LoadBalancerArn=Ref(load_balancer),
        Port=HTTPS,
        Protocol="HTTPS",
        SslPolicy=TLS_POLICY,
        Certificates=[elb.Certificate(CertificateArn=Ref("CertificateArn"))],
        DefaultActions=[_forward(target_group)],
    )


def _add_rules(
    template: Template, listener: elb.Listener, prefix: str, condition: str, target_group: elb.TargetGroup
) -> None:
    """Refuse the admin and the metrics to the internet, but for the addresses of AdminCidr."""
    from_admin = elb.Condition(Field="source-ip", SourceIpConfig=elb.SourceIpConfig(Values=[Ref("AdminCidr")]))
    private = elb.Condition(Field="path-pattern", PathPatternConfig=elb.PathPatternConfig(Values=_PRIVATE_PATHS))
    encoded = elb.Condition(Field="path-pattern", PathPatternConfig=elb.PathPatternConfig(RegexValues=_ENCODED_PATHS))
    template.add_condition(f"{prefix}Admits", And(Condition(condition), Condition(HAS_ADMIN_CIDR)))
    rules = (
        ("AdmitsAdmin", f"{prefix}Admits", 10, [private, from_admin], _forward(target_group, elb.ListenerRuleAction)),
        ("RefusesAdmin", condition, 20, [private], _refuse("Only the addresses of AdminCidr may open this path.")),
        ("RefusesEncodedPaths", condition, 30, [encoded], _refuse("Write the path without percent signs.")),
    )
    for name, when, priority, conditions, action in rules:
        template.add_resource(
            elb.ListenerRule(
                f"{prefix}{name}",
                Condition=when,
                ListenerArn=Ref(listener),
                Priority=priority,
                Conditions=conditions,
                Actions=[action],
            )
        )


def _forward(
    target_group: elb.TargetGroup, kind: type[elb.Action | elb.ListenerRuleAction] = elb.Action
) -> elb.Action | elb.ListenerRuleAction:
    return kind(Type="forward", TargetGroupArn=Ref(target_group))


def _refuse(sentence: str) -> elb.ListenerRuleAction:
    return elb.ListenerRuleAction(
        Type="fixed-response",
        FixedResponseConfig=elb.FixedResponseConfig(
            StatusCode="403",
            ContentType="application/json",
            MessageBody=f'{{"error": "{sentence}", "code": "forbidden"}}',
        ),
    )
