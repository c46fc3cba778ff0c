"""`python -m cloudformation deploy` and `destroy` with the emulator, twice."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from cloudformation.config import Settings
from cloudformation.stacks import STACKS, TEMPLATES
from tests.cloudformation.conftest import Emulator

PROJECT = ("--set", "ProjectName=rollout", "--set", "MaxTasks=6")


def push(aws: Emulator, tag: str) -> None:
    manifest = json.dumps({"schemaVersion": 2, "config": {"digest": f"sha256:{tag}"}, "layers": []})
    repository = aws.resources("rollout-dev-data")["Repository"]
    aws.client("ecr").put_image(repositoryName=repository, imageManifest=manifest, imageTag=tag)


def service(aws: Emulator) -> dict[str, Any]:
    parts = aws.resources("rollout-dev-service")
    found = aws.client("ecs").describe_services(cluster=parts["Cluster"], services=[parts["Service"]])["services"][0]
    assert isinstance(found, dict)
    return found


def changes_of(aws: Emulator) -> list[str]:
    events = aws.client("cloudformation").describe_stack_events(StackName="rollout-dev-service")["StackEvents"]
    return [event["EventId"] for event in events]


@pytest.mark.timeout(400)  # some twenty calls of `aws`, a second of CPU each
def test_rollout_resumes_repeats_and_moves_with_the_tag(emulator: Emulator) -> None:
    # a rollout that was cut short after the image had been pushed
    settings = Settings(project_name="rollout", image_tag="v1", max_tasks=6)
    for stack in ("network", "data"):
        emulator.deploy(settings, stack, {})
    push(emulator, "v1")
    first = emulator.cloudformation("deploy", "--image-tag", "v1", *PROJECT)
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.count("Nothing changes.") == 2
    assert first.stdout.count("The stack is made.") == 2
    assert "is there already" in first.stdout
    says_where_the_service_is(emulator, first.stdout)

    task, events = service(emulator)["taskDefinition"], changes_of(emulator)
    again = emulator.cloudformation("deploy", "--image-tag", "v1", *PROJECT)
    assert again.stdout.count("Nothing changes.") == 4, again.stdout + again.stderr
    assert (service(emulator)["taskDefinition"], changes_of(emulator)) == (task, events)

    parts = emulator.resources("rollout-dev-service")
    emulator.client("ecs").update_service(cluster=parts["Cluster"], service=parts["Service"], desiredCount=3)
    emulator.deploy(replace(settings, image_tag="v2"), "service", {})
    after = service(emulator)
    family, _, revision = task.rpartition(":")
    assert after["taskDefinition"] == f"{family}:{int(revision) + 1}"
    assert after["desiredCount"] == 3
    described = emulator.client("ecs").describe_task_definition(taskDefinition=after["taskDefinition"])
    assert described["taskDefinition"]["containerDefinitions"][0]["image"].endswith(":v2")


def says_where_the_service_is(aws: Emulator, text: str) -> None:
    bucket = aws.resources("rollout-dev-data")["ModelBucket"]
    assert f"{aws.outputs('rollout-dev-service')['Url']}/docs" in text
    assert f"aws s3 cp model.joblib s3://{bucket}/models/NAME/model.joblib" in text
    assert "--set AdminCidr=" in text


def test_wrong_parameters_fail_before_anything_is_made(emulator: Emulator) -> None:
    done = emulator.cloudformation("deploy", "--image-tag", "v1", "--set", "ProjectName=wrong", "--set", "TaskCpu=300")
    assert done.returncode == 2
    assert "TaskCpu is 300; Fargate offers 256, 512" in done.stderr
    stacks = emulator.client("cloudformation").describe_stacks()["Stacks"]
    assert not [stack["StackName"] for stack in stacks if stack["StackName"].startswith("wrong")]


def test_template_refuses_a_size_fargate_does_not_sell(emulator: Emulator) -> None:
    with pytest.raises(Exception, match=r"With TaskCpu 256 Fargate offers 512, 1024, 2048 MiB"):
        emulator.client("cloudformation").create_stack(
            StackName="refused",
            TemplateBody=_service_template(),
            Capabilities=["CAPABILITY_IAM"],
            Parameters=_as_parameters(ImageTag="v1", TaskCpu="256", TaskMemory="8192"),
        )


def test_template_itself_refuses_a_ceiling_under_the_floor(emulator: Emulator) -> None:
    with pytest.raises(Exception, match=r"MinTasks must not exceed MaxTasks, which is 2"):
        emulator.client("cloudformation").create_stack(
            StackName="refused",
            TemplateBody=_service_template(),
            Capabilities=["CAPABILITY_IAM"],
            Parameters=_as_parameters(ImageTag="v1", MinTasks="3", MaxTasks="2"),
        )


@pytest.mark.timeout(400)
def test_destroy_leaves_what_is_retained_and_names_it(emulator: Emulator) -> None:
    project = ("--set", "ProjectName=gone")
    for stack in STACKS:
        emulator.deploy(Settings(project_name="gone", image_tag="v1"), stack, {})
    data, network = emulator.resources("gone-dev-data"), emulator.resources("gone-dev-network")
    cluster = emulator.resources("gone-dev-service")["Cluster"]

    done = emulator.cloudformation("destroy", *project)

    assert done.returncode == 0, done.stdout + done.stderr
    for kept in ("ModelBucket", "LogBucket", "Repository", "DjangoSecretKey", "AdminPassword", "DatabaseCredentials"):
        assert data[kept] in done.stdout
    buckets = {bucket["Name"] for bucket in emulator.client("s3").list_buckets()["Buckets"]}
    assert {data["ModelBucket"], data["LogBucket"]} <= buckets
    assert emulator.client("ecr").describe_repositories(repositoryNames=[data["Repository"]])["repositories"]
    instances = emulator.client("rds").describe_db_instances()["DBInstances"]
    assert data["Database"] not in {instance["DBInstanceIdentifier"] for instance in instances}
    snapshots = emulator.client("rds").describe_db_snapshots()["DBSnapshots"]
    assert data["Database"] in {snapshot["DBInstanceIdentifier"] for snapshot in snapshots}
    vpcs = {vpc["VpcId"] for vpc in emulator.client("ec2").describe_vpcs()["Vpcs"]}
    assert network["Vpc"] not in vpcs
    clusters = emulator.client("ecs").list_clusters()["clusterArns"]
    assert not [arn for arn in clusters if arn.endswith(f"/{cluster}")]


def test_destroying_what_is_not_there_is_no_error(emulator: Emulator) -> None:
    done = emulator.cloudformation("destroy", "--set", "ProjectName=never-made")
    assert done.returncode == 0, done.stderr
    assert "Nothing stays" in done.stdout


def test_prod_is_not_destroyed_by_a_command(emulator: Emulator) -> None:
    done = emulator.cloudformation("destroy", "--env", "prod")
    assert done.returncode == 2
    assert "prod is protected" in done.stderr


def _service_template() -> str:
    return (TEMPLATES / "service.yaml").read_text()


def _as_parameters(**values: str) -> list[dict[str, str]]:
    stacks = {"NetworkStack": "rollout-dev-network", "DataStack": "rollout-dev-data"}
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in (stacks | values).items()]
