"""compose.yaml on a real engine: one command, then a model that is served, and kept."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.docker.conftest import ROOT
from tests.docker.running import answer
from tests.support.service import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(1200)

PORT = free_port()
# A project of its own: one that was started by hand goes on.
COMPOSE = ("docker", "compose", "--project-name", f"mlapi-test-{PORT}", "--file", "docker/compose.yaml")


def compose(*words: str) -> str:
    environment = os.environ | {"PORT": str(PORT)}
    done = subprocess.run([*COMPOSE, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout


def replicas(name: str) -> tuple[int, int]:
    """Return how many live, and how many of them serve the model's active version."""
    listed = json.loads(compose("exec", "-T", "service", "python", "manage.py", "list_models", "--json"))
    (counts,) = [model["replicas"] for model in listed if model["name"] == name]
    return counts["live"], counts["serving"]


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
    eventually(lambda: replicas("digits") == (2, 2), seconds=30)


def test_what_was_published_is_there_after_a_restart(services: None) -> None:
    compose("down")
    compose("up", "--wait")
    eventually(lambda: "digits" in (answer(PORT, "/health")[1] or {}).get("models", {}), seconds=60)
    assert answer(PORT, "/models/digits/predict", {"features": [0] * 64})[0] == 200


def test_the_service_has_no_rights_and_ends_in_time(services: None) -> None:
    writing = ["exec", "-T", "service", "sh", "-c", "id -u; touch /app/x; touch /tmp/x && echo written"]
    assert compose(*writing).split() == ["10001", "written"]
    compose("stop", "--timeout", "30", "service")
    (state,) = map(json.loads, compose("ps", "--all", "--format", "json", "service").splitlines())
    assert state["ExitCode"] == 0
