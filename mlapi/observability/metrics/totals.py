"""Counters and histograms that can be added up over workers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlapi.observability.metrics.definitions import COUNTERS, HISTOGRAMS, Metric

Labels = tuple[str, ...]


class Totals:
    """Counters, and histograms as counts by bucket (the last bucket has no upper bound), followed by the sum."""

    def __init__(self) -> None:
        """Start empty."""
        self.counters: dict[str, dict[Labels, float]] = {metric.name: {} for metric in COUNTERS}
        self.histograms: dict[str, dict[Labels, list[float]]] = {metric.name: {} for metric in HISTOGRAMS}

    def count(self, metric: Metric, labels: Labels, by: float = 1) -> None:
        """Increase a counter."""
        held = self.counters[metric.name]
        held[labels] = held.get(labels, 0) + by

    def observe(self, metric: Metric, labels: Labels, values: Any) -> None:
        """Add `values` to a histogram in one pass."""
        # Imported here: gunicorn's master adds totals up too, and must not fork with numpy's threads running.
        import numpy as np

        found = np.asarray(values, dtype=np.float64)
        # A bucket includes its upper bound, hence `left`.
        counts = np.bincount(np.searchsorted(metric.buckets, found, side="left"), minlength=len(metric.buckets) + 1)
        self.add_histogram(metric.name, labels, [*counts.tolist(), float(found.sum())])

    def add(self, other: Totals) -> None:
        """Add another worker's totals."""
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
        """Return a copy."""
        made = Totals()
        made.add(self)
        return made

    def to_json(self) -> dict[str, Any]:
        """Return the totals as JSON values."""
        return {
            "counters": {name: _pairs(series.items()) for name, series in self.counters.items()},
            "histograms": {name: _pairs(series.items()) for name, series in self.histograms.items()},
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Totals:
        """Return the totals that `to_json` wrote."""
        made = cls()
        for name, pairs in value["counters"].items():
            made.counters[name] = {tuple(labels): number for labels, number in pairs}
        for name, pairs in value["histograms"].items():
            made.histograms[name] = {tuple(labels): numbers for labels, numbers in pairs}
        return made


def _pairs(items: Iterable[tuple[Labels, Any]]) -> list[list[Any]]:
    return [[list(labels), value] for labels, value in items]
