"""A new image beside the old one: rules, groups, hooks; which group is live; how much traffic a step needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudformation import canary, preflight
from cloudformation.aws import Aws, AwsError
from cloudformation.config import Settings
from cloudformation.plan import plan
from cloudformation.problems import problems_of
from cloudformation.stacks import MAX_TEMPLATE_BYTES, TEMPLATES
from tests.cloudformation.conftest import CERTIFICATE, REGION, Deployed, Emulator
from tests.cloudformation.resolving import of_type, resources

ADMIN = {"admin_cidr": "203.0.113.7/32"}
HTTPS = {"certificate_arn": CERTIFICATE, "domain_name": "api.example.com"}


def shifting(strategy: str = "CANARY", **settings: Any) -> dict[str, dict[str, Any]]:
    return resources("service", deployment_strategy=strategy, **HTTPS, **settings)


def deployment(strategy: str) -> dict[str, Any]:
    found: dict[str, Any] = shifting(strategy)["Service"]["Properties"]["DeploymentConfiguration"]
    return found


def test_template_of_the_shift_needs_no_bucket() -> None:
    assert (TEMPLATES / "service-shift.yaml").stat().st_size < MAX_TEMPLATE_BYTES


@pytest.mark.parametrize("strategy", ["BLUE_GREEN", "LINEAR", "CANARY"])
def test_plan_takes_the_template_of_the_shift(strategy: str) -> None:
    service = {part.kind: part for part in plan(Settings(image_tag="v1", deployment_strategy=strategy, **HTTPS))}[
        "service"
    ]
    assert (service.template.name, service.parameters["ShiftStack"]) == ("service-shift.yaml", "mlapi-dev-shift")


def test_rolling_stays_as_it_is() -> None:
    parts = resources("service")
    assert list(of_type(parts, "ElasticLoadBalancingV2::TargetGroup")) == ["TargetGroup"]
    assert "Strategy" not in parts["Service"]["Properties"]["DeploymentConfiguration"]


@pytest.mark.parametrize(
    ("strategy", "steps"),
    [
        ("BLUE_GREEN", {}),
        ("LINEAR", {"LinearConfiguration": {"StepPercent": "10", "StepBakeTimeInMinutes": "10"}}),
        ("CANARY", {"CanaryConfiguration": {"CanaryPercent": "10", "CanaryBakeTimeInMinutes": "10"}}),
    ],
)
def test_strategy_bakes_and_goes_back_by_the_alarms(strategy: str, steps: dict[str, Any]) -> None:
    found = deployment(strategy)
    assert (found["Strategy"], found["BakeTimeInMinutes"]) == (strategy, "10")
    assert {
        name: part for name, part in found.items() if name.endswith("arConfiguration") or name[:6] == "Canary"
    } == steps
    assert found["Alarms"]["Enable"] is found["Alarms"]["Rollback"] is True
    assert len(found["Alarms"]["AlarmNames"]) == 2


def test_smoke_test_runs_before_any_caller_meets_the_image() -> None:
    (hook,) = deployment("BLUE_GREEN")["LifecycleHooks"]
    assert hook["LifecycleStages"] == ["POST_TEST_TRAFFIC_SHIFT"]
    assert hook["HookDetails"]["headers"] == {canary.TEST_HEADER: {"Ref": "AWS::StackName"}}


def test_both_rules_switch_each_between_its_own_groups() -> None:
    prefix, parts = "Https", shifting(**ADMIN)
    entries = parts["Service"]["Properties"]["LoadBalancers"]
    groups = [(part["TargetGroupArn"], part["AdvancedConfiguration"]) for part in entries]
    assert [(main["Ref"], part["AlternateTargetGroupArn"]["Ref"], part["ProductionListenerRule"]["Ref"])
            for main, part in groups] == [
        ("TargetGroup", "AlternateTargetGroup", f"{prefix}Serves"),
        ("AdminTargetGroup", "AdminAlternateTargetGroup", f"{prefix}AdmitsAdmin"),
    ]  # fmt: skip
    assert [part.get("TestListenerRule") for _, part in groups] == [{"Ref": f"{prefix}Tests"}, None]
    for rule, main, alternate in (
        ("Serves", "TargetGroup", "AlternateTargetGroup"),
        ("Tests", "TargetGroup", "AlternateTargetGroup"),
        ("AdmitsAdmin", "AdminTargetGroup", "AdminAlternateTargetGroup"),
    ):
        assert weights(parts[f"{prefix}{rule}"]) == {main: 100, alternate: 0}


def weights(rule: dict[str, Any]) -> dict[str, int]:
    (action,) = rule["Properties"]["Actions"]
    return {part["TargetGroupArn"]["Ref"]: part["Weight"] for part in action["ForwardConfig"]["TargetGroups"]}


def test_rules_keep_the_live_groups_weights() -> None:
    parts = shifting(live_target_group="alternate", **ADMIN)
    assert weights(parts["HttpsServes"]) == {"TargetGroup": 0, "AlternateTargetGroup": 100}
    assert weights(parts["HttpsAdmitsAdmin"]) == {"AdminTargetGroup": 0, "AdminAlternateTargetGroup": 100}


def test_admin_without_addresses_has_no_groups() -> None:
    parts = shifting()
    assert set(of_type(parts, "ElasticLoadBalancingV2::TargetGroup")) == {"TargetGroup", "AlternateTargetGroup"}
    assert len(parts["Service"]["Properties"]["LoadBalancers"]) == 1


def test_test_header_opens_no_private_path() -> None:
    rules = of_type(shifting(**ADMIN), "ElasticLoadBalancingV2::ListenerRule")
    order = sorted(rules, key=lambda name: rules[name]["Priority"])
    assert order == ["HttpsAdmitsAdmin", "HttpsRefusesAdmin", "HttpsRefusesEncodedPaths", "HttpsTests", "HttpsServes"]


def test_alternate_groups_are_checked_as_the_main_one() -> None:
    groups = of_type(shifting(**ADMIN), "ElasticLoadBalancingV2::TargetGroup")
    assert len(groups) == 4
    assert all(group == groups["TargetGroup"] for group in groups.values())


def test_alarm_on_empty_groups_goes_with_rolling_alone() -> None:
    assert "NoHealthyTarget" in resources("monitoring")
    assert "NoHealthyTarget" not in resources("monitoring", deployment_strategy="CANARY")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"certificate_arn": ""}, "needs CertificateArn and DomainName"),
        ({"domain_name": ""}, "needs CertificateArn and DomainName"),
        ({"create_database": False, "max_tasks": 1}, "without a database"),
        ({"night_from": "20", "night_until": "6"}, "Nights go with"),
        ({"shift_percent": 60}, "ShiftPercent is 60"),
        ({"bake_minutes": 2000}, "BakeMinutes is 2000"),
        ({"deployment_strategy": "SLOWLY"}, "DeploymentStrategy is SLOWLY"),
    ],
)
def test_shift_that_cannot_work_is_refused(changes: dict[str, Any], said: str) -> None:
    settings = Settings(**({"image_tag": "v1", "deployment_strategy": "CANARY"} | HTTPS | changes))
    assert any(said in problem for problem in problems_of(settings))


def test_smoke_test_of_the_template_runs_by_itself() -> None:
    event = {"hookDetails": {"url": "http://127.0.0.1:9", "address": "127.0.0.1", "headers": {}}}
    code = f"{canary.source()}\nprint(handler({event!r}, None))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert "{'hookStatus': 'FAILED'}" in done.stdout


# On the emulator


@pytest.fixture(scope="module")
def shifted(emulator: Emulator) -> Deployed:
    settings = Settings(project_name="shifted", image_tag="v1", deployment_strategy="CANARY", **ADMIN, **HTTPS)
    network = emulator.deploy_once(settings, "network", {})
    data = emulator.deploy_once(settings, "data", {"NetworkStack": network})
    done = emulator.run(
        "aws", "cloudformation", "deploy", "--stack-name", "shifted-dev-shift", "--capabilities", "CAPABILITY_IAM",
        "--no-fail-on-empty-changeset", "--template-file", str(TEMPLATES / "shift.yaml"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    service = emulator.deploy_once(settings, "service", {})
    return Deployed(emulator, settings, network, data, service, monitoring="")


@pytest.fixture
def aws(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    yield Aws(REGION)


def test_service_stands_with_its_strategy(shifted: Deployed) -> None:
    found = shifted.ecs_service
    assert found["deploymentConfiguration"]["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
    assert len(found["loadBalancers"]) == 2


def test_live_group_is_the_main_one_at_first(shifted: Deployed, aws: Aws) -> None:
    assert preflight.live_target_group(aws, shifted.service) == "main"


@pytest.mark.parametrize(
    ("weights", "live"),
    [({"main": 100, "alternate": 0}, {"main"}), ({"main": 0, "alternate": 100}, {"alternate"}),
     ({"main": 90, "alternate": 10}, {"main", "alternate"})],
)  # fmt: skip
def test_live_groups_are_those_with_weight(weights: dict[str, int], live: set[str]) -> None:
    # As the API answers: the emulator keeps no weights.
    groups = [{"TargetGroupArn": name, "Weight": weight} for name, weight in weights.items()]
    rule = {"Actions": [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]}
    assert preflight.groups_with_traffic(rule) == live


def test_rolling_waits_for_the_main_group() -> None:
    preflight.require_main_is_live("main")
    with pytest.raises(AwsError, match="Deploy once more"):
        preflight.require_main_is_live("alternate")


def test_service_without_rules_has_the_main_group_live(aws: Aws) -> None:
    assert preflight.live_target_group(aws, "no-such-stack") == "main"


@pytest.mark.parametrize(
    "changes",
    [
        {"shift_percent": 50, "bake_minutes": 20},
        {"deployment_strategy": "BLUE_GREEN"},
        {"deployment_strategy": "ROLLING"},
    ],
)
def test_step_with_enough_requests_goes_on(shifted: Deployed, aws: Aws, changes: dict[str, Any]) -> None:
    put_requests(shifted, 24 * 60 * 20)
    preflight.require_traffic(aws, replace(shifted.settings, **changes), shifted.service)


@pytest.mark.parametrize("strategy", ["LINEAR", "CANARY"])
def test_step_with_too_few_requests_is_refused(shifted: Deployed, aws: Aws, strategy: str) -> None:
    put_requests(shifted, 24 * 60 * 20)
    with pytest.raises(AwsError, match="20.0 requests a minute.*Set DeploymentStrategy=BLUE_GREEN"):
        preflight.require_traffic(aws, replace(shifted.settings, deployment_strategy=strategy), shifted.service)


def put_requests(shifted: Deployed, number: float) -> None:
    """Leave as many requests in the last day's metrics as the test says."""
    name = shifted.aws.outputs(shifted.service)["LoadBalancerFullName"]
    dimensions = [{"Name": "LoadBalancer", "Value": name}]
    cloudwatch, now = shifted.client("cloudwatch"), datetime.now(UTC)
    asked = {"Namespace": "AWS/ApplicationELB", "MetricName": "RequestCount", "Dimensions": dimensions}
    points = cloudwatch.get_metric_statistics(
        **asked, StartTime=now - timedelta(days=1), EndTime=now + timedelta(minutes=1), Period=3600, Statistics=["Sum"]
    )["Datapoints"]
    left = number - sum(point["Sum"] for point in points)
    if left:
        data = {
            "MetricName": "RequestCount",
            "Dimensions": dimensions,
            "Value": left,
            "Timestamp": now - timedelta(hours=2),
        }
        cloudwatch.put_metric_data(Namespace="AWS/ApplicationELB", MetricData=[data])
