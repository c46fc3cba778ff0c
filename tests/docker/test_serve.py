"""The container's command, run from the checkout: it prepares, serves, drains, ends."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import pytest

from tests.docker.conftest import ROOT
from tests.support.service import free_port
from tests.support.waiting import eventually

# by its path: a library of the tests is called docker too
_serve = runpy.run_path(str(ROOT / "docker/serve.py"))
drain_seconds, serving_environment = _serve["drain_seconds"], _serve["serving_environment"]


def status(port: int, path: str = "/health") -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def is_healthy_for_a_balancer(port: int) -> bool:
    """Return whether the check of gRPC passes; the server has to answer either way."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary("/AWS.ALB/healthcheck")(b"", timeout=5)
        except grpc.RpcError as error:
            assert error.details() == "This server is shutting down."
            return False
    return True


def environment(folder: Path, port: int, **more: str) -> dict[str, str]:
    (folder / "models").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MODELS_", "DJANGO_", "MLAPI_"))}
    return kept | {
        "PORT": str(port),
        "MLAPI_VAR": str(folder / "var"),
        "MODELS_STORAGE": (folder / "models").as_uri(),
        "DATABASE_URL": f"sqlite:///{folder / 'registry.sqlite3'}",
        "DJANGO_SUPERUSER_PASSWORD": "first-password",
        "WEB_WORKERS": "1",
        **more,
    }


@pytest.mark.parametrize("drain", [0, 5])
def test_serve_prepares_the_registry_and_drains(tmp_path: Path, drain: int) -> None:
    port, grpc_port = free_port(), free_port()
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "docker/serve.py"],
            cwd=ROOT,
            env=environment(tmp_path, port, DRAIN_SECONDS=str(drain), GRPC_PORT=str(grpc_port)),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: status(port) == 200, seconds=90, saying=f"see {log}")
        assert is_healthy_for_a_balancer(grpc_port)
        assert "Admin account: user admin, the password in DJANGO_SUPERUSER_PASSWORD" in log.read_text()
        process.send_signal(signal.SIGTERM)
        if drain:
            eventually(lambda: "serving for another 5 s" in log.read_text())
            assert status(port, "/health/live") == 200
            eventually(lambda: not is_healthy_for_a_balancer(grpc_port))
        assert process.wait(timeout=60) == 0
        assert status(port) == 0
    finally:
        process.kill()
        process.wait()


def test_serve_ends_with_the_reason_when_it_cannot_prepare(tmp_path: Path) -> None:
    broken = environment(tmp_path, free_port(), DATABASE_URL="nonsense://")
    done = subprocess.run(
        [sys.executable, "docker/serve.py"], cwd=ROOT, env=broken, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "DATABASE_URL" in done.stderr


@pytest.mark.parametrize("given", ["abc", "-1", "nan", "inf"])
def test_invalid_drain_time_is_refused_before_start(given: str) -> None:
    with pytest.raises(SystemExit, match=f"DRAIN_SECONDS is '{given}'; expected a number of seconds from 0 to 3600"):
        drain_seconds({"DRAIN_SECONDS": given})


def test_nothing_set_is_no_drain() -> None:
    assert [drain_seconds(given) for given in ({}, {"DRAIN_SECONDS": ""}, {"DRAIN_SECONDS": " 30 "})] == [0, 0, 30]


def test_sagemaker_gets_port_models_and_policy_latest() -> None:
    served = serving_environment({"WEB_WORKERS": "2"}, is_sagemaker=True)
    assert (served["PORT"], served["MODELS_STORAGE"], served["MODELS_POLICY"]) == ("8080", "file:///opt/ml", "latest")
    assert served["WEB_WORKERS"] == "2"
    assert len(served["DJANGO_SECRET_KEY"]) > 50


def test_what_is_set_wins_over_sagemakers_defaults() -> None:
    assert serving_environment({"PORT": "9000"}, is_sagemaker=True)["PORT"] == "9000"


def test_elsewhere_the_environment_stays_as_it_is() -> None:
    assert serving_environment({"PORT": "8000"}, is_sagemaker=False) == {"PORT": "8000"}
