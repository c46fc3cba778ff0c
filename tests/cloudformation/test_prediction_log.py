"""The stack of the prediction log: the service's permissions in its bucket, and the expiry of its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloudformation.stacks import STANDALONE
from models_registry.storage.log_files import open_log_storage
from tests.cloudformation.conftest import Emulator
from tests.cloudformation.test_policies import Roles, act_on_the_emulator, roles_beside

KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
STACK = "logging-dev-prediction-log"


@pytest.fixture(scope="module")
def roles(emulator: Emulator) -> Roles:
    """Return the roles of a service that has the stack."""
    return roles_beside(emulator, STACK, "prediction-log.yaml", RetentionDays=7, KeyArn=KEY)


@pytest.fixture
def url(roles: Roles, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the value of MODELS_LOG_STORAGE."""
    act_on_the_emulator(roles, monkeypatch)
    return roles.aws.outputs(STACK)["LogStorage"]


def test_service_keeps_its_log_in_the_bucket(url: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"rows")
    storage = open_log_storage(url)
    storage.put("m/version=1/a.parquet", tmp_path / "x")
    assert list(storage.keys("m/")) == ["m/version=1/a.parquet"]
    assert storage.read("m/version=1/a.parquet") == b"rows"


def test_task_role_writes_reads_and_lists_and_deletes_nothing(roles: Roles, url: str) -> None:
    bucket = f"arn:aws:s3:::{url.removeprefix('s3://')}"
    calls = {
        ("s3:PutObject", f"{bucket}/m/x"): "Allow",
        ("s3:GetObject", f"{bucket}/m/x"): "Allow",
        ("s3:ListBucket", bucket): "Allow",
        ("s3:DeleteObject", f"{bucket}/m/x"): "ImplicitDeny",
        ("s3:PutObject", f"{roles.bucket}/models/m/x"): "ImplicitDeny",
        ("s3:PutLifecycleConfiguration", bucket): "ImplicitDeny",
    }
    assert roles.decide(roles.task, [(*call, {}) for call in calls]) == list(calls.values())
    assert roles.decide(roles.execution, [(*call, {}) for call in calls]) == ["ImplicitDeny"] * len(calls)


def test_task_role_uses_the_key_through_s3_alone(roles: Roles) -> None:
    calls = [
        (f"kms:{action}", KEY, {"kms:ViaService": f"{service}.us-east-1.amazonaws.com"})
        for action in ("Decrypt", "GenerateDataKey")
        for service in ("s3", "secretsmanager")
    ]
    assert roles.decide(roles.task, calls) == ["Allow", "ImplicitDeny"] * 2


def parts() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = STANDALONE["prediction-log"]().to_dict()["Resources"]
    return found


def test_files_expire_and_their_last_version_a_day_later() -> None:
    (rule,) = parts()["PredictionLogBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", {"Ref": "RetentionDays"})
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}


def test_files_are_encrypted_where_a_key_exists() -> None:
    encryption = parts()["PredictionLogBucket"]["Properties"]["BucketEncryption"]
    (rule,) = encryption["ServerSideEncryptionConfiguration"]
    condition, with_key, without = rule["Fn::If"]
    assert condition == "HasKey"
    assert with_key["ServerSideEncryptionByDefault"]["KMSMasterKeyID"] == {"Ref": "KeyArn"}
    assert without == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}


def test_bucket_is_private_and_kept_and_refuses_plain_http() -> None:
    bucket, policy = parts()["PredictionLogBucket"], parts()["PredictionLogBucketPolicy"]
    assert (bucket["DeletionPolicy"], policy["DeletionPolicy"]) == ("RetainExceptOnCreate",) * 2
    assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    (refusal,) = policy["Properties"]["PolicyDocument"]["Statement"]
    assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
