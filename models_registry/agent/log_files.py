"""Writes queued rows to Parquet files on this machine's disk, then uploads them to the storage of the log."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import structlog

from models_registry.errors import StorageError
from models_registry.inference.bounded_queue import BoundedQueue, Key
from models_registry.parquet import Column, write_columns
from models_registry.storage import LogStorage

log = structlog.get_logger(__name__)

FILE_SECONDS = 60.0
FILE_ROWS = 10_000
RETRY_SECONDS = 15.0
# Limit of the files that wait on this disk while the storage is unavailable; above it, the oldest are dropped.
MAX_WAITING_BYTES = 200_000_000
# A file of another worker that has waited this long belongs to an ended worker.
ORPHANED_SECONDS = 600.0


class Countable(Protocol):
    """An item of a queue: some rows."""

    @property
    def count(self) -> int:
        """The number of rows."""


Item = TypeVar("Item", bound=Countable)
Row_contra = TypeVar("Row_contra", contravariant=True)
# The directory of a file, and a key that separates its rows from other files in the directory.
Group = tuple[str, int]


class FileForm(Protocol[Row_contra]):
    """Assigns rows to files, and defines the files' content."""

    def group(self, item: Row_contra) -> Group:
        """Return the file's directory, and a key that separates it from other files."""

    def table(self, items: Sequence[Row_contra]) -> dict[str, Column]:
        """Return the rows of one group."""

    def count_key(self, folder: str) -> Key:
        """Return the counter's key for rows of a directory."""


class LogFiles(Generic[Item]):
    """Closes a file each minute, or every 10,000 rows, for each group; uploads it atomically; counts every row."""

    def __init__(
        self, queue: BoundedQueue[Item], storage: LogStorage, *, directory: Path, form: FileForm[Item]
    ) -> None:
        """Write the rows of `queue` to `storage`; files wait in `directory`, which workers share."""
        self._queue = queue
        self._storage = storage
        self._directory = directory
        self._form = form
        self._worker = uuid.uuid4().hex[:12]
        self._open: dict[Group, list[Item]] = defaultdict(list)
        self._opened_at: dict[Group, float] = {}
        self._sequence = 0
        self._retry_at = 0.0
        self._is_away = False

    def write(self, *, is_last: bool = False) -> None:
        """Close full or old files, or all of them if `is_last`, and upload the waiting files."""
        for item in self._queue.take():
            group = self._form.group(item)
            self._open[group].append(item)
            self._opened_at.setdefault(group, time.monotonic())
        for group in list(self._open):
            rows = sum(item.count for item in self._open[group])
            if is_last or rows >= FILE_ROWS or time.monotonic() - self._opened_at[group] >= FILE_SECONDS:
                self._close(group)
        if is_last or time.monotonic() >= self._retry_at:
            self._upload()

    def _close(self, group: Group) -> None:
        """Write one file to this machine's disk."""
        items = self._open.pop(group)
        del self._opened_at[group]
        rows = sum(item.count for item in items)
        folder = group[0]
        self._sequence += 1
        key = f"{folder}/{self._worker}-{self._sequence:06d}-{rows}.parquet"
        path = self._directory / key.replace("/", "~")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_columns(path, self._form.table(items))
        except Exception as error:  # noqa: BLE001 - a full disk, or a value that fits no column: the rows are counted
            self._queue.count(self._form.count_key(folder), "dropped", rows)
            log.error("rows_not_logged", folder=folder, rows=rows, reason=str(error)[:300])
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
        """Return the files of this worker and of ended workers, oldest first."""
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
        folder, _, name = path.name.replace("~", "/").rpartition("/")
        rows = int(name.removesuffix(".parquet").rpartition("-")[2])
        self._queue.count(self._form.count_key(folder), outcome, rows)

    def _note_storage(self, error: StorageError | None) -> None:
        """Log once that the storage of the log is unavailable, and once that it is available again."""
        if error is not None and not self._is_away:
            log.error("log_storage_away", reason=str(error), next="The files wait on this machine, and are retried.")
        if error is None and self._is_away:
            log.info("log_storage_back")
        self._is_away = error is not None
