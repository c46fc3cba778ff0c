"""The way in: the load balancer, what it forwards, what it redirects, what it refuses."""

from __future__ import annotations

from dataclasses import dataclass

from troposphere import And, Condition, Equals, GetAtt, If, Join, Not, NoValue, Ref, Split, Tags, Template, ecs
from troposphere import elasticloadbalancingv2 as elb

from cloudformation import canary, grpc, sign_in
from cloudformation.canary import Pair
from cloudformation.door import CONTAINER, HAS_DOMAIN
from cloudformation.links import imported, refused_controls, skipped_checks, tags
from cloudformation.parameters import DATA_STACK, NETWORK_STACK
from cloudformation.s3 import BALANCER_LOG_PREFIX
from cloudformation.security_groups import GRPC_PORT, HTTP, HTTPS, SERVICE_PORT
from cloudformation.target_groups import grpc_group, http_group

HAS_CERTIFICATE, HAS_NO_CERTIFICATE, HAS_ADMIN_CIDR, IS_PROD = (
    "HasCertificate",
    "HasNoCertificate",
    "HasAdminCidr",
    "IsProd",
)
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"

_ADMIN_PATHS = ["/admin", "/admin/*"]
_PRIVATE_PATHS = [*_ADMIN_PATHS, "/metrics"]
# Django decodes a path before it chooses a view, the balancer does not: /%61dmin/ would pass as another path.
_ENCODED_PATHS = ["^/[^/]*%"]


@dataclass(frozen=True, slots=True)
class Balancer:
    """The load balancer as a door of the service."""

    load_balancer: elb.LoadBalancer
    target_group: elb.TargetGroup
    http_listener: elb.Listener
    https_listener: elb.Listener
    form: str = "service"
    api: Pair | None = None
    admin: Pair | None = None
    calls: grpc.Grpc | None = None

    @property
    def host(self) -> GetAtt:
        return GetAtt(self.load_balancer, "DNSName")

    @property
    def https(self) -> If:
        return If(HAS_CERTIFICATE, "on", "off")

    @property
    def url(self) -> Join:
        return Join("", [If(HAS_CERTIFICATE, "https", "http"), "://", self.public_host])

    @property
    def public_host(self) -> If:
        """Return the host name that callers use."""
        return If(HAS_DOMAIN, Ref("DomainName"), self.host)

    @property
    def health_check(self) -> list[str]:
        # live, not ready: a task that waits for its storage must not be killed for it
        return ["CMD", "python", "docker/healthcheck.py"]

    def variables(self) -> list[object]:
        signs_in = sign_in.variables(self.load_balancer) if self.form == "service-sign-in" else []
        return [*signs_in, *([grpc.variable()] if self.calls else [])]

    def port_mappings(self) -> list[object]:
        return [grpc.port_mapping()] if self.calls else []

    def service_options(self) -> dict[str, object]:
        return {"LoadBalancers": self._targets(), "HealthCheckGracePeriodSeconds": Ref("StartGraceSeconds")}

    def deployment_options(self) -> dict[str, object]:
        return canary.deployment_options(self.load_balancer, url=self.url) if self.api else {}

    def service_tags(self) -> Tags:
        # ECS refuses a target group that no listener forwards to yet. Naming the listener waits for it, where
        # DependsOn could not name one that exists only with a certificate.
        tags = Tags(Listener=If(HAS_CERTIFICATE, Ref(self.https_listener), Ref(self.http_listener)))
        return tags + Tags(self.calls.tag) if self.calls else tags

    def _targets(self) -> list[object]:
        """Return the service's target groups: of the API, of gRPC, and of the admin where its rule has its own."""
        if self.api is None or self.admin is None:
            entry = _entry(self.target_group)
            if self.calls is None:
                return [entry]
            return [entry, If(grpc.HAS_GRPC, _entry(self.calls.target_group, port=GRPC_PORT), NoValue)]
        api = canary.advanced(self.api, Ref("HttpsServes"), test_rule=Ref("HttpsTests"))
        admin = canary.advanced(self.admin, Ref("HttpsAdmitsAdmin"))
        return [
            _entry(self.api.main, AdvancedConfiguration=api),
            If(HAS_ADMIN_CIDR, _entry(self.admin.main, AdvancedConfiguration=admin), NoValue),
        ]


