"""The running model calls of this process, to detect a call that hangs.

Time in the queue does not count.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from models_registry.artifacts.prediction import Prediction, call
from models_registry.inference import call_board

_started: dict[int, float] = {}
_mark = call_board.shared().mark


def timed_call(model: Any, rows: Any, version_id: int = 0) -> Prediction:
    """Return the prediction of `model`, and count the call as running until it ends.

    With `version_id`, a worker that ends during the call counts as a failure of that version.
    """
    thread = threading.get_ident()
    _started[thread] = time.monotonic()
    _mark(thread, version_id)
    try:
        return call(model, rows)
    finally:
        _mark(thread, 0)
        del _started[thread]


@contextmanager
def under_way(*, allowance_seconds: float = 0.0, version_id: int = 0) -> Iterator[None]:
    """Count the model call in this block as running, from `allowance_seconds` after its start."""
    thread = threading.get_ident()
    _started[thread] = time.monotonic() + allowance_seconds
    _mark(thread, version_id)
    try:
        yield
    finally:
        _mark(thread, 0)
        del _started[thread]


def oldest_seconds() -> float:
    """Return the seconds that the oldest running call has taken; 0 if no call runs."""
    started = list(_started.values())
    return max(0.0, time.monotonic() - min(started)) if started else 0.0
