"""The whole way against S3: upload, discovery, check, activation, rollback."""

from __future__ import annotations

import uuid

import pytest

from tests.support.estimators import constant, save

# A model is listed for a moment before its first version.
NEWEST = (
    "listing and [(version['number'], version['state']) for version in listing[0]['versions'][:1]] == [({}, 'ready')]"
)
MISSING = "[version['state'] for version in listing[0]['versions']] == ['missing', 'missing']"


@pytest.mark.any_database
def test_an_upload_to_s3_becomes_a_version_that_serves(new_service, s3, tmp_path):
    bucket = s3.bucket(f"models-{uuid.uuid4().hex[:8]}")
    service = new_service(
        MODELS_STORAGE=f"s3://{bucket}/prefix", MODELS_DISCOVERY_SECONDS="0.5", WEB_WORKERS="2", **s3.environment()
    ).start()
    for number in (1, 2):
        artifact = save(constant(number), tmp_path / "model.joblib")
        s3.client.upload_file(str(artifact), bucket, "prefix/m/model.joblib")
        service.wait_until_listed(NEWEST.format(number))
        done = service.manage("activate_model", "m", str(number), "--wait")
        assert "2 of 2 replicas" in done.stdout
        assert service.post("/predict", {"features": [0, 0]})[1]["prediction"] == number
    service.manage("rollback_model", "m", "--wait", "--reason", "worse")
    assert service.post("/predict", {"features": [0, 0]})[1]["version"] == 1
    # A poll costs no call of S3: the object is gone, and what was loaded goes on.
    s3.client.delete_object(Bucket=bucket, Key="prefix/m/model.joblib")
    service.wait_until_listed(MISSING)
    assert service.post("/predict", {"features": [0, 0]})[1]["prediction"] == 1


@pytest.mark.any_database
def test_publishing_to_a_forbidden_or_absent_bucket_fails(new_service, s3, tmp_path):
    service = new_service(MODELS_STORAGE="s3://no-such-bucket-at-all", **s3.environment())
    artifact = save(constant(1), tmp_path / "model.joblib")
    done = service.manage("publish_model", "m", str(artifact), check=False)
    assert done.returncode == 1
    assert "the bucket is not there" in done.stderr
    assert "Traceback" not in done.stderr
