"""The whole service in processes of its own: gunicorn, its workers, its database, its storage."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from models_registry.artifacts.cache import digest_of
from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.manifest import MANIFEST_SUFFIX, Manifest
from models_registry.artifacts.trial import try_model
from tests.support.databases import ROOT, migrated_database
from tests.support.waiting import eventually
from tests.support.warm import WarmProcess, warm_service

# In one process, since each start of manage.py takes as long as a whole rollout.
UNTIL_LISTED = """
import time
from models_registry import services
began = time.monotonic()
while True:
    listing = services.list_models()
    if {condition}:
        break
    assert time.monotonic() - began < 60, listing
    time.sleep(0.05)
"""
ADD_READY = """
from pathlib import Path
from models_registry import services
from models_registry.models import ModelVersion
for path, values in {found!r}:
    version = services.publish({name!r}, Path(path), by="ann")
    ModelVersion.objects.filter(pk=version.pk).update(state="ready", **values)
if {active!r}:
    services.activate(services.get_version(services.get_model({name!r}), {active!r}), by="ann")
"""
SERVED = (
    "any((model['name'], model['active_version'], model['replicas']) == ({name!r}, {number}, {replicas}) "
    "for model in listing)"
)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _as_checked(artifact: Path) -> tuple[str, dict[str, Any]]:
    """Return an artifact's path, and what a check stores of it."""
    model = open_artifact(artifact, artifact.suffix[1:], allow_any_pickle=True)
    schema = infer_schema(model)
    beside = artifact.with_name(artifact.name + MANIFEST_SUFFIX)
    sample = Manifest.parse(beside.read_bytes()).sample if beside.exists() else None
    values: dict[str, Any] = {"digest": digest_of(artifact), "schema": schema.to_json()}
    if sample is not None:
        predictions = try_model(model, schema, sample, is_declared=False).predictions
        values["sample"] = replace(sample, predictions=tuple(predictions or ())).to_json()
    return str(artifact), values


class Service:
    """A service in `directory`, with everything that a user would set.

    Its gunicorn is forked from a process that has the libraries, unless `is_forked` is false.
    """

    def __init__(self, directory: Path, *, is_forked: bool = True, **environment: str) -> None:
        self.directory = directory
        self.is_forked = is_forked
        self.port = free_port()
        self.storage = directory / "models"
        self.storage.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith(("MODELS_", "DJANGO_", "WEB_"))
            },
            "MLAPI_VAR": str(directory / "var"),
            "MODELS_STORAGE": self.storage.as_uri(),
            "MODELS_POLL_SECONDS": "0.2",
            "MODELS_DISCOVERY_SECONDS": "3600",
            "MLAPI_LOG_FORMAT": "json",
            # Compiling takes seconds a version; whoever tests it switches it on.
            "MODELS_ACCELERATION": "off",
            "WEB_WORKERS": "1",
            "PORT": str(self.port),
            **environment,
        }
        if "DATABASE_URL" not in environment:
            self.environment["DATABASE_URL"] = migrated_database(directory)
        self.log_path = directory / "service.log"
        self.process: subprocess.Popen[bytes] | WarmProcess | None = None

    @property
    def url(self) -> str:
        """The address of the API."""
        return f"http://127.0.0.1:{self.port}"

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of manage.py's commands."""
        done = subprocess.run(
            warm_service().command("manage.py", *arguments),
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done

    def manage_all(self, *commands: Sequence[object]) -> None:
        """Run several of manage.py's commands in one process: its start takes longer than most of them."""
        lines = [
            "from django.core.management import call_command",
            *(f"call_command(*{[str(word) for word in words]})" for words in commands),
        ]
        self.manage("shell", "--verbosity", "0", "--command", "\n".join(lines))

    def wait_until_listed(self, condition: str) -> None:
        """Wait until the condition, Python with what `list_models --json` says as `listing`, is true."""
        self.manage("shell", "--verbosity", "0", "--command", UNTIL_LISTED.format(condition=condition))

    def wait_until_served(self, name: str, number: int, *, replicas: int) -> None:
        """Wait until so many replicas are live and all of them serve version `number`."""
        self.wait_until_listed(
            SERVED.format(name=name, number=number, replicas={"live": replicas, "serving": replicas})
        )

    def publish(self, name: str, artifact: Path, *arguments: str) -> None:
        """Publish an artifact."""
        self.manage("publish_model", name, str(artifact), *arguments)

    def add_ready(self, name: str, *artifacts: Path, active: int | None = 1) -> None:
        """Store versions as a check that passed leaves them, and activate one: the checks take seconds each."""
        found = [_as_checked(artifact) for artifact in artifacts]
        self.manage("shell", "--verbosity", "0", "--command", ADD_READY.format(name=name, found=found, active=active))

    def list_models(self) -> list[dict[str, Any]]:
        """Return what `list_models --json` says."""
        listing: list[dict[str, Any]] = json.loads(self.manage("list_models", "--json").stdout)
        return listing

    def start(self, *, until_ready: bool = True) -> Service:
        """Start gunicorn."""
        with self.log_path.open("ab") as log:
            words = ("-m", "gunicorn", "-c", "gunicorn.conf.py")
            if self.is_forked:
                self.process = warm_service().start(*words, directory=ROOT, environment=self.environment, output=log)
            else:
                self.process = subprocess.Popen(
                    [sys.executable, *words],
                    cwd=ROOT,
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        if until_ready:
            eventually(self.is_ready, seconds=60, saying=f"service ready; log: {self.log_path}")
        return self

    def stop(self, *, sent: int = signal.SIGTERM) -> int:
        """Ask the server to end and return its exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(sent)
        try:
            return self.process.wait(timeout=60)
        finally:
            self.kill()

    def kill(self) -> None:
        """End every process of the service."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=10)
            self.process = None

    def is_ready(self) -> bool:
        """Say whether it is ready."""
        assert self.process is None or self.process.poll() is None, self.log()
        try:
            return self.get("/health/ready")[0] == 200
        except OSError:
            return False

    def log(self) -> str:
        """Return what it has logged."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log's events of one name."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    def worker_pids(self) -> list[int]:
        """Return the serving workers' process ids."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children]

    def get(self, path: str, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Return status, JSON (or text) and headers of a GET."""
        return self.request("GET", path, None, headers)

    def post(self, path: str, body: Any, *, seconds: float = 60, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Return status, JSON and headers of a POST of `body` (JSON, or bytes as they are)."""
        return self.request("POST", path, body, {"Content-Type": "application/json", **headers}, seconds=seconds)

    def request(
        self, method: str, path: str, body: Any, headers: dict[str, str], *, seconds: float = 60
    ) -> tuple[int, Any, dict[str, str]]:
        """Return status, JSON (or text) and headers of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            raw = answer.read()
            kind = answer.headers.get_content_type()
            return answer.status, json.loads(raw) if kind == "application/json" else raw, dict(answer.headers)
        finally:
            connection.close()
