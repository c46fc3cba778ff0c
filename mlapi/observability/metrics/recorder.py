"""Metrics of this worker: requests append records, a thread adds them up and writes a snapshot for other workers."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

import psutil
import structlog

from mlapi.observability.metrics import definitions
from mlapi.observability.metrics.records import Record, lost_call, sum_up
from mlapi.observability.metrics.snapshots import Snapshot, Snapshots
from mlapi.observability.metrics.totals import Totals
from models_registry.agent.pace import Pace
from models_registry.agent.periodic import PeriodicThread
from models_registry.inference.routing import version_key
from models_registry.inference.runtime import Runtime, ServingSnapshot

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 1.0
# How often an idle worker writes its memory and the age of its registry data; less often with thousands of models.
IDLE_FLUSH_SECONDS = 5.0
# Above this number of records, the request itself adds them up, because records keep predictions in memory. A longer
# backlog would delay that request for longer.
MAX_RECORDS = 256
MAX_ROWS = 4096

OnRecords = Callable[[list[Record]], None]
# A metric, its labels and its value.
Gauge = tuple[str, tuple[str, ...], float]


class MetricsRecorder:
    """Counts the requests of one worker process."""

    def __init__(self, runtime: Runtime, snapshots: Snapshots) -> None:
        """Count for `runtime`; other workers read the counts from `snapshots`."""
        self._runtime = runtime
        self._snapshots = snapshots
        self._records: deque[Record] = deque()
        self._totals = Totals()
        self._guard = threading.Lock()
        self._flushing = threading.Lock()
        self._thread = PeriodicThread("metrics_recorder", self._share, seconds=FLUSH_SECONDS, last_step=self._share)
        self._is_sharing = True
        self._has_counted = False
        self._flushed_snapshot: ServingSnapshot | None = None
        self._flushed_failures = 0
        self._idle_flush = Pace(IDLE_FLUSH_SECONDS)
        self._model_rows: tuple[ServingSnapshot, list[Gauge]] | None = None
        # Called with the records that were added up, for other exporters.
        self.on_records: OnRecords | None = None

    def record(self, record: Record) -> None:
        """Append one request; a thread adds it up later."""
        records = self._records
        records.append(record)
        if len(records) > MAX_RECORDS or record.rows > MAX_ROWS:
            self.sum_up()

    def sum_up(self) -> None:
        """Add the appended records to the totals."""
        with self._guard:
            taken = []
            while self._records:
                taken.append(self._records.popleft())
            if taken:
                self._has_counted = True
                sum_up(taken, self._totals)
                if self.on_records is not None:
                    self.on_records(taken)

    def totals(self) -> Totals:
        """Return this worker's counts so far."""
        self.sum_up()
        with self._guard:
            return self._totals.copy()

    def snapshot(self) -> Snapshot:
        """Return this worker's counts so far, and its gauges."""
        totals = self.totals()
        for metric, counts in (
            (definitions.SWAPS, self._runtime.swaps),
            (definitions.LOAD_FAILURES, self._runtime.load_failures),
        ):
            totals.counters[metric.name] = {(model,): float(count) for model, count in list(counts.items())}
        for metric, rows_by_outcome in (
            (definitions.LOGGED_ROWS, self._runtime.captured.counts),
            (definitions.SHADOW_ROWS, self._runtime.mirrored.counts),
            (definitions.COUNTED_ROWS, self._runtime.counted_rows),
        ):
            totals.counters[metric.name] = {
                (model, str(version), outcome): float(rows)
                for (model, version, outcome), rows in list(rows_by_outcome.items())
            }
        totals.counters[definitions.GROUND_TRUTH_ROWS.name] = {
            key: float(rows) for key, rows in list(self._runtime.ground_truth.counts.items())
        }
        return Snapshot(totals, tuple(self._gauges()))

    def flush(self) -> None:
        """Write a snapshot of the current totals."""
        # An earlier snapshot never overwrites a later one.
        with self._flushing, self._idle_flush.measured():
            self._snapshots.write(self.snapshot(), pid=os.getpid())

    def all_snapshots(self) -> list[Snapshot]:
        """Return the snapshots of this machine's workers: current for this worker, up to a second old for the others.

        All are read from the shared directory, so that no worker reports lower counts than another worker did.
        """
        try:
            self.flush()
            return self._snapshots.read()
        except OSError as error:
            self._note_sharing(error)
            return [self.snapshot()]

    def start(self) -> None:
        """Write a snapshot every second from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Write the last snapshot."""
        self._thread.stop()

    def _share(self) -> None:
        self._count_lost_calls()
        if not (self._thread.is_stopping or self._is_flush_due()):
            return
        try:
            self.flush()
            self._note_sharing(None)
        except OSError as error:
            self._note_sharing(error)

    def _count_lost_calls(self) -> None:
        """Count the unfinished calls of lost workers as failures of their versions."""
        snapshot = self._runtime.snapshot
        if not snapshot.was_ready or snapshot.awaited:
            return  # the calls belong to versions that may not be loaded yet
        try:
            lost = self._snapshots.take_calls()
        except OSError as error:
            self._note_sharing(error)
            return
        if not lost:
            return
        known = {loaded.version_id: loaded for loaded in (*snapshot.models.values(), *snapshot.others.values())}
        for version_id in lost:
            loaded = known.get(version_id)
            if loaded is not None:
                log.error("call_lost", model=loaded.name, version=loaded.number, next="The worker was replaced.")
                self.record(lost_call(loaded.name, loaded.number))

    def _is_flush_due(self) -> bool:
        """Return whether a snapshot is due: something changed, or the last one is IDLE_FLUSH_SECONDS old."""
        snapshot, failures = self._runtime.snapshot, self._runtime.load_failures.total()
        is_due = (
            bool(self._records)
            or self._has_counted
            or snapshot is not self._flushed_snapshot
            or failures != self._flushed_failures
            or self._idle_flush.is_due
        )
        if is_due:
            self._has_counted = False
            self._flushed_snapshot, self._flushed_failures = snapshot, failures
        return is_due

    def _note_sharing(self, error: OSError | None) -> None:
        """Log once that workers can no longer read each other's totals, and once that they can again."""
        if error is not None and self._is_sharing:
            log.error(
                "metrics_not_shared",
                reason=str(error),
                next="Until MLAPI_VAR is writable again, each worker reports only its own metrics.",
            )
        if error is None and not self._is_sharing:
            log.info("metrics_shared_again")
        self._is_sharing = error is None

    def _gauges(self) -> list[Gauge]:
        pid = os.getpid()
        rows: list[Gauge] = [
            (definitions.WORKERS.name, (), 1),
            (definitions.RESIDENT_BYTES.name, (str(pid),), psutil.Process(pid).memory_info().rss),
        ]
        if self._runtime.desired_state_read_at is not None:
            rows.append((definitions.REGISTRY_READ.name, (), self._runtime.desired_state_read_at))
        return rows + self._model_gauges()

    def _model_gauges(self) -> list[Gauge]:
        """Return the gauges of all models; computed once per snapshot."""
        snapshot = self._runtime.snapshot
        if self._model_rows is None or self._model_rows[0] is not snapshot:
            rows: list[Gauge] = [(definitions.MODEL_WORKERS.name, labels, 1) for labels in model_states(self._runtime)]
            rows += [(definitions.TRAFFIC.name, labels, percent) for labels, percent in traffic_shares(self._runtime)]
            self._model_rows = (snapshot, rows)
        return self._model_rows[1]


