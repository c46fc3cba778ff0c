"""Writes captured calls to Parquet files, and the files to the storage of the prediction log."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import structlog

from models_registry import services
from models_registry.agent.database_thread import DatabaseThread
from models_registry.errors import StorageError
from models_registry.inference.capture import CapturedCall, CaptureQueue
from models_registry.inference.runtime import Runtime
from models_registry.storage import LogStorage

log = structlog.get_logger(__name__)

FILE_SECONDS = 60.0
FILE_ROWS = 10_000
RETRY_SECONDS = 15.0
# Files that wait on this machine's disk while the storage is away. Beyond that, the oldest are dropped.
MAX_WAITING_BYTES = 200_000_000
# A file of another worker that has waited for so long: its worker has ended.
ORPHANED_SECONDS = 600.0

Group = tuple[str, int, str]


class PredictionLogWriter:
    """Closes a file each minute, or every 10,000 rows, for each version; uploads it whole; counts every row."""

    def __init__(
        self, runtime: Runtime, storage: LogStorage, *, directory: Path, hash_key: bytes, poll_seconds: float
    ) -> None:
        """Write what `runtime` captures to `storage`; files wait below `directory`, which workers share."""
        self._runtime = runtime
        self._queue: CaptureQueue = runtime.captured
        self._storage = storage
        self._directory = directory
        self._hash_key = hash_key
        self._worker = uuid.uuid4().hex[:12]
        self._open: dict[Group, list[CapturedCall]] = defaultdict(list)
        self._opened_at: dict[Group, float] = {}
        self._sequence = 0
        self._retry_at = 0.0
        self._is_away = False
        self._thread = DatabaseThread(
            "prediction_log", self.step, seconds=max(1.0, poll_seconds), last_step=self.finish
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end."""
        self._thread.stop()

    def step(self) -> None:
        """Read the settings, close the files that are full or old, and upload what waits."""
        try:
            self._runtime.captures = services.read_captures()
        finally:
            self.write()

    def finish(self) -> None:
        """Close every file, and upload what waits."""
        self.write(is_last=True)

    def write(self, *, is_last: bool = False) -> None:
        """Close the files that are full or old, all of them where `is_last`, and upload what waits."""
        for call in self._queue.take():
            group = (call.model, call.version, f"{call.at:date=%Y-%m-%d/hour=%H}|{hash(call.settings)}")
            self._open[group].append(call)
            self._opened_at.setdefault(group, time.monotonic())
        for group in list(self._open):
            rows = sum(call.count for call in self._open[group])
            if is_last or rows >= FILE_ROWS or time.monotonic() - self._opened_at[group] >= FILE_SECONDS:
                self._close(group)
        if is_last or time.monotonic() >= self._retry_at:
            self._upload()

    def _close(self, group: Group) -> None:
        """Write one file to this machine's disk."""
        from pyarrow import parquet

        from models_registry.monitoring.log_table import table_of

        calls = self._open.pop(group)
        del self._opened_at[group]
        rows = sum(call.count for call in calls)
        model, version, partition = group[0], group[1], group[2].partition("|")[0]
        self._sequence += 1
        key = f"{model}/version={version}/{partition}/{self._worker}-{self._sequence:06d}-{rows}.parquet"
        path = self._directory / key.replace("/", "~")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(table_of(calls, key=self._hash_key), path.with_suffix(".new"), compression="zstd")
            path.with_suffix(".new").replace(path)
        except Exception as error:  # noqa: BLE001 - a full disk, or a value that no column takes: the rows are counted
            self._queue.count((model, version), "dropped", rows)
            log.error("predictions_not_logged", model=model, version=version, rows=rows, reason=str(error)[:300])
        finally:
            self._queue.done(rows)

    def _upload(self) -> None:
        for path in self._waiting():
            key = path.name.replace("~", "/")
            try:
                self._storage.put(key, path)
            except StorageError as error:
                self._note_storage(error)
                self._retry_at = time.monotonic() + RETRY_SECONDS
                self._drop_oldest()
                return
            self._count(path, "written")
            path.unlink(missing_ok=True)
        self._note_storage(None)

    def _waiting(self) -> list[Path]:
        """Return this worker's files and those of ended workers, the oldest first."""
        found = []
        for path in self._directory.glob("*.parquet"):
            age = datetime.now(UTC).timestamp() - path.stat().st_mtime
            if self._worker in path.name or age > ORPHANED_SECONDS:
                found.append(path)
        return sorted(found, key=lambda path: path.stat().st_mtime)

    def _drop_oldest(self) -> None:
        waiting = self._waiting()
        total = sum(path.stat().st_size for path in waiting)
        for path in waiting:
            if total <= MAX_WAITING_BYTES:
                return
            total -= path.stat().st_size
            self._count(path, "dropped")
            path.unlink(missing_ok=True)

    def _count(self, path: Path, outcome: str) -> None:
        model, version, *_, name = path.name.split("~")
        rows = int(name.removesuffix(".parquet").rpartition("-")[2])
        self._queue.count((model, int(version.removeprefix("version="))), outcome, rows)

    def _note_storage(self, error: StorageError | None) -> None:
        """Log that the storage of the log is away, or back: once each."""
        if error is not None and not self._is_away:
            log.error("log_storage_away", reason=str(error), next="The files wait on this machine, and are retried.")
        if error is None and self._is_away:
            log.info("log_storage_back")
        self._is_away = error is not None
