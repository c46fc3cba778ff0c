"""The bill: every billable resource has a price, and the totals are the documented ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cloudformation.__main__ import main
from cloudformation.config import ConfigurationError, Settings
from cloudformation.cost import Line, bill, crossing, door_totals, profile_totals, total
from cloudformation.prices import BILLED, ELSEWHERE, FREE, PRICES
from cloudformation.sizes import requests_per_minute
from cloudformation.stacks import MAKERS, STANDALONE, VARIANTS
from tests.cloudformation.conftest import CERTIFICATE
from tests.cloudformation.resolving import resources

PRICED = [*MAKERS.values(), *VARIANTS.values(), STANDALONE["key"]]
TYPES = {part["Type"] for maker in PRICED for part in maker().to_dict()["Resources"].values()}


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_resource_type_is_priced_or_known_to_be_free(kind: str) -> None:
    assert (kind in BILLED) != (kind in FREE)


def test_no_price_is_kept_for_what_no_template_has() -> None:
    assert set(BILLED) | set(FREE) == TYPES
    assert {price for prices in BILLED.values() for price in prices} | ELSEWHERE == set(PRICES)


@pytest.mark.parametrize(
    ("settings", "low", "high"),
    [
        (Settings.for_environment("dev", profile="cheapest"), 29, 34),
        (Settings.for_environment("dev", profile="standard"), 59, 67),
        (Settings.for_environment("dev", profile="standard").with_assignment("NetworkMode=nat"), 88, 97),
        (Settings.for_environment("dev", profile="standard").with_assignment("NetworkMode=endpoints"), 81, 89),
        (
            Settings.for_environment("dev", profile="standard")
            .with_assignment("NetworkMode=endpoints")
            .with_assignment("EndpointZones=2"),
            110,
            119,
        ),
    ],
)
def test_month_costs_what_the_docs_say(settings: Settings, low: float, high: float) -> None:
    assert low < total(bill(settings)) < high


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"backup_role_arn": "arn:aws:iam::123456789012:role/backup"},
        {"network_mode": "nat"},
        {"network_mode": "endpoints"},
        {"create_database": False},
        {"door": "http-api"},
        {"rate_limit": 100},
        {"managed_rules": True, "flow_logs": "ALL"},
        {"key_arn": "arn:aws:kms:us-east-1:123456789012:key/1"},
    ],
)
def test_bill_has_a_line_for_each_billable_part(changes: dict[str, Any]) -> None:
    made = {part["Type"] for stack in MAKERS for part in resources(stack, **changes).values()}
    lines = {line.price for line in bill(Settings(**changes))}
    for kind in made & set(BILLED):
        if kind == "AWS::EC2::VPCEndpoint" and changes.get("network_mode") != "endpoints":
            continue  # the gateway to S3 is the one endpoint that is free
        assert set(BILLED[kind]) & lines, kind


def test_counts_of_the_bill_are_those_of_the_templates() -> None:
    found = [part["Type"] for stack in ("data", "service") for part in resources(stack).values()]
    secrets = next(line for line in bill(Settings()) if line.price == "secret")
    assert secrets.quantity == found.count("AWS::SecretsManager::Secret")
    assert found.count("AWS::CloudWatch::Alarm") <= 10  # what CloudWatch gives for free


def test_prod_pays_for_the_databases_second_zone() -> None:
    hours = [line.quantity for line in bill(Settings(environment_name="prod")) if line.price == "db.t4g.micro"]
    assert hours == [2 * 730]


def test_database_class_without_a_price_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"db\.m7g\.large is not in the table"):
        bill(Settings(database_instance_class="db.m7g.large"))


def test_every_price_names_the_page_it_was_read_on() -> None:
    assert all(price.source.startswith("https://aws.amazon.com/") and price.usd > 0 for price in PRICES.values())


def test_text_shows_lines_profiles_and_minimum_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--env", "dev", "--network-mode", "nat"]) == 0
    shown = capsys.readouterr().out
    assert "NAT gateway" in shown
    assert "Fargate has no free tier" in shown
    for name, usd in profile_totals(Settings()).items():
        assert f"{name:<12}{usd:>9.2f}" in shown


def test_json_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["total"] == pytest.approx(sum(line["monthly"] for line in answer["lines"]), abs=0.1)
    assert set(answer["profiles"]) == {"cheapest", "standard", "production"}


def usd(lines: list[Line], price: str) -> float:
    return sum(line.usd for line in lines if line.price == price)


def test_heavy_traffic_pays_for_logs_and_sampling_saves() -> None:
    quiet, busy = bill(Settings(), 0), bill(Settings(), 10_000)
    assert usd(busy, "logs") > 0.5 * (total(busy) - total(quiet))
    sampled = bill(Settings(log_sample_percent=1), 10_000)
    assert usd(sampled, "logs") < 0.03 * usd(busy, "logs")


@pytest.mark.parametrize(("seconds", "expected"), [(10, 1.31), (30, 0.44), (60, 0.22)])
def test_listing_is_billed_by_its_interval(seconds: int, expected: float) -> None:
    assert round(usd(bill(Settings(models_discovery_seconds=seconds)), "bucket-listing"), 2) == expected


@pytest.mark.parametrize(("profile", "seconds"), [("cheapest", 60), ("standard", 30), ("production", 10)])
def test_profile_says_how_often_the_bucket_is_listed(profile: str, seconds: int) -> None:
    assert Settings.for_environment("dev", profile=profile).models_discovery_seconds == seconds


@pytest.mark.parametrize(("per_minute", "tasks"), [(0, 1), (7_800, 1), (7_801, 2), (1_000_000, 4)])
def test_tasks_are_those_that_the_autoscaling_settles_on(per_minute: int, tasks: int) -> None:
    hours = sum(line.quantity for line in bill(Settings(), per_minute) if line.price == "fargate-vcpu-arm64")
    assert hours == tasks * 730 * 0.25


def test_more_requests_than_the_tasks_take_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--per-minute", "1000000"]) == 0
    assert "more than MaxTasks=4 should take: 31200" in capsys.readouterr().out


def test_rate_limit_of_production_lets_one_busy_backend_through() -> None:
    settings = Settings.for_environment("dev", profile="production")
    assert settings.rate_limit / 300 > settings.max_tasks * requests_per_minute(settings.task_cpu) / 60 * 0.75


def test_comparison_names_each_way_its_price_and_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--per-minute", "1000", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [other["name"] for other in answer["elsewhere"]] == ["Lambda", "SageMaker serverless", "SageMaker endpoint"]
    # 43.8 million requests: 0.20 a million, and 438,000 GB-seconds
    assert answer["elsewhere"][0]["monthly"] == pytest.approx(43.8 * 0.2 + 438_000 * 0.0000133334, abs=0.01)
    assert all(source.startswith("https://") for other in answer["elsewhere"] for source in other["sources"])


def test_http_api_is_billed_by_request_without_addresses() -> None:
    lines = bill(Settings(door="http-api"), 100)
    assert usd(lines, "api-requests") == pytest.approx(4.38)  # 100 a minute are 4.38 million a month
    assert not {"balancer", "balancer-capacity"} & {line.price for line in lines}
    (addresses,) = [line.quantity for line in lines if line.price == "public-address"]
    assert addresses == 730  # of the one task


@pytest.mark.parametrize("profile", ["cheapest", "standard"])
def test_doors_cost_the_same_where_they_cross(profile: str) -> None:
    settings = Settings.for_environment("dev", profile=profile)
    per_minute = crossing(settings)
    assert 450 < per_minute < 550
    quiet, even, busy = (door_totals(settings, share * per_minute) for share in (0.5, 1, 2))
    assert quiet["http-api"] < quiet["balancer"]
    assert even["http-api"] == pytest.approx(even["balancer"], abs=0.1)
    assert busy["http-api"] > busy["balancer"]


def test_bill_shows_both_doors_and_where_they_cross(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--per-minute", "100"]) == 0
    shown = capsys.readouterr().out
    for door, month in door_totals(Settings(), 100).items():
        assert f"  {door:<12}{month:>9.2f}" in shown
    assert f"Below {crossing(Settings()):,} requests a minute" in shown
    assert main(["cost", "--per-minute", "100", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["doors_cross_per_minute"] == crossing(Settings())
    assert set(answer["doors"]) == {"balancer", "http-api"}


def test_alarms_of_the_bill_are_those_of_the_door() -> None:
    certified = {"certificate_arn": CERTIFICATE}
    for settings in ({}, {"door": "http-api"}, {"enable_grpc": True, **certified}):
        made = [part["Type"] for stack in MAKERS for part in resources(stack, **settings).values()]
        assert made.count("AWS::CloudWatch::Alarm") <= 10  # what CloudWatch gives for free, so none is billed
