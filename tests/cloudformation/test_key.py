"""The customer key: what it encrypts, who may use it, and AWS's own keys without it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cloudformation.config import ConfigurationError, Settings
from cloudformation.cost import bill, total
from cloudformation.problems import require_sound
from cloudformation.stacks import STANDALONE, TEMPLATES
from tests.cloudformation.conftest import Emulator
from tests.cloudformation.resolving import of_type, resources
from tests.cloudformation.test_policies import Roles, deployed_roles

KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
ENCRYPTED = {
    "AlarmTopic": "KmsMasterKeyId",
    "AdminPassword": "KmsKeyId",
    "Database": "KmsKeyId",
    "DatabaseCredentials": "KmsKeyId",
    "DjangoSecretKey": "KmsKeyId",
    "LogGroup": "KmsKeyId",
    "RegistryCredentials": "KmsKeyId",
}


def parts(**settings: Any) -> dict[str, dict[str, Any]]:
    return resources("data", **settings) | resources("service", **settings)


@pytest.mark.parametrize("name", ENCRYPTED)
def test_customer_key_encrypts_what_it_can(name: str) -> None:
    assert parts(key_arn=KEY)[name]["Properties"][ENCRYPTED[name]] == KEY
    assert ENCRYPTED[name] not in parts()[name]["Properties"]


def bucket_rule(name: str, **settings: Any) -> dict[str, Any]:
    (rule,) = parts(**settings)[name]["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    default: dict[str, Any] = rule["ServerSideEncryptionByDefault"]
    return default


def test_models_and_images_are_encrypted_with_it() -> None:
    assert bucket_rule("ModelBucket", key_arn=KEY) == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    assert bucket_rule("ModelBucket") == {"SSEAlgorithm": "AES256"}
    image = parts(key_arn=KEY)["Repository"]["Properties"]["EncryptionConfiguration"]
    assert image == {"EncryptionType": "KMS", "KmsKey": KEY}


def test_balancer_can_write_its_logs_with_or_without_it() -> None:
    assert bucket_rule("LogBucket", key_arn=KEY) == bucket_rule("LogBucket") == {"SSEAlgorithm": "AES256"}


def test_database_of_a_snapshot_keeps_the_snapshots_key() -> None:
    assert "KmsKeyId" not in parts(key_arn=KEY, database_snapshot="copy")["Database"]["Properties"]


def test_roles_get_nothing_without_a_key() -> None:
    assert not of_type(resources("service"), "IAM::Policy")


@pytest.fixture(scope="module")
def encrypted(emulator: Emulator) -> Roles:
    return deployed_roles(emulator, Settings(project_name="encrypted", image_tag="v1", key_arn=KEY))


@pytest.mark.parametrize(
    ("role", "own", "other"), [("task", "s3", "secretsmanager"), ("execution", "secretsmanager", "s3")]
)
def test_role_decrypts_through_its_own_service_only(encrypted: Roles, role: str, own: str, other: str) -> None:
    calls = [
        ("kms:Decrypt", KEY, {"kms:ViaService": f"{own}.us-east-1.amazonaws.com"}),
        ("kms:Decrypt", KEY, {"kms:ViaService": f"{other}.us-east-1.amazonaws.com"}),
        ("kms:Decrypt", KEY, {}),
        ("kms:Decrypt", KEY + "-of-others", {"kms:ViaService": f"{own}.us-east-1.amazonaws.com"}),
        ("kms:GenerateDataKey", KEY, {"kms:ViaService": f"{own}.us-east-1.amazonaws.com"}),
        ("kms:ScheduleKeyDeletion", KEY, {}),
    ]
    assert encrypted.decide(getattr(encrypted, role), calls) == ["Allow"] + ["ImplicitDeny"] * 5


def test_uploads_may_be_encrypted_with_it() -> None:
    policy = resources("service", key_arn=KEY, allow_admin_upload=True)["DecryptModels"]["Properties"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]


def test_key_is_for_account_logs_and_alarms_only() -> None:
    key = STANDALONE["key"]().to_dict()["Resources"]["Key"]
    assert key["DeletionPolicy"] == "RetainExceptOnCreate"
    assert key["Properties"]["EnableKeyRotation"] is True
    account, logs, alarms = key["Properties"]["KeyPolicy"]["Statement"]
    assert account["Principal"] == {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}
    assert logs["Principal"] == {"Service": {"Fn::Sub": "logs.${AWS::Region}.amazonaws.com"}}
    assert list(logs["Condition"]["ArnLike"]) == ["kms:EncryptionContext:aws:logs:arn"]
    assert alarms["Principal"] == {"Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com"]}
    assert alarms["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_key_stack_gives_the_parameter_of_the_data_stack(emulator: Emulator) -> None:
    done = emulator.run(
        "aws", "cloudformation", "deploy", "--stack-name", "keyed-dev-key", "--template-file",
        str(TEMPLATES / "key.yaml"), "--parameter-overrides", "ProjectName=keyed",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    arn = emulator.outputs("keyed-dev-key")["KeyArn"]
    policy = json.loads(emulator.client("kms").get_key_policy(KeyId=arn, PolicyName="default")["Policy"])
    assert len(policy["Statement"]) == 3
    settings = Settings(project_name="keyed", image_tag="v1", key_arn=arn)
    network = emulator.deploy_once(settings, "network", {})
    data = emulator.deploy_once(settings, "data", {"NetworkStack": network})
    made = emulator.resources(data)
    secret = emulator.client("secretsmanager").describe_secret(SecretId=made["DjangoSecretKey"])
    assert secret["KmsKeyId"] == arn
    (repository,) = emulator.client("ecr").describe_repositories(repositoryNames=[made["Repository"]])["repositories"]
    assert repository["encryptionConfiguration"]["kmsKey"] == arn


def test_key_of_another_region_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="KeyArn is in eu-west-1, and the stacks are made in us-east-1"):
        require_sound(Settings(key_arn=KEY.replace("us-east-1", "eu-west-1")))


def test_key_costs_a_dollar() -> None:
    assert total(bill(Settings(key_arn=KEY))) - total(bill(Settings())) == pytest.approx(1.0)
