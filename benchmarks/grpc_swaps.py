"""A hundred activations while the unmodified tritonclient.grpc sends requests without pause."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from benchmarks.bench import Bench
from benchmarks.report import Section, number
from benchmarks.servers import free_port, running
from benchmarks.swaps import SWAPS, activate_in_turn, publish_another

CLIENTS = 4
QUIET_SECONDS = 5.0


@dataclass(slots=True)
class Asking:
    """Clients that ask in threads, and what they saw; a failure is an error, or a label that no version gives."""

    address: str
    row: np.ndarray
    labels: frozenset[int]
    milliseconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    _end: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Asking:
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with triton.InferenceServerClient(self.address) as client:
            tensor = triton.InferInput("input", list(self.row.shape), "FP64")
            tensor.set_data_from_numpy(self.row)
            while not self._end.is_set():
                began = time.perf_counter()
                try:
                    result = client.infer("forest", [tensor])
                except InferenceServerException as error:
                    self.failures.append(str(error))
                    continue
                self.milliseconds.append((time.perf_counter() - began) * 1e3)
                self.versions.add(result.get_response().model_version)
                if (label := int(result.as_numpy("predict").ravel()[0])) not in self.labels:
                    self.failures.append(f"label {label}")


def measure(bench: Bench) -> list[Section]:
    """Publish a second forest, then swap while the clients ask."""
    other = publish_another(bench)
    row = bench.models.rows[:1]
    labels = frozenset({int(bench.models.labels["forest"][0]), int(other.predict(row)[0])})
    port = free_port()
    section = Section("Swaps under load over gRPC")
    with running([bench.ours(MODELS_POLL_SECONDS="0.2", GRPC_PORT=str(port))]):
        with Asking(f"127.0.0.1:{port}", row, labels) as quiet:
            time.sleep(QUIET_SECONDS)
        with Asking(f"127.0.0.1:{port}", row, labels) as busy:
            marks = activate_in_turn(bench, SWAPS, workers=1)
    if len(marks) != SWAPS or busy.versions != {"1", "2"}:
        raise RuntimeError(f"{len(marks)} activations, versions {busy.versions}; expected {SWAPS} of two versions.")
    section.table(
        ["", "answers", "p50, ms", "p99, ms", "slowest, ms", "failed or wrong"],
        [
            (
                name,
                f"{len(seen.milliseconds):,}",
                number(statistics.median(seen.milliseconds)),
                number(float(np.quantile(seen.milliseconds, 0.99))),
                number(max(seen.milliseconds)),
                len(seen.failures),
            )
            for name, seen in ((f"quiet, {QUIET_SECONDS:g} s", quiet), (f"during {SWAPS} swaps", busy))
        ],
    )
    section.say(f"The forest, {CLIENTS} unmodified clients of tritonclient.grpc without pause, raw tensors.")
    if busy.failures:
        section.say(f"First failure: {busy.failures[0]}")
    section.aim(f"gRPC requests that fail during {SWAPS} swaps", len(busy.failures), at_most=0, unit="requests")
    return [section]