def model_states(runtime: Runtime) -> list[tuple[str, str, str]]:
    """Return (model, version, state) of served, loading, waiting and failed versions."""
    snapshot = runtime.snapshot
    rows = [(name, str(loaded.number), "serving") for name, loaded in snapshot.models.items()]
    rows += [(loaded.name, str(loaded.number), "candidate") for loaded in snapshot.others.values()]
    for name, number in snapshot.desired.items():
        loaded = snapshot.models.get(name)
        if loaded is None or loaded.number != number:
            rows.append((name, str(number), _state_of(name, snapshot)))
    return rows


def _state_of(name: str, snapshot: ServingSnapshot) -> str:
    if name in snapshot.problems:
        return "failed"
    return "unloaded" if snapshot.is_loadable(name) else "loading"


def traffic_shares(runtime: Runtime) -> list[tuple[tuple[str, str], float]]:
    """Return each version's share of its model's requests, 0 to 100, while traffic is split."""
    snapshot = runtime.snapshot
    rows: list[tuple[tuple[str, str], float]] = []
    for name, split in snapshot.splits.items():
        active = snapshot.models.get(name)
        if active is not None and version_key(name, split.candidate) in snapshot.others:
            rows.append(((name, str(active.number)), 100 - split.percent))
            rows.append(((name, str(split.candidate)), split.percent))
    return rows
