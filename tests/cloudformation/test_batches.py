"""The stack of batch scoring: the service's permissions in its bucket, and the expiry of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudformation.stacks import STANDALONE
from models_registry.scoring.locations import open_location
from tests.cloudformation.conftest import Emulator
from tests.cloudformation.test_policies import Roles, act_on_the_emulator, roles_beside

STACK = "batches-dev-batches"


@pytest.fixture(scope="module")
def roles(emulator: Emulator) -> Roles:
    """Return the roles of a service that has the stack."""
    return roles_beside(emulator, STACK, "batches.yaml", RetentionDays=7)


@pytest.fixture
def url(roles: Roles, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the value of MODELS_BATCH_LOCATIONS."""
    act_on_the_emulator(roles, monkeypatch)
    return roles.aws.outputs(STACK)["BatchLocations"]


def test_batch_reads_writes_and_removes_in_the_bucket(url: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    folder = open_location(f"{url}/people")
    folder.child("rows.csv").write(tmp_path / "rows.csv", {"digest": "0"})
    (found,) = folder.files()
    assert folder.open(found).read() == b"a,b\n1,2\n"
    folder.child("rows.csv").remove()
    assert folder.names() == set()


def test_task_role_does_only_what_a_batch_needs(roles: Roles, url: str) -> None:
    bucket = f"arn:aws:s3:::{url.removeprefix('s3://')}"
    calls = {
        ("s3:GetObject", f"{bucket}/people/rows.csv"): "Allow",
        ("s3:PutObject", f"{bucket}/scored/part-0.csv"): "Allow",
        ("s3:DeleteObject", f"{bucket}/scored/part-0.csv"): "Allow",
        ("s3:AbortMultipartUpload", f"{bucket}/scored/part-0.csv"): "Allow",
        ("s3:ListBucket", bucket): "Allow",
        ("s3:DeleteObjectVersion", f"{bucket}/people/rows.csv"): "ImplicitDeny",
        ("s3:PutLifecycleConfiguration", bucket): "ImplicitDeny",
        ("s3:DeleteObject", f"{roles.bucket}/models/m/x"): "ImplicitDeny",
    }
    assert roles.decide(roles.task, [(*call, {}) for call in calls]) == list(calls.values())
    assert roles.decide(roles.execution, [(*call, {}) for call in calls]) == ["ImplicitDeny"] * len(calls)


def test_bucket_equals_that_of_the_prediction_log() -> None:
    own, log = (STANDALONE[stack]().to_dict()["Resources"] for stack in ("batches", "prediction-log"))
    bucket, other = own["BatchBucket"]["Properties"], log["PredictionLogBucket"]["Properties"]
    assert {name for name in bucket if bucket[name] != other[name]} == {"LifecycleConfiguration", "Tags"}
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    (other_rule,) = other["LifecycleConfiguration"]["Rules"]
    assert rule == other_rule | {"Id": "ExpireBatches"}
