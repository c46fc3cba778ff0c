"""Bounds the number of series: some models have their own, the others are summed up as `other`.

A model that has its own series keeps them, and one that was counted in the sum stays there: no counter ever falls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from mlapi.observability.metrics import definitions
from mlapi.observability.metrics.snapshots import Snapshot, Snapshots
from mlapi.observability.metrics.totals import Labels, Totals

OTHER_MODELS = "other"
# A load counts no use: a model that was only loaded may still get its own series.
_NO_USE = {definitions.SWAPS.name}
_LABELS = {metric.name: metric.labels for metric in definitions.ALL}


class SeriesBound:
    """Knows which models have their own series, at most `max_models`; the workers of a machine agree on them."""

    def __init__(self, snapshots: Snapshots, *, max_models: int) -> None:
        """Share the choice with the other workers where `snapshots` are."""
        self._snapshots = snapshots
        self._max_models = max_models
        # For the time in which the workers cannot share it.
        self._own: frozenset[str] = frozenset()

    def apply(self, snapshots: Iterable[Snapshot]) -> list[Snapshot]:
        """Return all `snapshots`, with the models beyond the bound summed up."""
        found = list(snapshots)
        uses, known = _uses(found)
        candidates = known if len(known) <= self._max_models else {name for name in known if uses[name]}
        ranked = sorted(candidates, key=lambda name: (-uses[name], name))
        own = self._choose(ranked)
        if known <= own:
            return found
        return [_bounded(snapshot, own, used=frozenset(name for name in known if uses[name])) for snapshot in found]

    def _choose(self, ranked: list[str]) -> frozenset[str]:
        try:
            self._own = self._snapshots.choose_models(ranked, before=self._own, max_models=self._max_models)
        except OSError:
            # The recorder logs that nothing can be shared.
            new = [name for name in ranked if name not in self._own]
            self._own |= frozenset(new[: max(0, self._max_models - len(self._own))])
        return self._own


def _uses(snapshots: Iterable[Snapshot]) -> tuple[Counter[str], set[str]]:
    """Return how often each model was used, and all that any series names."""
    uses: Counter[str] = Counter()
    known: set[str] = set()
    for snapshot in snapshots:
        for name, counted in snapshot.totals.counters.items():
            for labels, value in counted.items():
                known.add(labels[0])
                if name not in _NO_USE:
                    uses[labels[0]] += int(value)
        known.update(labels[0] for name, labels, _ in snapshot.gauges if "model" in _LABELS[name])
    known.discard("")  # requests for no model that is served
    return uses, known


def _bounded(snapshot: Snapshot, own: frozenset[str], *, used: frozenset[str]) -> Snapshot:
    totals = Totals()
    for name, counted in snapshot.totals.counters.items():
        held = totals.counters[name]
        for labels, value in counted.items():
            # The loads of an unused model are told once its place is known.
            if name in _NO_USE and labels[0] not in own | used:
                continue
            key = _labels(name, labels, own)
            held[key] = held.get(key, 0) + value
    for name, histograms in snapshot.totals.histograms.items():
        for labels, numbers in histograms.items():
            totals.add_histogram(name, _labels(name, labels, own), numbers)
    return Snapshot(totals, tuple(_gauges(snapshot, own)))


def _gauges(snapshot: Snapshot, own: frozenset[str]) -> Iterable[tuple[str, Labels, float]]:
    summed: dict[tuple[str, Labels], float] = {}
    for name, labels, value in snapshot.gauges:
        key = _labels(name, labels, own)
        if key == labels:
            yield name, labels, value
        elif name not in definitions.LOWEST:  # shares of several models have no sum
            summed[name, key] = summed.get((name, key), 0) + value
    for (name, labels), value in summed.items():
        yield name, labels, value


def _labels(name: str, labels: Labels, own: frozenset[str]) -> Labels:
    """Return the labels under which a series is told: without version and class where its model is in the sum."""
    names = _LABELS[name]
    if "model" not in names or not labels[0] or labels[0] in own:
        return labels
    summed = {"model": OTHER_MODELS, "version": "", "prediction": ""}
    return tuple(summed.get(label, value) for label, value in zip(names, labels, strict=True))
