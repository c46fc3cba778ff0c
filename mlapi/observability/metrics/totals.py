"""Sums of what was measured, which add up over workers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlapi.observability.metrics.definitions import COUNTERS, HISTOGRAMS, Metric

Labels = tuple[str, ...]


class Totals:
    """Counters, and histograms as counts by bucket (the last one: beyond all) followed by the sum."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.counters: dict[str, dict[Labels, float]] = {metric.name: {} for metric in COUNTERS}
        self.histograms: dict[str, dict[Labels, list[float]]] = {metric.name: {} for metric in HISTOGRAMS}

    def count(self, metric: Metric, labels: Labels, by: float = 1) -> None:
        """Count `by` more."""
        held = self.counters[metric.name]
        held[labels] = held.get(labels, 0) + by

    def observe(self, metric: Metric, labels: Labels, values: Any) -> None:
        """Take the numbers in `values` into a histogram, in one pass."""
        # Here, so that gunicorn's master, which adds totals up, forks no process with numpy's threads in hand.
        import numpy as np

        found = np.asarray(values, dtype=np.float64)
        # A bucket takes what is at most its bound, so the side is left.
        counts = np.bincount(np.searchsorted(metric.buckets, found, side="left"), minlength=len(metric.buckets) + 1)
        self.add_histogram(metric.name, labels, [*counts.tolist(), float(found.sum())])

    def add(self, other: Totals) -> None:
        """Add another worker's."""
        for name, series in other.counters.items():
            held = self.counters.setdefault(name, {})
            for labels, value in series.items():
                held[labels] = held.get(labels, 0) + value
        for name, histograms in other.histograms.items():
            for labels, numbers in histograms.items():
                self.add_histogram(name, labels, numbers)

    def add_histogram(self, name: str, labels: Labels, numbers: list[float]) -> None:
        """Add another histogram's counts and sum."""
        held = self.histograms.setdefault(name, {})
        before = held.get(labels)
        held[labels] = numbers if before is None else [a + b for a, b in zip(before, numbers, strict=True)]

    def copy(self) -> Totals:
        """Return the same sums, apart from these."""
        made = Totals()
        made.add(self)
        return made

    def to_json(self) -> dict[str, Any]:
        """Return the totals as values that JSON has."""
        return {
            "counters": {name: _pairs(series.items()) for name, series in self.counters.items()},
            "histograms": {name: _pairs(series.items()) for name, series in self.histograms.items()},
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Totals:
        """Return what `to_json` wrote."""
        made = cls()
        for name, pairs in value["counters"].items():
            made.counters[name] = {tuple(labels): number for labels, number in pairs}
        for name, pairs in value["histograms"].items():
            made.histograms[name] = {tuple(labels): numbers for labels, numbers in pairs}
        return made


def _pairs(items: Iterable[tuple[Labels, Any]]) -> list[list[Any]]:
    return [[list(labels), value] for labels, value in items]
