"""The stack of batch scoring: what the service may do in its bucket, and what becomes of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudformation.config import Settings
from cloudformation.stacks import STANDALONE, TEMPLATES
from models_registry.scoring.locations import open_location
from tests.cloudformation.conftest import Emulator
from tests.cloudformation.test_policies import Roles, deployed_roles

STACK = "batches-dev-batches"


@pytest.fixture(scope="module")
def roles(emulator: Emulator) -> Roles:
    """Return the roles of a service that has the stack."""
    found = deployed_roles(emulator, Settings(project_name="batches", image_tag="v1"))
    done = emulator.run(
        "aws", "cloudformation", "deploy", "--stack-name", STACK, "--capabilities", "CAPABILITY_IAM",
        "--template-file", str(TEMPLATES / "batches.yaml"), "--parameter-overrides", "ProjectName=batches",
        "ServiceStack=batches-dev-service", "RetentionDays=7",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return found


@pytest.fixture
def url(roles: Roles, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the value of MODELS_BATCH_LOCATIONS."""
    for name, value in roles.aws.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    # The storage's own tests name another server, which goes before.
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
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
