"""Up to how many rows the compiled form answers, and from how many the native one is faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# Rows, and what both forms take for so many: (rows, native microseconds, compiled microseconds).
BatchTiming = tuple[int, float, float]

SIZES = (1_024, 8_192)
# The native form is chosen if it takes at most this share of the compiled form's time: a busy machine shifts timings by
# a tenth.
CLEAR_SHARE = 0.85
# Where the compiled form takes less than this share for a thousand rows, the native one never catches up.
HOPELESS_SHARE = 0.5
# What the rows of one timing may take as float64, and what both forms may take for them.
MAX_BYTES = 64 * 1024**2
MAX_SECONDS = 1.0


def measure(
    known: Sequence[BatchTiming], time_rows: Callable[[int], tuple[float, float]], *, features: int
) -> tuple[BatchTiming, ...]:
    """Return `known` with the larger sizes whose timing can change the choice.

    `known` holds two timings at least, in the order of rows. `time_rows` returns the microseconds of the native and of
    the compiled form. The first size is always timed: the native form takes milliseconds to begin, so few rows tell
    little of many. A further one is left out where the compiled form takes less than HOPELESS_SHARE of the native
    one's time, and any where its rows take too much time or memory.
    """
    found = list(known)
    for rows in SIZES:
        _, native, compiled = found[-1]
        expected_seconds = (native + compiled + sum(_row_cost(found, form) for form in (1, 2)) * rows) / 1e6
        if rows * features * 8 > MAX_BYTES or expected_seconds > MAX_SECONDS:
            break
        if len(found) > len(known) and compiled < HOPELESS_SHARE * native:
            break
        found.append((rows, *time_rows(rows)))
    return tuple(found)


def native_from_rows(timings: Sequence[BatchTiming]) -> int | None:
    """Return from how many rows on the native form is clearly faster; None if it never is.

    Between two sizes the times are taken to grow by the row.
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
    """Return whether the native form is faster by more than what a busy machine shifts."""
    _, native, compiled = timing
    return native <= CLEAR_SHARE * compiled


def _row_cost(timings: Sequence[BatchTiming], form: int) -> float:
    """Return the microseconds that each further row takes."""
    before, last = timings[-2], timings[-1]
    return max(0.0, float(last[form] - before[form]) / (last[0] - before[0]))
