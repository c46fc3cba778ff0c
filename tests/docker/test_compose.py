"""compose.yaml on a real engine: one command, then a model that is served from PostgreSQL and S3."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.docker.conftest import ROOT
from tests.docker.running import answer
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(1200)

COMPOSE = ("docker", "compose", "--file", "docker/compose.yaml")
PORT = 8000  # the one that the file opens


def compose(*words: str) -> str:
    done = subprocess.run([*COMPOSE, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout


@pytest.fixture(scope="module")
def services() -> Iterator[None]:
    """Start them as the docs say, and forget them."""
    try:
        compose("up", "--build", "--wait")
        yield
    finally:
        compose("down", "--volumes")


def test_a_demo_model_is_served(services: None) -> None:
    compose("exec", "-T", "service", "python", "manage.py", "publish_demo")
    eventually(lambda: "digits" in (answer(PORT, "/health")[1] or {}).get("models", {}), seconds=30)
    status, body = answer(PORT, "/models/digits/predict", {"features": [0] * 64})
    assert (status, body["version"]) == (200, 1)
    (listed,) = [
        model
        for model in json.loads(compose("exec", "-T", "service", "python", "manage.py", "list_models", "--json"))
        if model["name"] == "digits"
    ]
    assert listed["replicas"]["live"] == listed["replicas"]["serving"]


def test_the_service_has_no_rights_and_ends_in_time(services: None) -> None:
    writing = ["exec", "-T", "service", "sh", "-c", "id -u; touch /app/x; touch /tmp/x && echo written"]
    assert compose(*writing).split() == ["10001", "written"]
    compose("stop", "--timeout", "30", "service")
    (state,) = map(json.loads, compose("ps", "--all", "--format", "json", "service").splitlines())
    assert state["ExitCode"] == 0
