"""Invalid parameters fail before anything is created, each with a sentence that says what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cloudformation.config import PROFILES, TASK_SIZES, AddressPlan, ConfigurationError, Settings
from cloudformation.problems import address_problems, problems_of, require_deployable, require_sound

PROD = Settings(environment_name="prod", min_tasks=2)
CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"


def test_defaults_are_sound() -> None:
    assert problems_of(Settings()) == []
    assert problems_of(PROD) == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (Settings(task_cpu=300), "TaskCpu is 300; Fargate offers 256, 512, 1024, 2048, 4096"),
        (Settings(task_cpu=256, task_memory=4096), "with TaskCpu 256 Fargate offers 512, 1024, 2048"),
        (Settings(certificate_arn=CERTIFICATE), "CertificateArn is in eu-west-1, and the stacks are made in us-east-1"),
        (Settings(certificate_arn="my-certificate"), "CertificateArn is 'my-certificate'; expected an ACM"),
        (Settings(domain_name="api.example.com"), "DomainName is api.example.com without a certificate"),
        (Settings(admin_cidr="10.0.0.0/8"), "10.0.0.0/8 is a range of private addresses that overlaps the network"),
        (Settings(admin_cidr="192.168.1.0/24"), "192.168.1.0/24 is a range of private addresses. The balancer sees"),
        (Settings(admin_cidr="203.0.113.7/24"), "has host bits set"),
        (Settings(admin_cidr="office"), "AdminCidr is 'office'; expected an IPv4 range such as 203.0.113.7/32"),
        (replace(PROD, min_tasks=1), "prod needs two zones: with MinTasks=1"),
        (replace(PROD, network_mode="endpoints"), "prod needs two zones: with EndpointZones=1"),
        (replace(PROD, create_database=False, max_tasks=2), "prod needs the database"),
        (replace(PROD, admin_cidr="0.0.0.0/0"), "opens the admin of prod to everybody"),
        (Settings(min_tasks=3, max_tasks=2), "expected 1 <= MinTasks <= MaxTasks <= 20"),
        (Settings(create_database=False), "MaxTasks is 4 without a database: each task would have"),
        (Settings(enable_exec=True, network_mode="endpoints"), "EnableExec needs the endpoint ssmmessages"),
        (Settings(rate_limit=5), "RateLimit is 5; expected 0 (none) or at least 10"),
        (Settings(log_retention_days=8), "LogRetentionDays is 8; expected one of 1, 3, 5, 7"),
        (Settings(network_mode="private"), "NetworkMode is private; expected one of public, nat, endpoints"),
        (Settings(project_name="My_Project"), "ProjectName is 'My_Project'; expected 2 to 20 lower-case letters"),
        (Settings(database_engine_version="16"), "expected 17, whose minor version AWS picks"),
        (Settings(first_zone="us-east-1a"), "expected two different zones or none"),
        (Settings(first_zone="us-east-1a", second_zone="us-east-1a"), "expected two different zones or none"),
        (Settings(first_zone="eu-west-1a", second_zone="us-east-1b"), "eu-west-1a is not in us-east-1"),
        (Settings(environment_variables="{MODELS=1}"), "EnvironmentVariables is not valid JSON"),
        (Settings(environment_variables='{"A": 1}'), "expected a name in capitals and a text in quotes"),
        (Settings(environment_variables='{"WEB_WORKERS": "4"}'), "Set the parameter TaskCpu instead"),
        (Settings(models_signatures="require"), "ModelsSignatures is require without a public key"),
        (Settings(log_sample_percent=101), "LogSamplePercent is 101; expected 0 to 100"),
        (Settings(start_grace_seconds=30), "StartGraceSeconds is 30; expected 60 to 300"),
        (Settings(models_discovery_seconds=0), "ModelsDiscoverySeconds is 0; expected 1 to 3600"),
        (Settings(alarm_email="ops"), "AlarmEmail is 'ops'; expected an e-mail address"),
        (Settings(image_tag="a b"), "ImageTag is 'a b'; expected a tag of a container image"),
    ],
)  # fmt: skip
def test_wrong_parameter_is_said(settings: Settings, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        require_sound(settings)
    assert sentence in str(raised.value)


def test_every_reason_is_given_at_once() -> None:
    assert len(problems_of(Settings(task_cpu=1, network_mode="x", alarm_email="y"))) == 3


@pytest.mark.parametrize(("cpu", "memory"), [(cpu, size) for cpu, sizes in TASK_SIZES.items() for size in sizes])
def test_every_size_that_fargate_sells_is_taken(cpu: int, memory: int) -> None:
    assert problems_of(Settings(task_cpu=cpu, task_memory=memory)) == []


def test_overlapping_and_outlying_subnets_are_said() -> None:
    assert address_problems(AddressPlan()) == []
    (overlap,) = address_problems(AddressPlan(private=("10.0.0.0/26", "10.0.11.0/24")))
    assert "10.0.0.0/24 and 10.0.0.0/26 overlap" in overlap
    (outside,) = address_problems(AddressPlan(private=("10.0.10.0/24", "192.168.0.0/24")))
    assert "192.168.0.0/24 is not inside the network 10.0.0.0/16" in outside


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_sound(profile: str) -> None:
    assert problems_of(Settings.for_environment("dev", profile=profile)) == []


def test_prod_starts_with_two_tasks_in_two_zones() -> None:
    assert problems_of(Settings.for_environment("prod")) == []
    assert problems_of(replace(Settings.for_environment("prod"), network_mode="endpoints")) == []


def test_prod_without_a_certificate_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="prod needs a certificate"):
        require_deployable(PROD)
    require_deployable(replace(PROD, certificate_arn=CERTIFICATE, region="eu-west-1"))


def test_unknown_profile_is_not_taken_for_credentials() -> None:
    with pytest.raises(ConfigurationError, match="AWS_PROFILE"):
        Settings.for_environment("dev", profile="my-credentials")


@pytest.mark.parametrize(
    ("assignment", "field", "value"),
    [
        ("TaskCpu=512", "task_cpu", 512),
        ("UseSpot=true", "use_spot", True),
        ("CreateDatabase=False", "create_database", False),
        ("AdminCidr=203.0.113.7/32", "admin_cidr", "203.0.113.7/32"),
        ("DomainName=a=b", "domain_name", "a=b"),
    ],
)
def test_assignment_sets_the_parameter_in_its_own_type(assignment: str, field: str, value: Any) -> None:
    assert getattr(Settings().with_assignment(assignment), field) == value


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("TaskCpu", "expected Name=Value"),
        ("TaskCPU=512", "Did you mean TaskCpu?"),
        ("TaskCpu=half", "TaskCpu is 'half'; expected a whole number"),
        ("UseSpot=yes", "UseSpot is 'yes'; expected true or false"),
    ],
)
def test_wrong_assignment_is_said(assignment: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Settings().with_assignment(assignment)
    assert sentence in str(raised.value)
