"""A real MLflow server as a source: where its alias moves, a version is stored here and checked."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from models_registry import services
from models_registry.agent.maintenance import MaintenanceLoop
from models_registry.errors import RequestError
from models_registry.models import ModelVersion, State
from tests.support.waiting import eventually

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]
ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / ".venv-mlflow/bin"
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Else ten processes wait for jobs that nobody gives.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
ACTS = ROOT / "tests/support/mlflow_registry.py"


def is_up(address: str) -> bool:
    try:
        return requests.get(f"{address}/health", timeout=5).ok
    except requests.RequestException:
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of an MLflow server on SQLite."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [
        *(PROGRAMS / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder}/registry.db", "--artifacts-destination", str(folder / "files")),
    ]
    environment = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", **QUIET}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            eventually(lambda: is_up(address), seconds=120, saying="MLflow's server")
            yield address
        finally:
            os.killpg(process.pid, 15)


@pytest.fixture(scope="module")
def runs(server: str) -> list[str]:
    """Return the runs of the two versions of the model `heights`, as the server tells them."""
    environment = {**os.environ, **QUIET}
    command = [PROGRAMS / "python", ACTS, server, "heights"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    # MLflow's client asks again where the server is slow, so that what it prints may be another run.
    return [run_of(server, version) for version in (1, 2)]


def run_of(server: str, version: int) -> str:
    asked = {"name": "heights", "version": str(version)}
    told = requests.get(f"{server}/api/2.0/mlflow/model-versions/get", params=asked, timeout=30)
    return told.json()["model_version"]["run_id"]


def move_alias(server: str, alias: str, version: int) -> None:
    body = {"name": "heights", "alias": alias, "version": str(version)}
    requests.post(f"{server}/api/2.0/mlflow/registered-models/alias", json=body, timeout=30).raise_for_status()


def follow_and_check() -> list[ModelVersion]:
    assert services.follow_mlflow() == []
    for version in ModelVersion.objects.filter(state=State.FOUND):
        services.check_version(version, holder="test")
    return list(ModelVersion.objects.order_by("number"))


def test_alias_that_moves_becomes_a_version(server, runs, storage_directory, settings):
    settings.MODELS_MLFLOW_URI = [f"{server}#heights@champion"]
    assert "Registered model alias champion not found" in services.follow_mlflow()[0]
    move_alias(server, "champion", 1)
    (version,) = follow_and_check()
    assert (version.state, version.format) == (State.READY, "skops"), version.reason
    assert version.storage_key.startswith("heights/mlflow-1-")
    assert (version.metrics, version.manifest["run_id"]) == ({"rmse": 0.25}, runs[0])
    assert [(item["name"], item["type"]) for item in version.schema["inputs"]] == [("height", "float")]
    assert version.sample["instances"] == [{"height": 1.0}, {"height": 2.0}]
    assert [round(value) for value in version.sample["predictions"]] == [11, 12]
    assert version.published_by.startswith("MLflow http://127.0.0.1:")

    assert [item.number for item in follow_and_check()] == [1]
    move_alias(server, "champion", 2)
    second = follow_and_check()[-1]
    assert (second.number, second.state, second.format) == (2, State.READY, "joblib"), second.reason
    assert [round(value) for value in second.sample["predictions"]] == [21, 22]
    assert second.manifest["run_id"] == runs[1]
    move_alias(server, "champion", 1)
    assert [item.number for item in follow_and_check()] == [1, 2]


def test_source_that_cannot_be_read_keeps_no_other_waiting(server, runs, storage_directory, settings):
    move_alias(server, "other", 1)
    settings.MODELS_MLFLOW_URI = ["http://user:secret@127.0.0.1:9#x@y", "nonsense", f"{server}#heights@other"]
    failures = services.follow_mlflow()
    assert ["secret" in sentence for sentence in failures] == [False, False]
    assert "cannot be read" in failures[0]
    assert "expected <tracking uri>#<model>@<alias>" in failures[1]
    assert ModelVersion.objects.count() == 1


def test_replica_follows_the_alias_by_itself(server, runs, storage_directory, settings):
    move_alias(server, "live", 2)
    settings.MODELS_MLFLOW_URI = [f"{server}#heights@live"]
    MaintenanceLoop(holder="test", discovery_seconds=60, look_seconds=60).tend()
    assert ModelVersion.objects.get().state == State.READY


@pytest.mark.parametrize(
    "text", ["", "http://mlflow:5000", "http://mlflow#churn", "http://mlflow#@a", "http://mlflow#churn@", "x#churn@a",
             "file:///mlruns#churn@a", "http://#churn@a"]
)  # fmt: skip
def test_source_of_another_form_is_refused(text):
    with pytest.raises(RequestError, match="expected <tracking uri>#<model>@<alias>"):
        services.parse_source(text)


def test_source_is_read():
    source = services.parse_source("https://user:secret@mlflow.example/base/#credit%20risk@champion")
    assert (source.address, source.model, source.alias) == (
        "https://user:secret@mlflow.example/base",
        "credit risk",
        "champion",
    )
    assert source.shown == "https://mlflow.example/base#credit risk@champion"
