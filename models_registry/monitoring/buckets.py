"""The buckets of all stored histograms, and quantiles computed from them.

It imports neither Django nor numpy: gunicorn's master uses this module too, and forks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MAX_SECONDS = 30.0
_PER_DECADE = (1.0, 1.5, 2.5, 3.5, 5.0, 7.5)
# 0.1 ms to 30 s. A quantile is accurate to one bucket, whose width is about half of the value.
SECONDS = (
    *(
        bound
        for power in range(-4, 2)
        for factor in _PER_DECADE
        if (bound := float(f"{factor * 10.0**power:.6g}")) < MAX_SECONDS
    ),
    MAX_SECONDS,
)
_MAGNITUDES = tuple(factor * 10.0**power for power in range(-2, 7) for factor in (1.0, 3.0))
# A regressor's range is not known beforehand: both signs, two buckets per decade.
VALUES = (*(-item for item in reversed(_MAGNITUDES)), 0.0, *_MAGNITUDES)


def quantile(counts: Sequence[float], share: float, bounds: Sequence[float] = SECONDS) -> float | None:
    """Return a quantile (`share` from 0 to 1) of a histogram, interpolated like Prometheus's `histogram_quantile`.

    `counts` has one number for each of `bounds`, and one for values above the last bound. For a quantile in that last
    bucket, the last bound is returned. None for an empty histogram.
    """
    total = sum(counts)
    if not total:
        return None
    wanted, below = share * total, 0.0
    for index, bound in enumerate(bounds):
        if counts[index] and below + counts[index] >= wanted:
            lower = bounds[index - 1] if index else min(0.0, bound)
            return lower + (bound - lower) * (wanted - below) / counts[index]
        below += counts[index]
    return bounds[-1]


def in_milliseconds(seconds: float | None) -> float | None:
    """Return milliseconds; None for None, and for infinity, the end of the last bucket."""
    return None if seconds is None or math.isinf(seconds) else seconds * 1000
