"""Histograms of a column's values, for the plot next to its effect size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_BINS = 12
# Values of fewer rows could identify a person: they are counted together.
MIN_ROWS_NAMED = 5
OTHERS = "other values"
# The outer bins hold all values beyond these quantiles.
TAIL = 0.01


@dataclass(frozen=True, slots=True)
class Distribution:
    """The counts of the reference and of the window by bin."""

    bins: tuple[str, ...]
    reference: tuple[int, ...]
    current: tuple[int, ...]


def number_distribution(reference: Sequence[float], current: Sequence[float]) -> Distribution:
    """Return the histogram of finite numbers, at least one per side: by value if there are few, else by range."""
    distinct = sorted({*reference, *current})
    if len(distinct) <= MAX_BINS:
        counts, others = Counter(reference), Counter(current)
        return Distribution(
            tuple(f"{value:.10g}" for value in distinct),
            tuple(counts[value] for value in distinct),
            tuple(others[value] for value in distinct),
        )
    edges = _inner_edges(reference, current)
    names = [f"{edge:.10g}" for edge in edges]
    return Distribution(
        (f"below {names[0]}", *map("{} to {}".format, names, names[1:]), f"{names[-1]} and more"),
        _counts(reference, edges),
        _counts(current, edges),
    )


def category_distribution(reference: Sequence[str], current: Sequence[str]) -> Distribution:
    """Return the counts of the most frequent categories, and of all others together."""
    counts, others = Counter(reference), Counter(current)

    def share(name: str) -> float:
        return max(counts[name] / len(reference), others[name] / len(current))

    frequent = [name for name in {**counts, **others} if max(counts[name], others[name]) >= MIN_ROWS_NAMED]
    named = sorted(frequent, key=lambda name: (-share(name), name))[: MAX_BINS - 1]
    sums = [tuple(counter[name] for name in named) for counter in (counts, others)]
    rest = [len(values) - sum(known) for values, known in zip((reference, current), sums, strict=True)]
    if not any(rest):
        return Distribution(tuple(named), *sums)
    return Distribution((*named, OTHERS), (*sums[0], rest[0]), (*sums[1], rest[1]))


def _inner_edges(reference: Sequence[float], current: Sequence[float]) -> list[float]:
    """Return rounded edges at equal distances between the tails of both sides."""
    ends = [np.quantile(side, [TAIL, 1 - TAIL]) for side in (reference, current)]
    lower, upper = min(end[0] for end in ends), max(end[1] for end in ends)
    step = (upper - lower) / MAX_BINS
    edges = np.linspace(lower, upper, MAX_BINS + 1)[1:-1]
    if step > 0:
        edges = np.round(edges, 1 - math.floor(math.log10(step)))
    # Adding 0 turns -0.0 into 0.0.
    return [float(edge) + 0.0 for edge in np.unique(edges)]


def _counts(values: Sequence[float], edges: Sequence[float]) -> tuple[int, ...]:
    """Count the values by bin; a bin includes its lower edge."""
    bins = np.searchsorted(edges, values, side="right")
    return tuple(int(count) for count in np.bincount(bins, minlength=len(edges) + 1))
