"""What forms of a model take for the same rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import cycle
from statistics import quantiles
from typing import Any

# All forms are timed in turns of a few calls, for about this long.
SECONDS = 0.3
CALLS = 8
MIN_CALLS = 3
MAX_CALLS = 400
# Fewer calls are enough where one form takes several times as long: no choice is that close.
CLEAR_CALLS = 16
CLEAR_RATIO = 3.0


def lower_quartiles(*forms: Callable[[], object], calls: int = CALLS) -> list[float]:
    """Return the lower quartiles of the forms in microseconds of processor time, in turns of `calls` calls.

    The forms run in this thread alone. A busy machine slows some calls, which the lower quartile leaves out.
    """
    times: list[list[float]] = [[] for _ in forms]
    for answer in forms:
        answer()
    until = time.monotonic() + SECONDS
    while True:
        for answer, taken in zip(forms, times, strict=True):
            # A few calls in a row: as under load, with the caches warm.
            for _ in range(calls):
                # Of the thread: under a limit of processor time the clock of the process moves by ticks of 4 ms.
                start = time.thread_time()
                answer()
                taken.append(time.thread_time() - start)
        is_enough = len(times[0]) >= MIN_CALLS and time.monotonic() > until
        if is_enough or len(times[0]) >= MAX_CALLS or is_clear(*times):
            break
    return [quantiles(taken, n=4)[0] * 1e6 for taken in times]


def is_clear(*times: Sequence[float]) -> bool:
    """Return whether the calls so far leave no doubt about which of two forms is faster."""
    if len(times) < 2 or len(times[0]) < CLEAR_CALLS:
        return False
    found = [quantiles(taken, n=4)[0] for taken in times]
    return max(found) > CLEAR_RATIO * min(found)


def in_turn(answer: Callable[[Any], object], batches: Sequence[Any]) -> Callable[[], object]:
    """Return a call that asks for another of `batches` each time: a processor learns the ways of one by heart."""
    waiting = cycle(batches)
    return lambda: answer(next(waiting))
