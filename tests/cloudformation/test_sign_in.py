"""Signing in to the admin: the balancer's action, the service's variables, and refused parameters."""

from __future__ import annotations

from typing import Any

import pytest

from cloudformation.config import Settings
from cloudformation.problems import problems_of
from tests.cloudformation.conftest import CERTIFICATE, Emulator
from tests.cloudformation.resolving import of_type, resources

SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:oidc-AbCdEf"
ISSUER = "https://login.example.com"
CLIENT = {
    "oidc_issuer": ISSUER,
    "oidc_client_id": "registry",
    "oidc_client_secret_arn": SECRET,
    "sign_in_groups": "ml-admins=superuser,ml-team=Operators",
    "certificate_arn": CERTIFICATE,
}
AT_BALANCER = {
    **CLIENT,
    "oidc_authorization_endpoint": f"{ISSUER}/authorize",
    "oidc_token_endpoint": f"{ISSUER}/token",
    "oidc_user_info_endpoint": f"{ISSUER}/userinfo",
}
AT_SERVICE = {**CLIENT, "sign_in_at": "service"}


def rules(**settings: Any) -> dict[str, dict[str, Any]]:
    return of_type(resources("service", **settings), "ElasticLoadBalancingV2::ListenerRule")


def container(**settings: Any) -> dict[str, Any]:
    task = resources("service", **settings)["TaskDefinition"]["Properties"]
    found: dict[str, Any] = task["ContainerDefinitions"][0]
    return found


def variables(**settings: Any) -> dict[str, Any]:
    return {part["Name"]: part["Value"] for part in container(**settings)["Environment"]}


def conditions(rule: dict[str, Any]) -> dict[str, list[str]]:
    return {part["Field"]: next(iter(value["Values"] for key, value in part.items() if key != "Field"))
            for part in rule["Conditions"]}  # fmt: skip


def test_balancer_asks_for_a_sign_in_before_the_admin() -> None:
    found = rules(**AT_BALANCER)
    assert conditions(found["SignsIn"]) == {"path-pattern": ["/admin", "/admin/*"]}
    authenticate, forward = found["SignsIn"]["Actions"]
    assert (authenticate["Type"], authenticate["Order"]) == ("authenticate-oidc", 1)
    assert (forward["Type"], forward["Order"]) == ("forward", 2)
    asked = authenticate["AuthenticateOidcConfig"]
    assert asked["OnUnauthenticatedRequest"] == "authenticate"
    assert asked["Issuer"] == ISSUER
    assert asked["ClientSecret"] == f"{{{{resolve:secretsmanager:{SECRET}:SecretString}}}}"


def test_addresses_still_count_where_they_are_given() -> None:
    found = rules(**AT_BALANCER, admin_cidr="203.0.113.0/24")
    assert conditions(found["SignsIn"])["source-ip"] == ["203.0.113.0/24"]


def test_admin_is_reached_by_a_sign_in_alone() -> None:
    found = rules(**AT_BALANCER, admin_cidr="203.0.113.0/24", emergency_cidr="203.0.113.7/32")
    order = sorted(found, key=lambda name: found[name]["Priority"])
    assert order == ["AdmitsEmergency", "SignsIn", "HttpsAdmitsAdmin", "HttpsRefusesAdmin", "HttpsRefusesEncodedPaths"]
    assert conditions(found["AdmitsEmergency"]) == {
        "path-pattern": ["/admin", "/admin/*"],
        "source-ip": ["203.0.113.7/32"],
    }


@pytest.mark.parametrize("settings", [{}, AT_SERVICE])
def test_balancer_signs_nobody_in_unasked(settings: dict[str, Any]) -> None:
    parts = resources("service", **settings)
    assert {"SignsIn", "AdmitsEmergency", "BalancerToProvider"} & set(parts) == set()


def test_balancer_may_call_the_provider_over_https_only() -> None:
    (egress,) = of_type(resources("service", **AT_BALANCER), "EC2::SecurityGroupEgress").values()
    assert (egress["IpProtocol"], egress["FromPort"], egress["ToPort"]) == ("tcp", 443, 443)


def test_service_believes_its_own_balancer() -> None:
    found = variables(**AT_BALANCER)
    assert found["MLAPI_ALB_SIGNER"] == {"Ref": "LoadBalancer"}
    assert (found["MLAPI_OIDC_ISSUER"], found["MLAPI_OIDC_CLIENT_ID"]) == (ISSUER, "registry")
    assert found["MLAPI_SIGN_IN_GROUPS"] == "ml-admins=superuser,ml-team=Operators"


