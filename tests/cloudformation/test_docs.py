"""The pages about AWS are true: commands, parameters, modules, outputs and figures."""

from __future__ import annotations

import re
import shlex

import pytest

from cloudformation.__main__ import main, parser
from cloudformation.config import Settings, parameter_name
from cloudformation.cost import bill, crossing, total
from cloudformation.elsewhere import alternatives
from cloudformation.stacks import MAKERS, STANDALONE, VARIANTS
from tests.cloudformation.conftest import ROOT

COSTS = (ROOT / "docs/aws-costs.md").read_text()
AWS = "\n".join(page.read_text() for page in sorted((ROOT / "docs").glob("aws*.md")) if page.name != "aws-costs.md")
COMMANDS = sorted(set(re.findall(r"^python -m cloudformation .+$", AWS + COSTS, re.MULTILINE)))


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_command_is_accepted(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)[3:]
    if words[0] in {"promote", "replay", "smoke"}:  # they only act; that their words are taken is enough
        parser().parse_args(words)
        return
    if words[0] in {"deploy", "destroy"} and "--dry-run" not in words:
        words.append("--dry-run")
    assert main(words) == 0, capsys.readouterr().err


def test_every_parameter_set_in_the_docs_exists() -> None:
    known = {parameter_name(name) for name in Settings.__slots__} | {"NetworkStack", "DataStack", "ServiceStack"}
    known |= {name for make in STANDALONE.values() for name in make().to_dict()["Parameters"]}
    named = set(re.findall(r"\b([A-Z][a-z]+[A-Z]\w+)=", AWS + COSTS)) - {"OutputKey"}  # of aws --query
    assert named
    assert named <= known


def test_every_module_is_in_the_table_of_parts() -> None:
    modules = {path.name for path in (ROOT / "cloudformation").glob("*.py")}
    described = set(re.findall(r"`(\w+\.py)`", AWS))
    assert described <= modules
    own = {"__init__.py", "__main__.py", "aws.py", "image.py", "links.py", "rendering.py", "spec.py"}
    assert modules - described == own


@pytest.mark.parametrize("output", ["ModelBucket", "LogGroup", "BalancerDnsName", "RepositoryUri"])
def test_output_named_in_the_docs_is_an_output(output: str) -> None:
    assert output in AWS
    assert output in {name for maker in MAKERS.values() for name in maker().to_dict()["Outputs"]}


@pytest.mark.parametrize(
    ("usd", "profile", "assignments"),
    [
        (33, "cheapest", []),
        (65, "standard", []),
        (95, "standard", ["NetworkMode=nat"]),
        (87, "standard", ["NetworkMode=endpoints"]),
        (116, "standard", ["NetworkMode=endpoints", "EndpointZones=2"]),
        (143, "production", []),
    ],
)
def test_documented_bill_is_the_computed_one(usd: int, profile: str, assignments: list[str]) -> None:
    settings = Settings.for_environment("dev", profile=profile)
    for assignment in assignments:
        settings = settings.with_assignment(assignment)
    assert f"| {usd} | {settings.network_mode}" in COSTS
    assert round(total(bill(settings))) == usd


@pytest.mark.parametrize("per_minute", [10, 100, 1_000, 10_000])
def test_documented_comparison_is_the_computed_one(per_minute: int) -> None:
    settings = Settings.for_environment("dev", profile="standard")
    sampled = settings.with_assignment("LogSamplePercent=1")
    bills = [total(bill(each, per_minute)) for each in (settings, sampled)]
    figures = [*bills, *(other.usd for other in alternatives(per_minute))]
    assert f"| {per_minute:,} | " + " | ".join(f"{usd:.0f}" for usd in figures) + " |" in COSTS


def test_by_hand_commands_name_the_committed_templates() -> None:
    for stack in MAKERS:
        assert f"--template-file cloudformation/templates/{stack}.yaml" in AWS


def test_documented_crossing_of_the_doors_is_the_computed_one() -> None:
    assert f"below {crossing(Settings())} requests a minute" in AWS
    assert f"{crossing(Settings())} requests a minute" in COSTS


@pytest.mark.parametrize(("profile", "usd"), [("cheapest", 10), ("standard", 43)])
def test_documented_http_api_bill_is_the_computed_one(profile: str, usd: int) -> None:
    settings = Settings.for_environment("dev", profile=profile).with_assignment("Door=http-api")
    assert round(total(bill(settings))) == usd
    assert f"`{profile}` to ${usd}" in COSTS


def test_output_to_which_a_domain_name_points_exists() -> None:
    assert "`ApiDomainName`" in AWS
    assert "ApiDomainName" in VARIANTS["service-http-api"]().to_dict()["Outputs"]
