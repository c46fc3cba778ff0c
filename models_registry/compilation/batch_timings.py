"""Finds the number of rows from which the native form is faster than the compiled one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# Rows, microseconds of the native form, microseconds of the compiled form.
BatchTiming = tuple[int, float, float]

SIZES = (1_024, 8_192)
# The native form is chosen if it takes at most this share of the compiled form's time. On a busy machine, timings vary
# by a tenth.
CLEAR_SHARE = 0.85
# If the compiled form takes less than this share for a thousand rows, the native form never catches up.
HOPELESS_SHARE = 0.5
# Limits of one timing: the bytes of its rows as float64, and the time of both forms.
MAX_BYTES = 64 * 1024**2
MAX_SECONDS = 1.0


def measure(
    known: Sequence[BatchTiming], time_rows: Callable[[int], tuple[float, float]], *, features: int
) -> tuple[BatchTiming, ...]:
    """Return `known` plus the timings of larger sizes that can change the choice.

    `known` holds at least two timings, by ascending rows. `time_rows` returns the microseconds of the native and the
    compiled form. Further sizes than the first are skipped if the compiled form takes less than HOPELESS_SHARE of the
    native time. This share for a few rows would predict little: a native call has a fixed cost of milliseconds. A size
    is also skipped if its rows take too much time or memory.
    """
    found = list(known)
    for rows in SIZES:
        _, native, compiled = found[-1]
        expected_seconds = (native + compiled + sum(_row_cost(found, form) for form in (1, 2)) * rows) / 1e6
        if not is_timed(rows, features=features, seconds=expected_seconds):
            break
        if len(found) > len(known) and compiled < HOPELESS_SHARE * native:
            break
        found.append((rows, *time_rows(rows)))
    return tuple(found)


def is_timed(rows: int, *, features: int, seconds: float) -> bool:
    """Return whether a batch of `rows` rows, which is expected to take `seconds`, may be timed."""
    return rows * features * 8 <= MAX_BYTES and seconds <= MAX_SECONDS


def native_from_rows(timings: Sequence[BatchTiming]) -> int | None:
    """Return the number of rows from which the native form is clearly faster; None if it never is.

    Between two sizes, times are interpolated linearly.
    """
    slower = [index for index, timing in enumerate(timings) if not is_clearly_faster(timing)]
    if not timings or slower[-1:] == [len(timings) - 1]:
        return None
    if not slower:
        return timings[0][0]
    (rows, native, compiled), (more_rows, more_native, more_compiled) = timings[slower[-1] : slower[-1] + 2]
    gap, more_gap = max(0.0, native - compiled), more_native - more_compiled
    return rows + round((more_rows - rows) * gap / (gap - more_gap))


def is_clearly_faster(timing: BatchTiming) -> bool:
    """Return whether the native form is faster by more than the variation of a busy machine."""
    _, native, compiled = timing
    return native <= CLEAR_SHARE * compiled


def _row_cost(timings: Sequence[BatchTiming], form: int) -> float:
    """Return the microseconds for each further row."""
    before, last = timings[-2], timings[-1]
    return max(0.0, float(last[form] - before[form]) / (last[0] - before[0]))
