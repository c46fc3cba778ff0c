"""The templates that are deployed by hand: what they create on the emulator, and what their policies allow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cloudformation.config import Settings
from cloudformation.stacks import MAX_TEMPLATE_BYTES, STANDALONE, TEMPLATES
from tests.cloudformation.conftest import Emulator
from tests.cloudformation.deciding import Call, decide
from tests.cloudformation.test_linters import concrete, parliament, permissions

DEPLOYMENTS = {
    "batches": {"ServiceStack": "standalone-dev-service"},
    "key": {},
    "notifications": {"ServiceStack": "standalone-dev-service"},
    "prediction-log": {"ServiceStack": "standalone-dev-service"},
    "rotation": {"ServiceStack": "standalone-dev-service"},
    "github": {"GithubRepository": "example/models"},
    "shift": {},
    "sagemaker": {"ImageTag": "v1", "ModelKey": "sagemaker/digits.tar.gz"},
}


@pytest.fixture(scope="module")
def data(emulator: Emulator) -> str:
    settings = Settings(project_name="standalone", image_tag="v1")
    network = emulator.deploy_once(settings, "network", {})
    data = emulator.deploy_once(settings, "data", {"NetworkStack": network})
    emulator.deploy_once(settings, "service", {"NetworkStack": network, "DataStack": data})
    return data


def deploy(aws: Emulator, data: str, stack: str, **parameters: str) -> str:
    name = f"standalone-dev-{stack}-{len(parameters)}"
    given = {"ProjectName": "standalone", "DataStack": data, **DEPLOYMENTS[stack], **parameters}
    done = aws.run(
        "aws", "cloudformation", "deploy", "--stack-name", name, "--capabilities", "CAPABILITY_IAM",
        "--no-fail-on-empty-changeset", "--template-file", str(TEMPLATES / f"{stack}.yaml"),
        "--parameter-overrides", *(f"{key}={value}" for key, value in given.items()),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return name


@pytest.mark.parametrize("stack", STANDALONE)
def test_template_needs_no_bucket_and_explains_itself(stack: str) -> None:
    assert (TEMPLATES / f"{stack}.yaml").stat().st_size < MAX_TEMPLATE_BYTES
    template = STANDALONE[stack]().to_dict()
    assert sorted(template["Parameters"]) == sorted(
        template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterLabels"]
    )
    assert all(parameter["Description"] for parameter in template["Parameters"].values())


@pytest.mark.parametrize("stack", STANDALONE)
def test_template_is_deployed_by_hand(emulator: Emulator, data: str, stack: str) -> None:
    assert emulator.outputs(deploy(emulator, data, stack))


def test_workflow_of_another_repository_or_environment_gets_no_role(emulator: Emulator, data: str) -> None:
    parts = emulator.resources(deploy(emulator, data, "github"))
    role = emulator.client("iam").get_role(RoleName=parts["WorkflowRole"])["Role"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": "repo:example/models:environment:dev",
        }
    }


def test_existing_provider_is_used_and_no_other_made(emulator: Emulator, data: str) -> None:
    arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
    parts = emulator.resources(deploy(emulator, data, "github", ExistingProviderArn=arn))
    assert "Provider" not in parts
    role = emulator.client("iam").get_role(RoleName=parts["WorkflowRole"])["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Federated": arn}


def test_repository_of_the_workflow_has_no_default() -> None:
    assert "Default" not in STANDALONE["github"]().to_dict()["Parameters"]["GithubRepository"]


def test_workflow_reaches_its_own_environment_only(emulator: Emulator, data: str) -> None:
    role = emulator.resources(deploy(emulator, data, "github"))["WorkflowRole"]
    repository = emulator.outputs(data)["RepositoryArn"]
    stacks = "arn:aws:cloudformation:us-east-1:123456789012:stack"
    allowed = [
        ("ecr:PutImage", repository),
        ("ecr:DescribeImageScanFindings", repository),
        ("cloudformation:ExecuteChangeSet", f"{stacks}/standalone-dev-service/1"),
    ]
    refused = [
        ("ecr:PutImage", repository + "-of-others"),
        ("ecr:BatchDeleteImage", repository),
        ("cloudformation:ExecuteChangeSet", f"{stacks}/standalone-prod-service/1"),
        ("cloudformation:DeleteStack", f"{stacks}/standalone-dev-service/1"),
        ("iam:CreateRole", "arn:aws:iam::123456789012:role/standalone-dev-x"),
        ("s3:GetObject", "arn:aws:s3:::models/models/x"),
        ("secretsmanager:GetSecretValue", "*"),
    ]
    assert decide(emulator, role, allowed) == ["Allow"] * len(allowed)
    assert decide(emulator, role, refused) == ["ImplicitDeny"] * len(refused)


def test_stack_role_leaves_data_and_other_roles_alone(emulator: Emulator, data: str) -> None:
    role = emulator.resources(deploy(emulator, data, "github"))["StackRole"]
    roles = "arn:aws:iam::123456789012:role"
    assert (
        decide(
            emulator,
            role,
            [
                ("ecs:UpdateService", "*"),
                ("iam:CreateRole", f"{roles}/standalone-dev-service-TaskRole"),
                ("iam:CreateRole", f"{roles}/administrator"),
                ("iam:AttachRolePolicy", f"{roles}/standalone-dev-service-TaskRole"),
                ("s3:DeleteBucket", "*"),
                ("rds:DeleteDBInstance", "*"),
                ("ec2:DeleteVpc", "*"),
            ],
        )
        == ["Allow"] * 2 + ["ImplicitDeny"] * 5
    )


def test_stack_role_opens_ports_of_the_tasks_alone(emulator: Emulator, data: str) -> None:
    role = emulator.resources(deploy(emulator, data, "github"))["StackRole"]
    group = "arn:aws:ec2:us-east-1:123456789012:security-group/sg-1"
    calls: list[Call] = [
        (f"ec2:{verb}SecurityGroupIngress", group, {"aws:ResourceTag/Name": f"standalone-dev-{name}"})
        for verb in ("Authorize", "Revoke")
        for name in ("tasks", "database")
    ]
    assert decide(emulator, role, calls) == ["Allow", "ImplicitDeny"] * 2


def test_sagemaker_endpoint_is_serverless_and_isolated() -> None:
    parts = STANDALONE["sagemaker"]().to_dict()["Resources"]
    assert parts["Model"]["Properties"]["EnableNetworkIsolation"] is True
    (variant,) = parts["EndpointConfig"]["Properties"]["ProductionVariants"]
    assert set(variant["ServerlessConfig"]) == {"MemorySizeInMB", "MaxConcurrency"}
    assert "InstanceType" not in variant


def test_sagemaker_role_reads_that_model_only(emulator: Emulator, data: str) -> None:
    role = emulator.resources(deploy(emulator, data, "sagemaker"))["Role"]
    bucket = emulator.outputs(data)["ModelBucketArn"]
    assert (
        decide(
            emulator,
            role,
            [
                ("s3:GetObject", f"{bucket}/sagemaker/digits.tar.gz"),
                ("s3:GetObject", f"{bucket}/models/churn/model.joblib"),
                ("s3:PutObject", f"{bucket}/sagemaker/digits.tar.gz"),
                ("secretsmanager:GetSecretValue", "*"),
            ],
        )
        == ["Allow"] + ["ImplicitDeny"] * 3
    )


@pytest.mark.parametrize("stack", STANDALONE)
def test_parliament_has_no_findings(stack: str, tmp_path: Path) -> None:
    documents = [found for part in STANDALONE[stack]().to_dict()["Resources"].values() for found in permissions(part)]
    assert documents or stack == "key"  # its policy is the key's own
    for number, document in enumerate(documents):
        (tmp_path / f"{number}.json").write_text(json.dumps(concrete(resolved(document))))
    # CloudFormation names what it makes by itself, so that no resource can be named for it.
    expected = ["LOW - Unnecessary use of Resource *"] if stack == "github" else []
    assert [line.partition(" -  - ")[0] for line in parliament(tmp_path).stdout.splitlines()] == expected


MADE = {
    "PredictionLogBucket": "arn:aws:s3:::log",
    "BatchBucket": "arn:aws:s3:::batches",
    "SmokeTest": "arn:aws:lambda:us-east-1:123456789012:function:standalone-dev-shift-SmokeTest",
    "UploadQueue": "arn:aws:sqs:us-east-1:123456789012:standalone-dev-notifications-UploadQueue",
}


def resolved(value: Any) -> Any:
    """Return a document with the standalone templates' own functions replaced by what AWS would put there."""
    if isinstance(value, list):
        return [resolved(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "Fn::ImportValue" in value:
        return {"Fn::ImportValue": value["Fn::ImportValue"]["Fn::Sub"]}
    if "Fn::If" in value:
        return resolved(value["Fn::If"][1])
    if value == {"Ref": "KeyArn"}:
        return "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    if "Ref" in value:
        return "arn:aws:iam::123456789012:policy/boundary"
    if "Fn::GetAtt" in value:
        return MADE.get(value["Fn::GetAtt"][0], "arn:aws:iam::123456789012:role/standalone-dev-StackRole")
    if isinstance(value.get("Fn::Sub"), str):
        text = value["Fn::Sub"]
        for name, replacement in (
            ("AWS::Partition", "aws"), ("AWS::Region", "us-east-1"), ("AWS::AccountId", "123456789012"),
            ("PredictionLogBucket.Arn", "arn:aws:s3:::log"), ("BatchBucket.Arn", "arn:aws:s3:::batches"),
            ("ProjectName", "standalone"), ("EnvironmentName", "dev"), ("ModelKey", "digits.tar.gz"),
        ):  # fmt: skip
            text = text.replace(f"${{{name}}}", replacement)
        return text
    if "Fn::Sub" in value:
        text, names = value["Fn::Sub"]
        return {"Fn::Sub": [text.replace("${ModelKey}", "digits.tar.gz"), resolved(names)]}
    return {key: resolved(item) for key, item in value.items()}
