"""Signing in to the admin with accounts of an identity provider: at the balancer, or at the service."""

from __future__ import annotations

from troposphere import And, Condition, Equals, If, Not, NoValue, Ref, Sub, Template, ec2, ecs
from troposphere import elasticloadbalancingv2 as elb

from cloudformation.links import imported
from cloudformation.parameters import NETWORK_STACK

HAS_SIGN_IN, AT_BALANCER, HAS_CLIENT_SECRET, HAS_EMERGENCY = (
    "HasSignIn",
    "SignInAtBalancer",
    "HasOidcClientSecret",
    "HasEmergencyCidr",
)
SESSION_SECONDS = 8 * 3600  # as long as the service's own session
_HTTPS = 443


def add_conditions(template: Template) -> None:
    """Name what the parameters mean for signing in."""
    template.add_condition(HAS_SIGN_IN, Not(Equals(Ref("OidcIssuer"), "")))
    template.add_condition(HAS_CLIENT_SECRET, Not(Equals(Ref("OidcClientSecretArn"), "")))
    template.add_condition(
        AT_BALANCER, And(Condition("HasCertificate"), Condition(HAS_SIGN_IN), Equals(Ref("SignInAt"), "balancer"))
    )
    template.add_condition(HAS_EMERGENCY, And(Condition(AT_BALANCER), Not(Equals(Ref("EmergencyCidr"), ""))))


def add_way_to_provider(template: Template) -> None:
    """Let the balancer call the provider: it exchanges the code for the tokens itself."""
    template.add_resource(
        ec2.SecurityGroupEgress(
            "BalancerToProvider",
            Condition=AT_BALANCER,
            GroupId=imported(NETWORK_STACK, "BalancerSecurityGroup"),
            IpProtocol="tcp",
            FromPort=_HTTPS,
            ToPort=_HTTPS,
            CidrIp="0.0.0.0/0",
            Description="To the identity provider, whose addresses change",
        )
    )


def authenticate() -> elb.ListenerRuleAction:
    """Return the action that sends users without a session to the provider."""
    return elb.ListenerRuleAction(
        Type="authenticate-oidc",
        Order=1,
        AuthenticateOidcConfig=elb.ListenerRuleAuthenticateOidcConfig(
            Issuer=Ref("OidcIssuer"),
            AuthorizationEndpoint=Ref("OidcAuthorizationEndpoint"),
            TokenEndpoint=Ref("OidcTokenEndpoint"),
            UserInfoEndpoint=Ref("OidcUserInfoEndpoint"),
            ClientId=Ref("OidcClientId"),
            ClientSecret=Sub("{{resolve:secretsmanager:${OidcClientSecretArn}:SecretString}}"),
            OnUnauthenticatedRequest="authenticate",
            Scope=Ref("OidcScope"),
            SessionTimeout=SESSION_SECONDS,
        ),
    )


def variables(load_balancer: elb.LoadBalancer) -> list[object]:
    """Return the container's variables."""
    always: dict[str, object] = {
        "MLAPI_OIDC_ISSUER": Ref("OidcIssuer"),
        "MLAPI_OIDC_CLIENT_ID": Ref("OidcClientId"),
        "MLAPI_OIDC_SCOPES": Sub("${OidcScope}"),
        "MLAPI_SIGN_IN_GROUPS": Ref("SignInGroups"),
    }
    signer = ecs.Environment(Name="MLAPI_ALB_SIGNER", Value=Ref(load_balancer))
    return [
        *(If(HAS_SIGN_IN, ecs.Environment(Name=name, Value=value), NoValue) for name, value in always.items()),
        If(AT_BALANCER, signer, NoValue),
    ]


def secrets() -> list[object]:
    """Return what the container gets as secrets: the client's, where the service itself signs people in."""
    secret = ecs.Secret(Name="MLAPI_OIDC_CLIENT_SECRET", ValueFrom=Ref("OidcClientSecretArn"))
    return [If(HAS_CLIENT_SECRET, secret, NoValue)]
