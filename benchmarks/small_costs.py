"""What each prediction pays beside its model: `python -m benchmarks.small_costs`.

The check of a key, the log line and the counting, in microseconds: the best of several rounds, since a shared machine
has slow ones. Exit status 1: one of them costs more than its bound.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")

import django

CALLS = 2_000
ROUNDS = 7
# An idle machine takes 2, 4 and 2.
BOUNDS = {"key check": 25.0, "log line": 40.0, "count": 20.0}
KEY = "mlapi_12345678_" + "x" * 43


def microseconds(call: Callable[[], object], after: Callable[[], object] = lambda: None) -> float:
    """Return what one call takes, in the best round; `after` ends a round."""

    def once() -> float:
        began = time.perf_counter()
        for _ in range(CALLS):
            call()
        after()
        return (time.perf_counter() - began) / CALLS * 1e6

    return min(once() for _ in range(ROUNDS))


def key_check() -> float:
    """Return what the check of a key that opens a model takes."""
    from django.conf import settings

    from mlapi import replica
    from mlapi.http.auth import require_key
    from mlapi.http.request import Headers
    from models_registry.inference.api_key_cache import ApiKeyCache, HeldKey
    from models_registry.services.api_keys import digest_of_key

    settings.MLAPI_REQUIRE_API_KEY = True
    held = HeldKey(id=1, name="shop", prefix=KEY[:6], models=frozenset({"m"}))
    replica.runtime.keys = ApiKeyCache({bytes.fromhex(digest_of_key(KEY)): held})
    headers = Headers([(b"authorization", b"Bearer " + KEY.encode())])
    return microseconds(lambda: require_key(headers, replica.runtime, "m"))


def log_line() -> float:
    """Return what the line of a request takes."""
    from mlapi.observability import logging

    fields = {"id": "x" * 32, "route": "predict", "model": "m", "version": 1, "status": 200, "ms": 1.5, "rows": 1}
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        return microseconds(lambda: logging.write_line("request", fields))
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def count(directory: Path) -> float:
    """Return what the counting of a prediction takes."""
    from mlapi.observability.metrics.recorder import MetricsRecorder
    from mlapi.observability.metrics.records import Record
    from mlapi.observability.metrics.snapshots import Snapshots
    from models_registry.inference.runtime import Runtime

    recorder = MetricsRecorder(Runtime(), Snapshots(directory))
    record = Record("m", "1", "native", "success", 0.001, 0.0, 0.0005, 1, 1, "classifier", np.array(["yes"]))
    return microseconds(lambda: recorder.record(record), after=recorder.sum_up)


def main() -> int:
    """Measure, print, and return the exit status."""
    with tempfile.TemporaryDirectory(prefix="mlapi-bench-") as folder:
        os.environ.setdefault("MLAPI_VAR", folder)
        django.setup()
        found = {"key check": key_check(), "log line": log_line(), "count": count(Path(folder))}
    for name, value in found.items():
        print(f"{name:10} {value:6.1f} µs (at most {BOUNDS[name]:g})")
    return int(any(value > BOUNDS[name] for name, value in found.items()))


if __name__ == "__main__":
    sys.exit(main())
