"""Properties 13 to 15: what the load balancer forwards, redirects and refuses."""

from typing import Any

import pytest

from tests.cloudformation.resolving import of_type, resources

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
OFFICE = "203.0.113.7/32"


def attributes(part: dict[str, Any], key: str) -> dict[str, Any]:
    return {attribute["Key"]: attribute["Value"] for attribute in part[key]}


def test_target_group_checks_readiness_on_8000_and_drains() -> None:
    group = resources("service")["TargetGroup"]["Properties"]
    assert (group["TargetType"], group["Port"], group["HealthCheckPath"]) == ("ip", 8000, "/health")
    assert group["Matcher"] == {"HttpCode": "200"}
    assert attributes(group, "TargetGroupAttributes")["deregistration_delay.timeout_seconds"] == "30"


def test_certificate_makes_http_redirect_and_https_forward() -> None:
    listeners = of_type(resources("service", certificate_arn=CERTIFICATE), "ElasticLoadBalancingV2::Listener")
    (redirect,) = listeners["HttpListener"]["DefaultActions"]
    assert redirect["RedirectConfig"] == {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    https = listeners["HttpsListener"]
    assert (https["Port"], https["Protocol"], https["DefaultActions"][0]["Type"]) == (443, "HTTPS", "forward")
    assert https["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"


def test_http_forwards_without_https_where_certificate_is_absent() -> None:
    listeners = of_type(resources("service"), "ElasticLoadBalancingV2::Listener")
    assert list(listeners) == ["HttpListener"]
    assert [action["Type"] for action in listeners["HttpListener"]["DefaultActions"]] == ["forward"]


@pytest.mark.parametrize("certificate", ["", CERTIFICATE])
@pytest.mark.parametrize("cidr", ["", OFFICE])
def test_admin_is_refused_outside_admin_cidr(certificate: str, cidr: str) -> None:
    found = resources("service", certificate_arn=certificate, admin_cidr=cidr)
    rules = sorted(of_type(found, "ElasticLoadBalancingV2::ListenerRule").values(), key=lambda rule: rule["Priority"])
    assert {rule["ListenerArn"]["Ref"] for rule in rules} == {"HttpsListener" if certificate else "HttpListener"}
    if cidr:
        admits, *rules = rules
        assert admits["Actions"][0]["Type"] == "forward"
        assert admits["Conditions"][1]["SourceIpConfig"]["Values"] == [OFFICE]
        assert admits["Conditions"][0]["PathPatternConfig"]["Values"] == ["/admin", "/admin/*", "/metrics"]
    private, encoded = rules
    assert private["Conditions"] == [
        {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/admin", "/admin/*", "/metrics"]}}
    ]
    # /%61dmin/ is the admin to Django and another path to the balancer
    assert encoded["Conditions"] == [{"Field": "path-pattern", "PathPatternConfig": {"RegexValues": ["^/[^/]*%"]}}]
    assert {rule["Actions"][0]["FixedResponseConfig"]["StatusCode"] for rule in rules} == {"403"}


@pytest.mark.parametrize(("environment", "protected"), [("dev", "false"), ("staging", "false"), ("prod", "true")])
def test_balancer_drops_invalid_headers_and_is_protected(environment: str, protected: str) -> None:
    found = attributes(
        resources("service", environment_name=environment)["LoadBalancer"]["Properties"], "LoadBalancerAttributes"
    )
    assert found["routing.http.drop_invalid_header_fields.enabled"] == "true"
    assert found["access_logs.s3.enabled"] == "true"
    assert found["access_logs.s3.bucket"] == {"Fn::ImportValue": "mlapi-dev-data-LogBucket".replace("dev", environment)}
    assert found["deletion_protection.enabled"] == protected


def test_balancer_stands_in_the_public_subnets() -> None:
    balancer = resources("service")["LoadBalancer"]["Properties"]
    assert balancer["Subnets"]["Fn::Split"][1] == {"Fn::ImportValue": "mlapi-dev-network-PublicSubnets"}
