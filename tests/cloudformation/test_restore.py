"""The restore of docs/aws.md, and the protection of data from accidental deletion, on the emulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cloudformation.config import Settings
from cloudformation.stacks import STACKS
from tests.cloudformation.conftest import CERTIFICATE, Emulator
from tests.support.waiting import eventually

SETTINGS = Settings(project_name="drill", image_tag="v1")
DATA, SERVICE = "drill-dev-data", "drill-dev-service"
COMMAND = ("deploy", "--set", "ProjectName=drill", "--image-tag", "v1")
RESTORE = ("--set", "DatabaseSnapshot=before-the-accident", "--allow-data-loss", "Database")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def aws(emulator: Emulator) -> Iterator[Emulator]:
    """The emulator with an environment, and a snapshot of its database."""
    for stack in STACKS:
        emulator.deploy(SETTINGS, stack, {})
    push(emulator, DATA)
    emulator.client("rds").create_db_snapshot(
        DBInstanceIdentifier=emulator.resources(DATA)["Database"], DBSnapshotIdentifier="before-the-accident"
    )
    yield emulator


def push(aws: Emulator, stack: str) -> None:
    manifest = json.dumps({"schemaVersion": 2, "config": {"digest": "sha256:v1"}, "layers": []})
    aws.client("ecr").put_image(
        repositoryName=aws.resources(stack)["Repository"], imageManifest=manifest, imageTag="v1"
    )


def host_in_the_secret(aws: Emulator) -> str:
    secret = aws.client("secretsmanager").get_secret_value(SecretId=aws.resources(DATA)["DatabaseCredentials"])
    host = json.loads(secret["SecretString"])["host"]
    assert isinstance(host, str)
    return host


def test_restore_replaces_named_database_and_restarts_tasks(aws: Emulator) -> None:
    before, host = aws.resources(DATA)["Database"], host_in_the_secret(aws)
    refused = aws.cloudformation(*COMMAND, *RESTORE[:2])
    assert refused.returncode == 1
    assert "Replace    Database (AWS::RDS::DBInstance)" in refused.stderr
    assert aws.resources(DATA)["Database"] == before

    restored = aws.cloudformation(*COMMAND, *RESTORE)
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert "the tasks are replaced" in restored.stdout
    instances = {part["DBInstanceIdentifier"]: part for part in described(aws)}
    after = aws.resources(DATA)["Database"]
    assert after != before
    assert before not in instances
    # the tasks read the address from the secret
    assert host_in_the_secret(aws) == instances[after]["Endpoint"]["Address"] != host

    again = aws.cloudformation(*COMMAND)
    assert again.stdout.count("Nothing changes.") == 4, again.stdout + again.stderr
    assert aws.resources(DATA)["Database"] == after


def described(aws: Emulator) -> list[dict[str, dict[str, str]]]:
    found = aws.client("rds").describe_db_instances()["DBInstances"]
    assert isinstance(found, list)
    return found


def test_half_deleted_data_stack_stops_with_an_error(emulator: Emulator) -> None:
    cloudformation, ec2 = emulator.client("cloudformation"), emulator.client("ec2")
    # what the emulator refuses to delete: a network with a subnet that the stack knows nothing of
    vpc = {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.9.0.0/16"}}
    cloudformation.create_stack(StackName="half-dev-data", TemplateBody=json.dumps({"Resources": {"Vpc": vpc}}))
    cloudformation.get_waiter("stack_create_complete").wait(StackName="half-dev-data", WaiterConfig={"Delay": 1})
    ec2.create_subnet(VpcId=emulator.resources("half-dev-data")["Vpc"], CidrBlock="10.9.0.0/24")
    cloudformation.delete_stack(StackName="half-dev-data")
    eventually(lambda: status(emulator, "half-dev-data") == "DELETE_FAILED")

    done = emulator.cloudformation("deploy", "--set", "ProjectName=half", "--image-tag", "v1")

    assert done.returncode == 1
    assert "half-dev-data is DELETE_FAILED" in done.stderr
    assert "Vpc (AWS::EC2::VPC)" in done.stderr
    assert status(emulator, "half-dev-data") == "DELETE_FAILED"
    stacks = {part["StackName"] for part in cloudformation.describe_stacks()["Stacks"]}
    assert "half-dev-network" not in stacks


def status(aws: Emulator, stack: str) -> str:
    (described_,) = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return str(described_["StackStatus"])


def test_stacks_of_prod_cannot_be_deleted_by_accident(emulator: Emulator) -> None:
    settings = replace(
        Settings.for_environment("prod"), project_name="guard", image_tag="v1", certificate_arn=CERTIFICATE
    )
    for stack in ("network", "data"):
        emulator.deploy(settings, stack, {})
    push(emulator, "guard-prod-data")
    done = emulator.cloudformation(
        "deploy", "--env", "prod", "--set", "ProjectName=guard", "--image-tag", "v1",
        "--set", f"CertificateArn={CERTIFICATE}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for stack in STACKS:
        (described_,) = emulator.client("cloudformation").describe_stacks(StackName=f"guard-prod-{stack}")["Stacks"]
        assert described_["EnableTerminationProtection"], stack
        with pytest.raises(Exception, match="TerminationProtection"):
            emulator.client("cloudformation").delete_stack(StackName=f"guard-prod-{stack}")


def test_roles_of_the_aws_services_are_made_beforehand(emulator: Emulator, aws: Emulator) -> None:
    del aws  # a deployment was carried out
    names = {role["RoleName"] for role in emulator.client("iam").list_roles()["Roles"]}
    linked = {name.lower() for name in names if name.startswith("AWSServiceRoleFor")}
    for service in ("ecs", "elasticloadbalancing", "rds"):
        assert any(service in name for name in linked), linked
