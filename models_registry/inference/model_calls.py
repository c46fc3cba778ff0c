"""The model calls under way in this process, so that one which never returns is noticed.

What waits for a model is not counted: a queue is no hang.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from models_registry.artifacts.prediction import Prediction, call

_started: dict[int, float] = {}


def timed_call(model: Any, rows: Any) -> Prediction:
    """Return what `call` does, counted as under way meanwhile."""
    thread = threading.get_ident()
    _started[thread] = time.monotonic()
    try:
        return call(model, rows)
    finally:
        del _started[thread]


@contextmanager
def under_way(*, allowance_seconds: float = 0.0) -> Iterator[None]:
    """Count what the block does with a model as under way, once it has taken `allowance_seconds`."""
    thread = threading.get_ident()
    _started[thread] = time.monotonic() + allowance_seconds
    try:
        yield
    finally:
        del _started[thread]


def oldest_seconds() -> float:
    """Return for how long the oldest call has been under way; 0 where none is."""
    started = list(_started.values())
    return max(0.0, time.monotonic() - min(started)) if started else 0.0