def _entry(group: elb.TargetGroup, *, port: int = SERVICE_PORT, **options: object) -> ecs.LoadBalancer:
    return ecs.LoadBalancer(ContainerName=CONTAINER, ContainerPort=port, TargetGroupArn=Ref(group), **options)


def add_conditions(template: Template, form: str = "service") -> None:
    """Name what the parameters mean for the way in, as a form of the service's template has them."""
    template.add_condition(HAS_CERTIFICATE, Not(Equals(Ref("CertificateArn"), "")))
    if form == "service":
        template.add_condition(HAS_NO_CERTIFICATE, Equals(Ref("CertificateArn"), ""))
    template.add_condition(HAS_ADMIN_CIDR, Not(Equals(Ref("AdminCidr"), "")))
    template.add_condition(IS_PROD, Equals(Ref("EnvironmentName"), "prod"))
    grpc.add_condition(template, HAS_CERTIFICATE)


def add_balancer(template: Template, form: str = "service") -> Balancer:
    """Add the balancer, its target group and its listeners, as a form of the service's template has them."""
    shifts, signs_in = form == "service-shift", form == "service-sign-in"
    load_balancer = template.add_resource(_load_balancer())
    target_group = template.add_resource(http_group("TargetGroup"))
    http = template.add_resource(_http_listener(load_balancer, target_group))
    https = template.add_resource(_https_listener(load_balancer, target_group))
    if shifts:
        del https.resource["Condition"]  # ECS is told of its rules, so they have to be there
    api = admin = None
    if shifts:
        api = Pair(target_group, template.add_resource(http_group("AlternateTargetGroup")))
        admin = Pair(
            template.add_resource(http_group("AdminTargetGroup", Condition=HAS_ADMIN_CIDR)),
            template.add_resource(http_group("AdminAlternateTargetGroup", Condition=HAS_ADMIN_CIDR)),
        )
    calls = _add_grpc(template, https) if grpc.is_offered(template) else None
    balancer = Balancer(load_balancer, target_group, http, https, form=form, api=api, admin=admin, calls=calls)
    if form == "service":  # the others speak HTTPS alone
        _add_rules(template, balancer, "Http", HAS_NO_CERTIFICATE)
    _add_rules(template, balancer, "Https", HAS_CERTIFICATE)
    if signs_in:
        _add_sign_in(template, https, target_group)
        sign_in.add_way_to_provider(template)
    return balancer


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
        Metadata=refused_controls(
            dict.fromkeys(("ELB.21", "ELB.22"), "TLS ends here; the tasks admit this balancer alone")
        ),
        Type="application",
        Scheme="internet-facing",
        Subnets=Split(",", imported(NETWORK_STACK, "PublicSubnets")),
        SecurityGroups=[imported(NETWORK_STACK, "BalancerSecurityGroup")],
        LoadBalancerAttributes=[elb.LoadBalancerAttributes(Key=key, Value=value) for key, value in attributes.items()],
        Tags=tags("balancer"),
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


