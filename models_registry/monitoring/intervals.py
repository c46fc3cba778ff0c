"""Confidence intervals for shares and quantiles."""

from __future__ import annotations

import math
from collections.abc import Sequence

from models_registry.monitoring.buckets import SECONDS

# Two-sided confidence level of 99 %: a canary is checked many times, and each check can be wrong.
Z = 2.5758293035489004

Interval = tuple[float, float]


def share_interval(count: int, total: int, *, z: float = Z) -> Interval:
    """Return Wilson's interval for the share `count` of `total`; 0 to 1 if `total` is 0.

    E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    if not total:
        return 0.0, 1.0
    share, square = count / total, z * z
    middle = (share + square / (2 * total)) / (1 + square / total)
    margin = z / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    # Replaces rounding errors such as 1e-17 where the end is known.
    low = 0.0 if count == 0 else max(0.0, middle - margin)
    return low, 1.0 if count == total else min(1.0, middle + margin)


def difference_interval(first: tuple[int, int], second: tuple[int, int], *, z: float = Z) -> Interval:
    """Return Newcombe's interval for the difference of two shares, first minus second; each is a count and its total.

    R. G. Newcombe, Interval estimation for the difference between independent proportions, 1998, method 10.
    """
    shares = [count / total if total else 0.0 for count, total in (first, second)]
    (low, high), (other_low, other_high) = share_interval(*first, z=z), share_interval(*second, z=z)
    difference = shares[0] - shares[1]
    return (
        difference - math.hypot(shares[0] - low, other_high - shares[1]),
        difference + math.hypot(high - shares[0], shares[1] - other_low),
    )


def quantile_interval(counts: Sequence[float], share: float) -> Interval | None:
    """Return the interval of a quantile (0 to 1) of a histogram over SECONDS; None if it is empty.

    The normal approximation of the binomial distribution of the rank gives the two ranks that enclose the quantile.
    Positions within a bucket are unknown, so the interval ends at bucket bounds.
    """
    total = sum(counts)
    if not total:
        return None
    margin = Z * math.sqrt(share * (1 - share) / total)
    return _bucket_of(counts, share - margin)[0], _bucket_of(counts, share + margin)[1]


def _bucket_of(counts: Sequence[float], share: float) -> Interval:
    """Return the bounds of the bucket with a quantile."""
    total, below = sum(counts), 0.0
    last = max(index for index, count in enumerate(counts) if count)
    for index, count in enumerate(counts):
        below += count
        if (count and below >= share * total) or index == last:
            break
    return (SECONDS[index - 1] if index else 0.0), (SECONDS[index] if index < len(SECONDS) else math.inf)