def test_service_signs_in_by_itself_on_request() -> None:
    settings = AT_SERVICE
    found = variables(**settings)
    assert "MLAPI_ALB_SIGNER" not in found
    assert found["MLAPI_OIDC_ISSUER"] == ISSUER
    assert found["MLAPI_OIDC_SCOPES"] == "openid profile email"
    secrets = {part["Name"]: part["ValueFrom"] for part in container(**settings)["Secrets"]}
    assert secrets["MLAPI_OIDC_CLIENT_SECRET"] == SECRET
    execution = resources("service", **settings)["ExecutionRole"]["Properties"]["Policies"]
    read = next(policy for policy in execution if policy["PolicyName"] == "ReadSecrets")
    assert SECRET in read["PolicyDocument"]["Statement"][0]["Resource"]


def test_passwords_alone_need_no_variable() -> None:
    assert not [name for name in variables() if "OIDC" in name or "SIGN_IN" in name or "SIGNER" in name]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"oidc_client_id": ""}, "OidcClientId is not"),
        ({"oidc_client_secret_arn": "", "sign_in_groups": ""}, "OidcClientSecretArn, SignInGroups are not"),
        ({"certificate_arn": ""}, "CertificateArn is not"),
        ({"oidc_token_endpoint": ""}, "OidcTokenEndpoint is not"),
        ({"oidc_issuer": "http://login.example.com"}, "expected an address with https://"),
        ({"oidc_client_secret_arn": SECRET.replace("us-east-1", "eu-west-1")}, "OidcClientSecretArn is in eu-west-1"),
        ({"network_mode": "endpoints"}, "needs a way to the internet"),
        ({"sign_in_groups": "ml-admins"}, "SignInGroups is 'ml-admins'"),
        ({"emergency_cidr": "0.0.0.0/0"}, "opens a way around the sign-in to 4,294,967,296 addresses"),
        ({"emergency_cidr": "203.0.113.7/24"}, "has host bits set"),
        ({"emergency_cidr": "203.0.113.7/32", "sign_in_at": "service"}, "nothing to go around"),
        ({"deployment_strategy": "CANARY", "domain_name": "api.example.com"}, "do not go together"),
        ({"night_from": "20", "night_until": "6"}, "do not go together"),
        ({"sign_in_at": "elsewhere"}, "SignInAt is elsewhere"),
    ],
)
def test_sign_in_that_cannot_work_is_refused(changes: dict[str, Any], said: str) -> None:
    found = problems_of(Settings(**({"image_tag": "v1"} | AT_BALANCER | changes)))
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize("settings", [AT_BALANCER, AT_SERVICE])
def test_sign_in_that_can_work_is_not(settings: dict[str, Any]) -> None:
    assert problems_of(Settings(image_tag="v1", **settings)) == []


def test_balancer_of_a_deployment_asks_for_the_sign_in(emulator: Emulator) -> None:
    secret = emulator.client("secretsmanager").create_secret(Name="oidc", SecretString="of the client")["ARN"]
    settings = Settings(
        **{**AT_BALANCER, "project_name": "signin", "image_tag": "v1", "oidc_client_secret_arn": secret}
    )
    network = emulator.deploy_once(settings, "network", {})
    data = emulator.deploy_once(settings, "data", {"NetworkStack": network})
    parts = emulator.resources(emulator.deploy_once(settings, "service", {"NetworkStack": network, "DataStack": data}))
    (rule,) = emulator.client("elbv2").describe_rules(RuleArns=[parts["SignsIn"]])["Rules"]
    assert [action["Type"] for action in rule["Actions"]] == ["authenticate-oidc", "forward"]
    assert "BalancerToProvider" in parts


# Nights


def night(**settings: Any) -> list[dict[str, Any]]:
    target = resources("service", **settings)["ScalableTarget"]["Properties"]
    found: list[dict[str, Any]] = target.get("ScheduledActions", [])
    return found


def test_tasks_stop_at_night_and_start_each_morning() -> None:
    evening, morning = night(night_from="20", night_until="6", wake_days="MON-FRI", night_timezone="Europe/Oslo")
    assert (evening["Schedule"], morning["Schedule"]) == ("cron(0 20 ? * * *)", "cron(0 6 ? * MON-FRI *)")
    assert evening["ScalableTargetAction"] == {"MinCapacity": "0", "MaxCapacity": "0"}
    assert morning["ScalableTargetAction"] == {"MinCapacity": "1", "MaxCapacity": "4"}
    assert evening["Timezone"] == morning["Timezone"] == "Europe/Oslo"


def test_without_hours_there_is_no_night() -> None:
    assert night() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"night_until": ""}, "belong together"),
        ({"night_until": "20"}, "a beginning and an end"),
        ({"night_tasks": 3}, "that is no night"),
        ({"night_from": "24"}, "NightFrom is '24'; expected an hour"),
        ({"wake_days": "weekdays"}, "WakeDays is 'weekdays'"),
        ({"environment_name": "prod", "min_tasks": 2}, "prod needs two zones at night too"),
    ],
)
def test_night_that_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    found = problems_of(Settings(**({"image_tag": "v1", "night_from": "20", "night_until": "6"} | changes)))
    assert any(said in problem for problem in found), found
