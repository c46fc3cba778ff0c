"""What `make run` prints about its registry."""

from __future__ import annotations

import pytest

from mlapi.management.commands.run_local import publish_lines

COMMAND = ".venv/bin/python manage.py publish_model churn churn.joblib --activate"


@pytest.mark.parametrize(
    ("storage", "environment", "expected"),
    [
        (None, {}, [COMMAND]),
        ("file:///srv/my models", {}, [f"MODELS_STORAGE='file:///srv/my models' {COMMAND}"]),
        ("s3://my-bucket/models", {}, [f"MODELS_STORAGE=s3://my-bucket/models {COMMAND}"]),
        (
            "s3://my-bucket/models",
            {"AWS_ENDPOINT_URL_S3": "http://ann:secret@minio:9000"},
            [f"MODELS_STORAGE=s3://my-bucket/models AWS_ENDPOINT_URL_S3=http://minio:9000 {COMMAND}"],
        ),
        (None, {"MLAPI_VAR": "/srv/my var"}, [f"MLAPI_VAR='/srv/my var' {COMMAND}"]),
        (
            "s3://my-bucket/models",
            {"DATABASE_URL": "postgres://u:secret@db/mlapi"},
            [f"MODELS_STORAGE=s3://my-bucket/models {COMMAND}", "In that shell, set the same DATABASE_URL as here."],
        ),
    ],
)
def test_printed_command_publishes_to_this_registry(storage, environment, expected, settings, monkeypatch):
    settings.MODELS_STORAGE = storage or (settings.VAR_DIR / "models").as_uri()
    for name in ("MLAPI_VAR", "DATABASE_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert publish_lines() == expected
