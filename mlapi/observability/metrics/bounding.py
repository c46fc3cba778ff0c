"""Limits the number of series: some models have their own series, the other models are summed under `other`.

A model's assignment never changes, so that no counter decreases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from mlapi.observability.metrics import definitions
from mlapi.observability.metrics.snapshots import Snapshot, Snapshots
from mlapi.observability.metrics.totals import Labels, Totals

OTHER_MODELS = "other"
# A load does not count as use: an unused model that was loaded can still get its own series later.
_NO_USE = {definitions.SWAPS.name}
_LABELS = {metric.name: metric.labels for metric in definitions.ALL}


class SeriesBound:
    """Chooses at most `max_models` models with their own series; all workers of a machine share the choice."""

    def __init__(self, snapshots: Snapshots, *, max_models: int) -> None:
        """Share the choice with the other workers through the directory of `snapshots`."""
        self._snapshots = snapshots
        self._max_models = max_models
        # The choice of this worker; used while the choice cannot be shared.
        self._own: frozenset[str] = frozenset()

    def apply(self, snapshots: Iterable[Snapshot]) -> list[Snapshot]:
        """Return all `snapshots`, with the models beyond the limit summed under `other`."""
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
            # The recorder logs this failure.
            new = [name for name in ranked if name not in self._own]
            self._own |= frozenset(new[: max(0, self._max_models - len(self._own))])
        return self._own


def _uses(snapshots: Iterable[Snapshot]) -> tuple[Counter[str], set[str]]:
    """Return how often each model was used, and the names of all models in any series."""
    uses: Counter[str] = Counter()
    known: set[str] = set()
    for snapshot in snapshots:
        for name, counted in snapshot.totals.counters.items():
            for labels, value in counted.items():
                known.add(labels[0])
                if name not in _NO_USE:
                    uses[labels[0]] += int(value)
        known.update(labels[0] for name, labels, _ in snapshot.gauges if "model" in _LABELS[name])
    known.discard("")  # requests for models that are not served
    return uses, known


def _bounded(snapshot: Snapshot, own: frozenset[str], *, used: frozenset[str]) -> Snapshot:
    totals = Totals()
    for name, counted in snapshot.totals.counters.items():
        held = totals.counters[name]
        for labels, value in counted.items():
            # Loads of an unused model are reported once the model is assigned to a series.
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
        elif name not in definitions.LOWEST:  # shares of several models cannot be added
            summed[name, key] = summed.get((name, key), 0) + value
    for (name, labels), value in summed.items():
        yield name, labels, value


def _labels(name: str, labels: Labels, own: frozenset[str]) -> Labels:
    """Return a series' labels; without version and class if its model is summed under `other`."""
    names = _LABELS[name]
    if "model" not in names or not labels[0] or labels[0] in own:
        return labels
    summed = {"model": OTHER_MODELS, "version": "", "prediction": ""}
    return tuple(summed.get(label, value) for label, value in zip(names, labels, strict=True))
