"""Counts a bounded sample of served values into the bins of their version, in a separate thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import structlog
from django.db import InterfaceError, InternalError, OperationalError

from models_registry import services
from models_registry.agent.database_thread import DatabaseThread
from models_registry.inference.runtime import LoadedModel, Runtime, ServingSnapshot
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

log = structlog.get_logger(__name__)

STEP_SECONDS = 5.0
# Values of a version that one step counts: some milliseconds of CPU time.
MAX_VALUES = 10_000
# Rows may be long texts, which stay in memory until they are counted.
MAX_ROWS = 1_000
# The ids of bins are read once per this number of steps: other processes may create, replace or delete bins.
STEPS_PER_LOOK = 12


@dataclass(slots=True)
class Counted:
    """The state of one loaded version; `first` has rows that may become its reference.

    `has_asked` is False until its bins were requested. `logged` has the errors that were logged.
    """

    model: LoadedModel
    sample: RowSample
    stored: StoredBins | None = None
    first: list[tuple[Matrix, Matrix]] = field(default_factory=list)
    has_asked: bool = False
    logged: set[str] = field(default_factory=set)

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
        """The number of collected first rows."""
        return sum(len(rows) for rows, _ in self.first)

    def keep_first(self, rows: Matrix, labels: Matrix) -> None:
        """Store a copy of rows that may become the reference, FIRST_ROWS in total."""
        if lacking := max(0, FIRST_ROWS - self.first_rows):
            self.first.append((rows[:lacking, :MAX_FEATURES].copy(), labels[:lacking]))

    @contextmanager
    def contained(self, event: str) -> Iterator[None]:
        """Log an error as `event`, once, so that other versions continue; raise it if the database is unavailable."""
        try:
            yield
        except (OperationalError, InterfaceError, InternalError):
            raise
        except Exception:
            if event not in self.logged:
                log.exception(event, model=self.model.name, version=self.model.number)
            self.logged.add(event)


class FeatureCounter:
    """A thread that tracks the loaded versions, and counts their rows."""

    def __init__(self, runtime: Runtime) -> None:
        """Count the rows of the models in `runtime`."""
        self._runtime = runtime
        self._guard = threading.Lock()
        self._counted: dict[int, Counted] = {}
        self._totals: dict[VersionKey, ValueCounts] = {}
        self._steps = 0
        # The tracked snapshot; None after bins have changed.
        self._followed: ServingSnapshot | None = None
        self._thread = DatabaseThread("feature_counter", self.step, seconds=STEP_SECONDS, is_eager=True)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; waiting rows are counted when they are requested."""
        self._thread.stop()

    def step(self) -> None:
        """Count the waiting rows, and track the loaded versions. Raises DatabaseError."""
        self._count_waiting()
        self._follow()
        self._look_for_other_bins()
        self._ask_for_bins()
        self._keep_first_rows()

    def counts(self) -> dict[VersionKey, ValueCounts]:
        """Return the counts so far, by (model, number)."""
        self._count_waiting()
        return dict(self._totals)

    def add_to(self, usage: Mapping[VersionKey, Usage]) -> dict[VersionKey, Usage]:
        """Return `usage` with the counts of features so far; rows that cannot be counted add nothing."""
        found = self.counts()
        return {key: replace(item, features=found.get(key)) for key, item in usage.items()}

    def _follow(self) -> None:
        """Add newly loaded versions, and remove unloaded ones."""
        snapshot = self._runtime.snapshot
        if snapshot is self._followed:
            return
        self._followed = snapshot
        loaded = {model.version_id: model for model in (*snapshot.models.values(), *snapshot.others.values())}
        kept = {pk: item for pk, item in self._counted.items() if pk in loaded and item.model.build == loaded[pk].build}
        new = {pk: _begin(model) for pk, model in loaded.items() if pk not in kept and countable_features(model.schema)}
        # Before any query, so that unloaded versions are released while the database is unavailable, too.
        self._counted = kept | new
        self._runtime.row_samples = {pk: item.sample for pk, item in self._counted.items() if item.is_wanted}

    def _ask_for_bins(self) -> None:
        """Load the bins of versions that are new, or whose bins have changed."""
        new = {pk: item for pk, item in self._counted.items() if not item.has_asked}
        found = services.prepare_bins(new) if new else {}
        for pk, item in new.items():
            item.has_asked = True
            self._take_bins(item, found.get(pk))

    def _look_for_other_bins(self) -> None:
        """Request bins again if their ids have changed."""
        self._steps += 1
        if not self._counted or self._steps % STEPS_PER_LOOK:
            return
        ids = services.read_bin_ids(self._counted)
        for pk, item in self._counted.items():
            if ids.get(pk) != (item.stored and item.stored.pk):
                item.has_asked = False

    def _keep_first_rows(self) -> None:
        for pk, item in self._counted.items():
            if item.stored is None and item.first_rows >= FIRST_ROWS:
                with item.contained("first_rows_not_kept"):
                    self._keep_first_rows_of(pk, item)

    def _keep_first_rows_of(self, pk: int, item: Counted) -> None:
        rows, labels = (np.concatenate(parts) for parts in zip(*item.first, strict=True))
        stored = services.keep_first_rows(pk, bins_of(item.model.schema, rows, labels), FIRST_ROWS)
        if stored is not None:
            self._take_bins(item, stored)

    def _take_bins(self, item: Counted, stored: StoredBins | None) -> None:
        # The thread that closes a minute may be counting into the replaced bins.
        with self._guard:
            item.stored, self._followed = stored, None
            if stored is None:
                return
            item.first = []
            known = self._totals.get(item.key)
            if known is None or known.bins != stored.pk:
                self._totals[item.key] = ValueCounts(stored.pk, tuple((0,) * one.size for one in stored.bins.columns))

    def _count_waiting(self) -> None:
        with self._guard:
            for item in list(self._counted.values()):
                requests, dropped = item.sample.take()
                if requests:
                    with item.contained("rows_not_counted"):
                        self._count(item, requests, dropped)

    def _count(self, item: Counted, requests: list[ServedRows], dropped: int) -> None:
        rows, labels = joined(requests, limit=max_rows(item.model))
        if item.stored is None:
            item.keep_first(rows, labels)
            return
        dropped += sum(request.count for request in requests) - len(rows)
        columns = tuple(tuple(counts.tolist()) for counts in item.stored.bins.count(rows, labels))
        grown = ValueCounts(item.stored.pk, columns, rows=len(rows), dropped=dropped)
        self._totals[item.key] = combined_counts(self._totals[item.key], grown) or grown
        self._runtime.counted_rows[(*item.key, "counted")] += len(rows)
        self._runtime.counted_rows[(*item.key, "dropped")] += dropped


def max_rows(model: LoadedModel) -> int:
    """Return the number of a version's rows to count in a step."""
    return min(MAX_ROWS, MAX_VALUES // min(MAX_FEATURES, len(model.schema.inputs)))


def _begin(model: LoadedModel) -> Counted:
    return Counted(model, RowSample(max_rows(model)))


def joined(requests: Sequence[ServedRows], *, limit: int) -> tuple[Matrix, Matrix]:
    """Return the rows of requests and their labels; from a larger request, `limit` evenly spaced rows."""
    parts = [_chosen(request, evenly(range(request.count), limit)) for request in requests]
    rows, labels = zip(*parts, strict=True)
    return np.concatenate(rows), np.concatenate(labels)


def _chosen(request: ServedRows, positions: list[int]) -> tuple[Matrix, Matrix]:
    rows, labels = request.rows, request.labels.reshape(request.count, -1)[:, 0]
    if len(positions) < request.count:
        labels = labels[positions]
        rows = (
            [rows[position] for position in positions]
            if isinstance(rows, list)
            else getattr(rows, "iloc", rows)[positions]
        )
    return as_matrix(rows), labels