def _add_rules(template: Template, balancer: Balancer, prefix: str, condition: str) -> None:
    """Refuse the admin and the metrics to the internet, except the addresses of AdminCidr.

    Where traffic shifts, the rules that forward have two groups, and the last of them serves what no other rule does.
    """
    listener = balancer.http_listener if prefix == "Http" else balancer.https_listener
    private = _paths(_PRIVATE_PATHS)
    encoded = elb.Condition(Field="path-pattern", PathPatternConfig=elb.PathPatternConfig(RegexValues=_ENCODED_PATHS))
    forward = balancer.admin.forward() if balancer.admin else _forward(balancer.target_group, elb.ListenerRuleAction)
    admits = f"{prefix}Admits"
    if balancer.api:
        admits, condition = HAS_ADMIN_CIDR, ""
    else:
        template.add_condition(admits, And(Condition(condition), Condition(HAS_ADMIN_CIDR)))
    rules: list[tuple[str, str, int, list[object], object]] = [
        ("AdmitsAdmin", admits, 10, [private, _from("AdminCidr")], forward),
        ("RefusesAdmin", condition, 20, [private], _refuse("Only the addresses of AdminCidr may open this path.")),
        ("RefusesEncodedPaths", condition, 30, [encoded], _refuse("Write the path without percent signs.")),
    ]
    if balancer.api:
        header = elb.HttpHeaderConfig(HttpHeaderName=canary.TEST_HEADER, Values=[Ref("AWS::StackName")])
        test = elb.Condition(Field="http-header", HttpHeaderConfig=header)
        rules += [
            ("Tests", condition, 40, [test], balancer.api.forward()),
            ("Serves", condition, 1000, [_paths(["/*"])], balancer.api.forward()),
        ]
    for name, when, priority, conditions, action in rules:
        _add_rule(
            template, listener, f"{prefix}{name}", condition=when, priority=priority,
            conditions=conditions, actions=[action],
        )  # fmt: skip


def _add_grpc(template: Template, listener: elb.Listener) -> grpc.Grpc:
    """Forward the calls of gRPC to a target group of their own, past every rule that refuses or signs in."""
    group = template.add_resource(grpc_group("GrpcTargetGroup", Condition=grpc.HAS_GRPC))
    rule = _add_rule(
        template, listener, "ForwardsGrpc", condition=grpc.HAS_GRPC, priority=grpc.PRIORITY,
        conditions=[_paths(grpc.PATHS)], actions=[_forward(group, elb.ListenerRuleAction)],
    )  # fmt: skip
    grpc.add_way_to_tasks(template)
    return grpc.Grpc(group, rule)


def _add_sign_in(template: Template, listener: elb.Listener, target_group: elb.TargetGroup) -> None:
    """Ask for a sign-in before the admin; from AdminCidr only, if there is one."""
    forward = elb.ListenerRuleAction(Type="forward", Order=2, TargetGroupArn=Ref(target_group))
    around = _forward(target_group, elb.ListenerRuleAction)
    admin = _paths(_ADMIN_PATHS)
    _add_rule(
        template, listener, "AdmitsEmergency", condition=sign_in.HAS_EMERGENCY, priority=5,
        conditions=[admin, _from("EmergencyCidr")], actions=[around],
    )  # fmt: skip
    _add_rule(
        template, listener, "SignsIn", condition=sign_in.AT_BALANCER, priority=7,
        conditions=[admin, If(HAS_ADMIN_CIDR, _from("AdminCidr"), NoValue)], actions=[sign_in.authenticate(), forward],
    )  # fmt: skip


def _add_rule(
    template: Template,
    listener: elb.Listener,
    name: str,
    *,
    condition: str,
    priority: int,
    conditions: list[object],
    actions: list[object],
) -> elb.ListenerRule:
    return template.add_resource(
        elb.ListenerRule(
            name,
            **({"Condition": condition} if condition else {}),
            ListenerArn=Ref(listener),
            Priority=priority,
            Conditions=conditions,
            Actions=actions,
        )
    )


def _paths(patterns: list[str]) -> elb.Condition:
    return elb.Condition(Field="path-pattern", PathPatternConfig=elb.PathPatternConfig(Values=patterns))


def _from(parameter: str) -> elb.Condition:
    return elb.Condition(Field="source-ip", SourceIpConfig=elb.SourceIpConfig(Values=[Ref(parameter)]))


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
