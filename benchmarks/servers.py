"""The servers that are compared: ours in its forms, and the peers, each pinned to one core with one worker."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.artifacts import ESTIMATORS, Models

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks" / "peers"
SERVER_CORE = 0
START_SECONDS = 90

Body = Callable[[Mapping[str, float]], Any]
Read = Callable[[Any], tuple[Any, float]]


def by_name(row: Mapping[str, float]) -> Any:
    """Return the body of one row by feature name."""
    return {"features": dict(row)}


def as_tensor(row: Mapping[str, float]) -> Any:
    """Return the body of one row for Open Inference Protocol v2, by which MLServer is asked; it names no features."""
    tensor = {"name": "input", "shape": [1, len(row)], "datatype": "FP64", "data": list(row.values())}
    return {"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}


def read_plain(answer: Any) -> tuple[Any, float]:
    """Return label and confidence of an answer in our form."""
    return answer["prediction"], answer["confidence"]


def read_tensor(answer: Any) -> tuple[Any, float]:
    """Return label and confidence of MLServer's probabilities; the digits' labels are their columns."""
    scores = answer["outputs"][0]["data"]
    return scores.index(max(scores)), max(scores)


@dataclass(slots=True)
class Server:
    """One server: how it is started and asked."""

    name: str
    command: list[str]
    environment: dict[str, str]
    port: int
    path: str = "/models/{model}/predict"
    ready_path: str = "/health/ready"
    body: Body = by_name
    read: Read = read_plain
    runtime: str = "joblib"
    log: Path = field(default=Path(os.devnull))
    process: subprocess.Popen[bytes] | None = None

    def url(self, model: str) -> str:
        """Return where one row is posted."""
        return f"http://127.0.0.1:{self.port}{self.path.format(model=model)}"

    def start(self, *, wait: bool = True) -> Server:
        """Start it on the server's core; with `wait`, return once it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(SERVER_CORE), *self.command],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        """Return once it answers; RuntimeError after too long, or if it has ended."""
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if time.monotonic() > deadline or (self.process is not None and self.process.poll() is not None):
                raise RuntimeError(f"{self.name} does not start:\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.02)

    def is_ready(self) -> bool:
        """Return whether it answers."""
        try:
            return self.request("GET", self.ready_path, timeout=5)[0] == 200
        except OSError:
            return False

    def ask(self, model: str, row: Mapping[str, float]) -> tuple[Any, float]:
        """Return label and confidence that it answers to one row."""
        status, answer = self.request("POST", self.path.format(model=model), json.dumps(self.body(row)).encode())
        if status != 200:
            raise RuntimeError(f"{self.name} answers {status}: {answer}")
        return self.read(answer)

    def request(self, method: str, path: str, body: bytes | None = None, *, timeout: float = 60) -> tuple[int, Any]:
        """Return status and JSON of one request on its own connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
            return answer.status, json.loads(raw) if raw.startswith((b"{", b"[")) else raw
        finally:
            connection.close()

    def resident_mb(self) -> float:
        """Return the memory of all its processes that no other process shares, in MB."""
        if self.process is None:
            return 0.0
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        return sum(member.memory_full_info().uss for member in family) / 1e6

    def stop(self) -> None:
        """End it, and whatever it started."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)
        self.process = None


class Registry:
    """A registry with the models published, of which any number of our servers may be replicas."""

    def __init__(self, directory: Path, *, database_url: str = "") -> None:
        """Make it in `directory`, with its database there or at `database_url`."""
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **_clean_environment(),
            "DATABASE_URL": database_url or f"sqlite:///{directory / 'registry.sqlite3'}",
            "MODELS_STORAGE": (directory / "storage").as_uri(),
            "MODELS_CACHE": str(directory / "cache"),
            "MODELS_DISCOVERY_SECONDS": "3600",
            "MLAPI_VAR": str(directory / "var"),
            "MLAPI_LOG_FORMAT": "json",
            "WEB_WORKERS": "1",
        }
        self.manage("migrate", "--verbosity", "0")

    def manage(self, *arguments: str) -> str:
        """Run one of manage.py's commands and return what it prints."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"manage.py {arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def publish(self, models: Models) -> None:
        """Publish and activate the models, and lay the graphs that were compiled beside their artifacts."""
        for name in ESTIMATORS:
            before = set(self._compiled())
            self.manage("publish_model", name, str(models.directory / name / "model.joblib"), "--activate")
            for made in set(self._compiled()) - before:
                for file in ("model.onnx", "plan.json"):
                    shutil.copy(made / file, models.directory / name / file)

    def _compiled(self) -> list[Path]:
        return [path.parent for path in (self.directory / "cache").rglob("model.onnx")]

    def server(self, name: str, **environment: str) -> Server:
        """Return a server of this registry; `environment` says in which form."""
        port = free_port()
        place = self.directory / f"server-{port}"
        place.mkdir()
        return Server(
            name,
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"],
            {**self.environment, "MLAPI_VAR": str(place), "PORT": str(port), **environment},
            port,
            runtime="onnx" if environment.get("MODELS_ACCELERATION") != "off" else "joblib",
            log=place / "log",
        )


def fastapi(models: Models, *, form: str, runtime: str, directory: Path) -> Server:
    """Return FastAPI on uvicorn (uvloop, httptools), its view `def` or `async def`, without an access log."""
    port = free_port()
    python = environment_of("peers")
    command = [python, "-m", "uvicorn", "benchmarks.peers.fastapi_app:app", "--host", "127.0.0.1", "--port", str(port)]
    return Server(
        f"FastAPI {'async def' if form == 'async' else 'def'}, {'ONNX by hand' if runtime == 'onnx' else 'joblib'}",
        [*command, "--no-access-log", "--log-level", "warning"],
        {**_peer_environment(models), "BENCH_FORM": form, "BENCH_RUNTIME": runtime},
        port,
        ready_path="/openapi.json",
        runtime=runtime,
        log=directory / f"fastapi-{port}.log",
    )


def litserve(models: Models, *, directory: Path, batch: int = 1) -> Server:
    """Return LitServe with one worker a model; `batch` above 1 lets it take requests together."""
    port = free_port()
    return Server(
        "LitServe" if batch == 1 else f"LitServe, batches of up to {batch}",
        [environment_of("peers"), str(PEERS / "litserve_app.py")],
        {**_peer_environment(models), "PORT": str(port), "BENCH_BATCH": str(batch)},
        port,
        ready_path="/health",
        log=directory / f"litserve-{port}.log",
    )


def mlserver(models: Models, *, directory: Path) -> Server:
    """Return MLServer with its scikit-learn runtime, in one process."""
    port, folder = free_port(), directory / "mlserver"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "debug": False,
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
        "use_structured_logging": False,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    for name in ESTIMATORS:
        place = folder / name
        place.mkdir(exist_ok=True)
        given = {
            "name": name,
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": str(models.directory / name / "model.joblib")},
        }
        (place / "model-settings.json").write_text(json.dumps(given))
    python = Path(environment_of("mlserver"))
    return Server(
        "MLServer",
        [str(python), str(python.with_name("mlserver")), "start", str(folder)],
        _peer_environment(models),
        port,
        path="/v2/models/{model}/infer",
        ready_path="/v2/health/ready",
        body=as_tensor,
        read=read_tensor,
        log=directory / "mlserver.log",
    )


@contextmanager
def running(servers: list[Server]) -> Iterator[list[Server]]:
    """Run the servers as long as the block lasts."""
    try:
        for server in servers:
            server.start(wait=False)
        for server in servers:
            server.wait_until_ready()
        yield servers
    finally:
        for server in servers:
            server.stop()


def environment_of(name: str) -> str:
    """Return the Python of a peers' environment."""
    python = ROOT / f".venv-bench-{name}" / "bin" / "python"
    if not python.exists():
        raise RuntimeError(f"{python} is missing. 'make bench' installs it.")
    return str(python)


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _clean_environment() -> dict[str, str]:
    """Return what any program needs, and nothing that would set up ours."""
    ours = ("MODELS_", "MLAPI_", "DJANGO_", "WEB_", "DATABASE_", "PYTHON", "PORT")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _peer_environment(models: Models) -> dict[str, str]:
    # As our own workers have it: more threads than cores would only make a peer slower.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**_clean_environment(), **threads, "BENCH_MODELS": str(models.directory), "PYTHONPATH": str(ROOT)}
