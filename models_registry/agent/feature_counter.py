"""Counts served values into the bins of their version, in a thread of its own, from a bounded sample of requests."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from models_registry import services
from models_registry.agent.database_thread import DatabaseThread
from models_registry.inference.runtime import LoadedModel, Runtime
from models_registry.inference.served_rows import RowSample, ServedRows
from models_registry.monitoring.feature_bins import (
    MAX_FEATURES,
    Matrix,
    as_matrix,
    bins_of,
    countable_features,
)
from models_registry.monitoring.log_sampling import evenly
from models_registry.monitoring.usage import Usage, VersionKey
from models_registry.monitoring.value_counts import ValueCounts, combined_counts
from models_registry.services.feature_bins import FIRST_ROWS, StoredBins

STEP_SECONDS = 5.0
# Values of a version that are counted in a step: some milliseconds of the processor.
MAX_VALUES = 10_000
# Rows may be long texts, which are held until then.
MAX_ROWS = 1_000
# Versions without bins may have got them by another worker: they are read again in one of this number of steps.
STEPS_PER_LOOK = 12


@dataclass(slots=True)
class Counted:
    """What is known and counted of one loaded version. `first` has the rows that may become its reference."""

    model: LoadedModel
    sample: RowSample
    stored: StoredBins | None = None
    total: ValueCounts | None = None
    first: list[tuple[Matrix, Matrix]] = field(default_factory=list)

    @property
    def key(self) -> VersionKey:
        """Its model's name and its number."""
        return self.model.name, self.model.number

    @property
    def is_wanted(self) -> bool:
        """Whether its rows are to be counted: its bins have columns, or are not known yet."""
        return self.stored is None or bool(self.stored.bins.columns)

    @property
    def first_rows(self) -> int:
        """How many of the first rows are there."""
        return sum(len(rows) for rows, _ in self.first)


class FeatureCounter:
    """A thread that follows which versions are loaded, and counts their rows."""

    def __init__(self, runtime: Runtime) -> None:
        """Count what `runtime` serves."""
        self._runtime = runtime
        self._guard = threading.Lock()
        self._counted: dict[int, Counted] = {}
        self._totals: dict[VersionKey, ValueCounts] = {}
        self._steps = 0
        self._thread = DatabaseThread("feature_counter", self.step, seconds=STEP_SECONDS, is_eager=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what still waits is counted when it is asked for."""
        self._thread.stop()

    def step(self) -> None:
        """Count what waits, and follow what is loaded. Raises DatabaseError."""
        self._count_waiting()
        self._follow()
        self._keep_first_rows()

    def counts(self) -> dict[VersionKey, ValueCounts]:
        """Return what was counted until now, by (model, number)."""
        self._count_waiting()
        return dict(self._totals)

    def add_to(self, usage: Mapping[VersionKey, Usage]) -> dict[VersionKey, Usage]:
        """Return `usage` with what was counted of the features until now."""
        found = self.counts()
        return {key: replace(item, features=found.get(key)) for key, item in usage.items()}

    def _follow(self) -> None:
        """Begin with versions that were loaded since, and end with those that are no longer."""
        snapshot = self._runtime.snapshot
        loaded = {model.version_id: model for model in (*snapshot.models.values(), *snapshot.others.values())}
        kept = {pk: item for pk, item in self._counted.items() if pk in loaded and item.model.build == loaded[pk].build}
        new = {pk: _begin(model) for pk, model in loaded.items() if pk not in kept and countable_features(model.schema)}
        found = services.prepare_bins(new) if new else {}
        self._steps += 1
        lacking = [pk for pk, item in kept.items() if item.stored is None]
        if lacking and self._steps % STEPS_PER_LOOK == 0:
            found |= services.read_bins(lacking)
        self._counted = kept | new
        for pk, stored in found.items():
            self._take_bins(self._counted[pk], stored)
        self._runtime.row_samples = {pk: item.sample for pk, item in self._counted.items() if item.is_wanted}

    def _keep_first_rows(self) -> None:
        for pk, item in self._counted.items():
            if item.stored is not None or item.first_rows < FIRST_ROWS:
                continue
            rows, labels = (np.concatenate(parts)[:FIRST_ROWS] for parts in zip(*item.first, strict=True))
            stored = services.keep_first_rows(pk, bins_of(item.model.schema, rows, labels), FIRST_ROWS)
            if stored is not None:
                self._take_bins(item, stored)

    def _take_bins(self, item: Counted, stored: StoredBins) -> None:
        known = self._totals.get(item.key)
        if known is None or known.bins != stored.pk:
            self._totals[item.key] = ValueCounts(stored.pk, tuple((0,) * one.size for one in stored.bins.columns))
        item.stored, item.first = stored, []

    def _count_waiting(self) -> None:
        with self._guard:
            for item in list(self._counted.values()):
                requests, dropped = item.sample.take()
                if requests:
                    self._count(item, requests, dropped)

    def _count(self, item: Counted, requests: list[ServedRows], dropped: int) -> None:
        rows, labels = joined(requests, limit=max_rows(item.model))
        if item.stored is None:
            item.first.append((rows[:, :MAX_FEATURES].copy(), labels))
            return
        dropped += sum(request.count for request in requests) - len(rows)
        columns = tuple(tuple(counts.tolist()) for counts in item.stored.bins.count(rows, labels))
        grown = ValueCounts(item.stored.pk, columns, rows=len(rows), dropped=dropped)
        self._totals[item.key] = combined_counts(self._totals[item.key], grown) or grown
        self._runtime.counted_rows[(*item.key, "counted")] += len(rows)
        self._runtime.counted_rows[(*item.key, "dropped")] += dropped


def max_rows(model: LoadedModel) -> int:
    """Return how many rows of a version are counted in a step."""
    return min(MAX_ROWS, MAX_VALUES // min(MAX_FEATURES, len(model.schema.inputs)))


def _begin(model: LoadedModel) -> Counted:
    return Counted(model, RowSample(max_rows(model)))


def joined(requests: Sequence[ServedRows], *, limit: int) -> tuple[Matrix, Matrix]:
    """Return the rows of requests and their labels; of a larger one, `limit` rows at even distances."""
    parts = [_chosen(request, evenly(range(request.count), limit)) for request in requests]
    rows, labels = zip(*parts, strict=True)
    return np.concatenate(rows), np.concatenate(labels)


def _chosen(request: ServedRows, places: list[int]) -> tuple[Matrix, Matrix]:
    rows, labels = request.rows, request.labels.reshape(request.count, -1)[:, 0]
    if len(places) < request.count:
        labels = labels[places]
        rows = [rows[place] for place in places] if isinstance(rows, list) else getattr(rows, "iloc", rows)[places]
    return as_matrix(rows), labels
