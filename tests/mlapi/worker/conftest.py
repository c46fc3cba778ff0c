"""One service for every module of this folder."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.mlapi.worker.wire_requests import MAX_IN_FLIGHT, THREADS, TOKEN
from tests.support.databases import execute
from tests.support.estimators import forest, save
from tests.support.service import Service

A_PROGRAM = f"""
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token
Token.objects.create(user=User.objects.create_superuser("program"), key="{TOKEN}")
"""


@pytest.fixture(scope="package")
def service(tmp_path_factory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("worker")
    made = Service(
        directory, WEB_THREADS=str(THREADS), MLAPI_MAX_IN_FLIGHT=str(MAX_IN_FLIGHT), MODELS_ACCELERATION="on"
    )
    artifact = save(forest(seed=1, trees=5), directory / "model.joblib", rows=[[0, 0, 0, 0]])
    made.manage_all(*(["publish_model", name, artifact, "--activate"] for name in ("quick", "slow")))
    execute(
        made.environment["DATABASE_URL"],
        "UPDATE models_registry_registeredmodel SET acceleration = FALSE WHERE name = 'slow'",
    )
    made.manage("shell", "--command", A_PROGRAM)
    try:
        made.start()
        forms = {name: made.get(f"/models/{name}")[1]["runs"]["form"] for name in ("quick", "slow")}
        assert forms == {"quick": "compiled", "slow": "native"}
        yield made
    finally:
        made.kill()


@pytest.fixture
def connection(service) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as made:
        yield made
