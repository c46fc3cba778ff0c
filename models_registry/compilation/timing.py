"""Measures the forms of a model on the same rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import cycle
from statistics import quantiles
from typing import Any

# All forms are timed alternately, a few calls each, for about this many seconds.
SECONDS = 0.3
CALLS = 8
MIN_CALLS = 3
MAX_CALLS = 400
# Fewer calls suffice if one form takes several times as long.
CLEAR_CALLS = 16
CLEAR_RATIO = 3.0


def lower_quartiles(*forms: Callable[[], object], calls: int = CALLS) -> list[float]:
    """Return the lower quartiles of the forms in microseconds of CPU time, timed alternately, `calls` calls each.

    The forms run only in this thread. A busy machine slows some calls, which the lower quartile excludes.
    """
    times: list[list[float]] = [[] for _ in forms]
    for answer in forms:
        answer()
    until = time.monotonic() + SECONDS
    while True:
        for answer, taken in zip(forms, times, strict=True):
            # Several calls in a row: like under load, with warm caches.
            for _ in range(calls):
                # The thread's clock: under a CPU time limit, the process's clock advances in steps of 4 ms.
                start = time.thread_time()
                answer()
                taken.append(time.thread_time() - start)
        is_enough = len(times[0]) >= MIN_CALLS and time.monotonic() > until
        if is_enough or len(times[0]) >= MAX_CALLS or is_clear(*times):
            break
    return [quantiles(taken, n=4)[0] * 1e6 for taken in times]


def is_clear(*times: Sequence[float]) -> bool:
    """Return whether the calls so far clearly show which of two forms is faster."""
    if len(times) < 2 or len(times[0]) < CLEAR_CALLS:
        return False
    found = [quantiles(taken, n=4)[0] for taken in times]
    return max(found) > CLEAR_RATIO * min(found)


def in_turn(answer: Callable[[Any], object], batches: Sequence[Any]) -> Callable[[], object]:
    """Return a call that uses another of `batches` each time: with one batch, branch prediction learns its paths."""
    waiting = cycle(batches)
    return lambda: answer(next(waiting))
