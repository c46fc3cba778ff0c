"""Batches of 10,000 rows to the forest, whose native form is the faster one: as JSON, and as bytes of a tensor."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Callable

import joblib
import numpy as np

from benchmarks.batches import ROWS, batch
from benchmarks.bench import Bench, only
from benchmarks.report import Section, number, ratio
from benchmarks.servers import Server, running

MODEL = "forest"
LENGTH = "Inference-Header-Content-Length"
BINARY = "mlapi, binary tensor"


def measure(bench: Bench) -> list[Section]:
    """Post the same batch to each server in turn."""
    ours, peers = bench.ours(), [bench.fastapi("def", "joblib"), bench.fastapi("async", "joblib")]
    servers = [ours, *peers]
    body = batch(bench.models)
    tensor, head_length = _tensor(body)
    headers = {"Content-Type": "application/octet-stream", LENGTH: str(head_length)}
    posts: dict[str, tuple[Server, Callable[[], object]]] = {
        ours.name: (ours, lambda: _post(ours, f"/models/{MODEL}/predict", body)),
        BINARY: (ours, lambda: _post(ours, f"/v2/models/{MODEL}/infer", tensor, headers)),
    }
    for peer in peers:
        path = f"{peer.path.format(model=MODEL)}-many"
        posts[peer.name] = (peer, lambda peer=peer, path=path: _post(peer, path, body))  # type: ignore[misc]
    seconds: dict[str, list[float]] = {name: [] for name in posts}
    with running(servers):
        _compare(bench, [post() for name, (_, post) in posts.items() if name != BINARY], body)
        _open_native_form(posts[BINARY][1])
        for _ in range(bench.rounds * 3):
            for name, (server, post) in posts.items():
                with only(server, servers):
                    began = time.perf_counter()
                    post()
                    seconds[name].append(time.perf_counter() - began)
    section = Section(f"Batches to the forest: {ROWS:,} rows of 64 features")
    section.table(
        ["", "seconds a batch", "as JSON mlapi is", "as binary tensor mlapi is"],
        [
            (
                name,
                number(statistics.median(taken)),
                f"{ratio(taken, seconds[ours.name]):.2f} ×",
                f"{ratio(taken, seconds[BINARY]):.2f} ×",
            )
            for name, taken in seconds.items()
        ],
    )
    names = [peer.name for peer in peers]
    for what, name, at_least in (("JSON", ours.name, 1.5), ("binary tensor", BINARY, 3.0)):
        section.aim(
            f"{ROWS:,} rows to the forest as {what}, against the best FastAPI with the same joblib",
            min(ratio(seconds[peer], seconds[name]) for peer in names),
            at_least=at_least,
        )
    return [section]


def _tensor(body: bytes) -> tuple[bytes, int]:
    """Return the rows of a JSON body as a binary tensor, and the length of its head."""
    rows = _rows(body)
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "input",
                    "shape": list(rows.shape),
                    "datatype": "FP64",
                    "parameters": {"binary_data_size": rows.nbytes},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    return head + rows.tobytes(), len(head)


def _rows(body: bytes) -> np.ndarray:
    return np.array([list(row.values()) for row in json.loads(body)["instances"]], dtype=np.float64)


def _open_native_form(post: Callable[[], object]) -> None:
    """Send large batches until the native form, which the first of them has opened, has answered some."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        post()


def _post(server: Server, path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("POST", path, body, headers or {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(f"{server.name} answers {response.status}: {answer[:500]!r}")
    return answer


def _compare(bench: Bench, answers: list[object], body: bytes) -> None:
    expected = joblib.load(bench.models.directory / MODEL / "model.joblib").predict(_rows(body)).tolist()
    for answer in answers:
        if json.loads(answer)["predictions"] != expected:  # type: ignore[arg-type]
            raise RuntimeError("A server does not answer the batch as scikit-learn does.")
