"""Batches of 10,000 rows of 64 features as JSON, and single rows that come meanwhile."""

from __future__ import annotations

import json
import statistics
import threading
import time

import numpy as np

from benchmarks.artifacts import Models
from benchmarks.bench import Bench, only
from benchmarks.load import run
from benchmarks.report import Section, number, ratio
from benchmarks.servers import Server, running

ROWS = 10_000
MODEL = "logistic"
MEANWHILE_SECONDS = 4
# A batch takes less than a second: more rounds say more.
ROUNDS_MORE = 4


def measure(bench: Bench) -> list[Section]:
    """Post the same batch to each server in turn, then single rows beside it."""
    ours = bench.ours()
    peers = [bench.fastapi("def", "joblib"), bench.fastapi("def", "onnx"), bench.fastapi("async", "onnx")]
    servers = [ours, *peers]
    body = batch(bench.models)
    seconds: dict[str, list[float]] = {server.name: [] for server in servers}
    memory, meanwhile = {}, {}
    with running(servers):
        _compare(bench.models, servers, body)
        for _ in range(bench.rounds * ROUNDS_MORE):
            for server in servers:
                with only(server, servers):
                    began = time.perf_counter()
                    _post(server, body)
                    seconds[server.name].append(time.perf_counter() - began)
        for server in servers:
            with only(server, servers):
                memory[server.name] = server.resident_mb()
                meanwhile[server.name] = _beside_batches(bench, server, body)
    section = Section(f"Batches: {ROWS:,} rows of 64 named features as JSON ({len(body) / 1e6:.0f} MB)")
    section.table(
        [
            "",
            "seconds a batch",
            "rows a second",
            "mlapi against it",
            "memory after, MB",
            "single rows meanwhile: answers/s",
            "their p99, ms",
        ],
        [
            (
                server.name,
                number(statistics.median(seconds[server.name])),
                number(ROWS / statistics.median(seconds[server.name])),
                f"{ratio(seconds[server.name], seconds[ours.name]):.2f} ×",
                number(memory[server.name]),
                number(meanwhile[server.name][0]),
                number(meanwhile[server.name][1]),
            )
            for server in servers
        ],
    )
    section.say(f"The model is the {MODEL} one, so that the way to it is what counts.")
    section.aim(
        f"{ROWS:,} rows as JSON, against the best FastAPI with pydantic",
        min(ratio(seconds[peer.name], seconds[ours.name]) for peer in peers),
        at_least=1.5,
    )
    return [section]


def batch(models: Models) -> bytes:
    """Return the body: the rows that are sent, over and over, each a little different."""
    generator = np.random.default_rng(0)
    rows = models.rows[generator.integers(len(models.rows), size=ROWS)] + generator.integers(2, size=(ROWS, 64))
    return json.dumps({"instances": [dict(zip(models.names, row, strict=True)) for row in rows.tolist()]}).encode()


def path_of(server: Server) -> str:
    """Return where a server takes batches."""
    path = server.path.format(model=MODEL)
    return path if server.name.startswith("mlapi") else f"{path}-many"


def _post(server: Server, body: bytes) -> dict[str, list[object]]:
    status, answer = server.request("POST", path_of(server), body)
    if status != 200:
        raise RuntimeError(f"{server.name} answers {status}: {str(answer)[:500]}")
    return answer  # type: ignore[no-any-return]


def _compare(models: Models, servers: list[Server], body: bytes) -> None:
    import joblib

    model = joblib.load(models.directory / MODEL / "model.joblib")
    rows = np.array([list(row.values()) for row in json.loads(body)["instances"]])
    labels, scores = model.predict(rows).tolist(), model.predict_proba(rows).max(axis=1)
    for server in servers:
        answer = _post(server, body)
        if answer["predictions"] != labels or not np.allclose(answer["confidences"], scores, rtol=1e-7):  # type: ignore[arg-type]
            raise RuntimeError(f"{server.name} does not answer the batch as scikit-learn does.")


def _beside_batches(bench: Bench, server: Server, body: bytes) -> tuple[float, float]:
    """Return rate and p99 of single rows on one connection while batches come without pause."""
    stop = threading.Event()

    def post() -> None:
        while not stop.is_set():
            _post(server, body)

    thread = threading.Thread(target=post)
    thread.start()
    try:
        time.sleep(0.3)
        figures = run(server.url("forest"), bench.bodies(server), connections=1, seconds=MEANWHILE_SECONDS)
    finally:
        stop.set()
        thread.join()
    return figures.served_per_second, figures.p99_ms
