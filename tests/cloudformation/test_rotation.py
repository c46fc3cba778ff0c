"""Rotation of the database role's password: its steps on the emulator, its rights, and the tasks that follow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudformation.config import Settings
from cloudformation.stacks import STANDALONE, TEMPLATES
from tests.cloudformation.conftest import ACCOUNT, Emulator
from tests.cloudformation.deciding import decide
from tests.support.waiting import eventually

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
VERSION = "11111111-2222-3333-4444-555555555555"


@dataclass(frozen=True)
class Rotation:
    """The stack of the rotation over a deployment, and the code that its template carries."""

    aws: Emulator
    stack: str
    secret: str
    cluster: str
    service: str
    service_arn: str
    code: dict[str, Callable[[dict[str, str], object], None]]

    def password(self) -> dict[str, str]:
        value = self.aws.client("secretsmanager").get_secret_value(SecretId=self.secret, VersionStage="AWSCURRENT")
        content: dict[str, str] = json.loads(value["SecretString"])
        return content

    def step(self, name: str, version: str = VERSION) -> None:
        self.code["rotate"]({"Step": name, "SecretId": self.secret, "ClientRequestToken": version}, None)


@pytest.fixture(scope="module")
def stack(emulator: Emulator) -> Rotation:
    settings = Settings(project_name="rotated", image_tag="v1")
    network = emulator.deploy_once(settings, "network", {})
    data = emulator.deploy_once(settings, "data", {"NetworkStack": network})
    service = emulator.deploy_once(settings, "service", {"NetworkStack": network, "DataStack": data})
    done = emulator.run(
        "aws", "cloudformation", "deploy", "--stack-name", "rotated-dev-rotation", "--template-file",
        str(TEMPLATES / "rotation.yaml"), "--capabilities", "CAPABILITY_IAM", "--parameter-overrides",
        "ProjectName=rotated", f"DataStack={data}", f"ServiceStack={service}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = emulator.outputs(service)
    return Rotation(
        aws=emulator,
        stack="rotated-dev-rotation",
        secret=emulator.outputs(data)["RegistryCredentialsArn"],
        cluster=outputs["Cluster"],
        service=outputs["Service"],
        service_arn=outputs["ServiceArn"],
        code=carried(),
    )


@pytest.fixture
def rotation(stack: Rotation, monkeypatch: pytest.MonkeyPatch) -> Rotation:
    for name, value in stack.aws.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return stack


def template() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = STANDALONE["rotation"]().to_dict()["Resources"]
    return found


def carried() -> dict[str, Any]:
    """Return what the code of the functions defines; it is the same text in both."""
    codes = {template()[name]["Properties"]["Code"]["ZipFile"] for name in ("Rotator", "Redeployer")}
    (code,) = codes
    assert len(code) <= 4096  # what CloudFormation takes in a template
    defined: dict[str, Any] = {}
    exec(code, defined)
    return defined


def test_rotation_gives_the_role_another_password(rotation: Rotation) -> None:
    before = rotation.password()
    for name in STEPS[:-1]:
        rotation.step(name)
        assert rotation.password() == before  # until the last step nothing that reads it sees another
    rotation.step("finishSecret")
    after = rotation.password()
    assert after["username"] == before["username"] == "mlapi"
    assert after["password"] != before["password"]
    assert len(after["password"]) == 40
    assert after["password"].isalnum()


def test_steps_can_be_repeated(rotation: Rotation) -> None:
    version = VERSION.replace("1", "2")
    rotation.step("createSecret", version)
    client = rotation.aws.client("secretsmanager")
    pending = client.get_secret_value(SecretId=rotation.secret, VersionId=version)["SecretString"]
    for name in (*STEPS, *STEPS):
        rotation.step(name, version)
    assert rotation.password() == json.loads(pending)


def test_unknown_step_is_refused(rotation: Rotation) -> None:
    with pytest.raises(ValueError, match="expected one of createSecret"):
        rotation.step("deleteSecret")


def test_changed_secret_brings_new_tasks(rotation: Rotation) -> None:
    ecs = rotation.aws.client("ecs")

    def deployment() -> tuple[str, Any]:
        (found,) = ecs.describe_services(cluster=rotation.cluster, services=[rotation.service])["services"]
        return found["taskDefinition"], found["deployments"][0]["updatedAt"]

    before = deployment()
    # The emulator keeps whole seconds: a deployment within the same one would bear the same time.
    eventually(lambda: datetime.now(UTC) >= before[1] + timedelta(seconds=1))
    target = template()["SecretChanged"]["Properties"]["Targets"][0]
    text, names = target["Input"]["Fn::Sub"]
    assert set(names) == {"Cluster", "Service"}
    event = json.loads(text.replace("${Cluster}", rotation.cluster).replace("${Service}", rotation.service))
    rotation.code["redeploy"](event, None)
    after = deployment()
    assert after[0] == before[0]  # the same image and settings
    assert after[1] > before[1]


def test_rule_hears_of_the_secrets_that_tasks_read(rotation: Rotation) -> None:
    rule = rotation.aws.resources(rotation.stack)["SecretChanged"].rpartition("/")[2]
    pattern = json.loads(rotation.aws.client("events").describe_rule(Name=rule)["EventPattern"])
    assert pattern["source"] == ["aws.secretsmanager"]
    assert pattern["detail-type"] == ["Secret Label Updated"]
    assert pattern["detail"] == {"labelUpdated": ["AWSCURRENT"]}
    assert pattern["resources"][0] == rotation.secret
    assert len(pattern["resources"]) == 2


def test_rotation_is_within_what_security_hub_asks_for() -> None:
    days = STANDALONE["rotation"]().to_dict()["Parameters"]["RotationDays"]
    assert int(days["Default"]) <= int(days["MaxValue"]) == 90
    schedule = template()["RotationSchedule"]["Properties"]
    assert schedule["RotationRules"] == {"AutomaticallyAfterDays": {"Ref": "RotationDays"}}
    assert schedule["RotateImmediatelyOnUpdate"] is False


def test_functions_may_do_their_own_work_only(rotation: Rotation) -> None:
    made = rotation.aws.resources(rotation.stack)
    other = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:another-AbCdEf"
    calls = [
        ("secretsmanager:PutSecretValue", rotation.secret),
        ("ecs:UpdateService", rotation.service_arn),
        ("secretsmanager:PutSecretValue", other),
        ("secretsmanager:DeleteSecret", rotation.secret),
        ("ecs:DeleteService", rotation.service_arn),
        ("rds:ModifyDBInstance", "*"),
    ]
    refused = ["ImplicitDeny"] * 4
    assert decide(rotation.aws, made["RotatorRole"], calls) == ["Allow", "ImplicitDeny", *refused]
    assert decide(rotation.aws, made["RedeployerRole"], calls) == ["ImplicitDeny", "Allow", *refused]


def test_functions_are_called_by_their_own_caller_only() -> None:
    callers = {
        name: part["Properties"] for name, part in template().items() if part["Type"] == "AWS::Lambda::Permission"
    }
    assert {name: caller["Principal"] for name, caller in callers.items()} == {
        "RotatorCaller": "secretsmanager.amazonaws.com",
        "RedeployerCaller": "events.amazonaws.com",
    }
    assert all(caller["SourceAccount"] == {"Ref": "AWS::AccountId"} for caller in callers.values())
    assert all("SourceArn" in caller for caller in callers.values())
