"""A redeployment changes only what was asked for: on the emulator, by the real command line."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cloudformation.config import Settings
from cloudformation.stacks import STACKS
from tests.cloudformation.conftest import CERTIFICATE, Emulator

PROJECT = ("--set", "ProjectName=sticky")
SERVICE, DATA = "sticky-dev-service", "sticky-dev-data"
ASKED_ONCE = (
    f"CertificateArn={CERTIFICATE}", "DomainName=api.example.com", "AdminCidr=203.0.113.7/32",
    "AlarmEmail=ops@example.com", "MinTasks=2", "LogRetentionDays=90",
)  # fmt: skip

pytestmark = pytest.mark.timeout(600)  # each command of `aws` takes a second of CPU


@pytest.fixture(scope="module")
def aws(emulator: Emulator) -> Iterator[Emulator]:
    """The emulator with an environment for which everything was asked once."""
    settings = Settings(project_name="sticky", image_tag="v1").with_assignments(list(ASKED_ONCE))
    for stack in STACKS:
        emulator.deploy(settings, stack, {})
    for tag in ("v1", "v2"):
        manifest = json.dumps({"schemaVersion": 2, "config": {"digest": f"sha256:{tag}"}, "layers": []})
        emulator.client("ecr").put_image(
            repositoryName=emulator.resources(DATA)["Repository"], imageManifest=manifest, imageTag=tag
        )
    yield emulator


def parameters(aws: Emulator, stack: str) -> dict[str, str]:
    (described,) = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {part["ParameterKey"]: part["ParameterValue"] for part in described["Parameters"]}


def listeners(aws: Emulator) -> list[int]:
    arn = aws.resources(SERVICE)["LoadBalancer"]
    found = aws.client("elbv2").describe_listeners(LoadBalancerArn=arn)["Listeners"]
    return sorted(listener["Port"] for listener in found)


def deploy(aws: Emulator, *words: str) -> str:
    done = aws.cloudformation("deploy", *PROJECT, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_redeploy_without_flags_keeps_earlier_choices(aws: Emulator) -> None:
    before = {stack: parameters(aws, stack) for stack in (DATA, SERVICE)}
    kept = set(aws.resources(SERVICE))
    deploy(aws, "--image-tag", "v2")
    assert parameters(aws, DATA) == before[DATA]
    assert parameters(aws, SERVICE) == before[SERVICE] | {"ImageTag": "v2"}
    assert set(aws.resources(SERVICE)) == kept
    assert {"HttpsListener", "HttpsAdmitsAdmin"} <= kept
    assert "AlarmSubscription" in aws.resources(DATA)
    assert listeners(aws) == [80, 443]


def test_rollback_to_the_tag_before_changes_the_tag_alone(aws: Emulator) -> None:
    said = deploy(aws, "--image-tag", "v1")
    assert said.count("Nothing changes.") == 3
    assert listeners(aws) == [80, 443]


def test_one_setting_is_changed_without_naming_the_image(aws: Emulator) -> None:
    before = parameters(aws, SERVICE)
    deploy(aws, "--set", "MaxTasks=6")
    assert parameters(aws, SERVICE) == before | {"MaxTasks": "6"}


def test_unset_takes_a_parameter_back_to_its_default(aws: Emulator) -> None:
    before = parameters(aws, SERVICE)
    deploy(aws, "--unset", "AdminCidr")
    assert parameters(aws, SERVICE) == before | {"AdminCidr": ""}
    assert "HttpsAdmitsAdmin" not in aws.resources(SERVICE)


def test_plan_prints_what_changes_and_changes_nothing(aws: Emulator) -> None:
    before = parameters(aws, SERVICE)
    done = aws.cloudformation("plan", *PROJECT, "--set", "TaskMemory=2048")
    assert done.returncode == 0, done.stderr
    assert "TaskMemory = 2048  (was 1024)" in done.stdout
    assert "TaskDefinition (AWS::ECS::TaskDefinition)" in done.stdout
    assert done.stdout.count("Nothing changes.") == 3
    assert parameters(aws, SERVICE) == before
    left = aws.client("cloudformation").list_change_sets(StackName=SERVICE)["Summaries"]
    assert not [part["ChangeSetName"] for part in left if part["ChangeSetName"].startswith("plan-")]


@pytest.mark.parametrize(
    ("desired", "endangered"),
    [(("--set", "CreateDatabase=false"), "Remove     Database (AWS::RDS::DBInstance)")],
)
@pytest.mark.parametrize("command", ["plan", "deploy"])
def test_loss_of_data_is_refused_unless_it_is_named(
    aws: Emulator, command: str, desired: tuple[str, ...], endangered: str
) -> None:
    before = {stack: parameters(aws, stack) for stack in (DATA, SERVICE)}
    done = aws.cloudformation(command, *PROJECT, *desired)
    assert done.returncode == 1
    assert endangered in done.stderr
    assert "--allow-data-loss Database" in done.stderr
    assert {stack: parameters(aws, stack) for stack in (DATA, SERVICE)} == before
    planned = aws.cloudformation("plan", *PROJECT, *desired, "--allow-data-loss", "Database")
    assert planned.returncode == 0, planned.stderr


def test_deployment_is_refused_while_a_rollback_alarm_is_on(aws: Emulator) -> None:
    cloudwatch, alarm = aws.client("cloudwatch"), aws.resources(SERVICE)["TargetErrors"]
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="a test")
    refused = aws.cloudformation("deploy", *PROJECT, "--image-tag", "v2")
    assert refused.returncode == 1
    assert alarm in refused.stderr
    assert "--despite-alarms" in refused.stderr
    deploy(aws, "--image-tag", "v2", "--despite-alarms")
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="a test")
    deploy(aws, "--image-tag", "v1")
