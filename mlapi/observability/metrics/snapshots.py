"""A directory in which the workers of a server share their totals. A `Snapshot` is the totals of one worker.

Each server needs its own directory: a server that starts clears it. While a server runs, a deleted file lowers its
counters.
It imports neither Django nor numpy: gunicorn's master uses this module too, and forks.
"""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from mlapi.observability.metrics.totals import Totals
from models_registry.files import acquire, whole_file

RETIRED = "retired.json"
# No .json suffix, so that these are not read as workers' files.
CHOSEN = "models-with-series"
LOST_CALLS = "lost-calls"
# Longer than any read takes. A worker that hangs in a read must not block the other workers.
LOCK_SECONDS = 1.0
LOCK_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One worker's totals, and its current gauges: rows of (metric, labels, value)."""

    totals: Totals
    gauges: tuple[tuple[str, tuple[str, ...], float], ...] = field(default=())


class Snapshots:
    """A directory with one file for each worker, and one file for all ended workers."""

    def __init__(self, directory: Path) -> None:
        """Use `directory`. The methods raise OSError if it cannot be read or written, for example on a full disk."""
        self._directory = directory
        # Workers that ended while the directory was unusable.
        self._unretired: set[int] = set()

    def clear(self) -> None:
        """Remove old snapshots: a server that starts counts from zero."""
        self._directory.mkdir(parents=True, exist_ok=True)
        # Includes unfinished files of killed workers, whose names start with a dot.
        for path in (*self._directory.glob("*.json"), *self._directory.glob(".*.json-*")):
            path.unlink(missing_ok=True)
        for name in (CHOSEN, LOST_CALLS):
            (self._directory / name).unlink(missing_ok=True)

    def write(self, snapshot: Snapshot, *, pid: int) -> None:
        """Write a worker's snapshot."""
        content = {**snapshot.totals.to_json(), "gauges": snapshot.gauges}
        self._replace(self._path(pid), orjson.dumps(content))

    def read(self) -> list[Snapshot]:
        """Return the snapshots of all workers, including ended ones."""
        with self._locked(fcntl.LOCK_SH):
            found = [_read(path) for path in self._directory.glob("*.json")]
        return [snapshot for snapshot in found if snapshot is not None]

    def choose_models(self, ranked: Sequence[str], *, before: frozenset[str], max_models: int) -> frozenset[str]:
        """Return the models with their own series: first `before`, then those any worker chose, then from `ranked`."""
        chosen = {*before, *self._chosen()}
        if len(chosen) >= max_models or chosen.issuperset(ranked):
            return frozenset(chosen)
        with self._locked(fcntl.LOCK_EX):
            # Also keeps the models that this worker chose while the directory was unusable.
            chosen |= set(self._chosen())
            chosen.update([name for name in ranked if name not in chosen][: max(0, max_models - len(chosen))])
            self._replace(self._directory / CHOSEN, orjson.dumps(sorted(chosen)))
        return frozenset(chosen)

    def _chosen(self) -> list[str]:
        try:
            return [str(name) for name in orjson.loads((self._directory / CHOSEN).read_bytes())]
        except (FileNotFoundError, ValueError, TypeError):
            return []  # no file yet, or a truncated file

    def leave_calls(self, version_ids: Sequence[int]) -> None:
        """Hand the versions of a lost worker's unfinished calls over to a living worker, which counts them."""
        if version_ids:
            with self._locked(fcntl.LOCK_EX), (self._directory / LOST_CALLS).open("a") as file:
                file.write("".join(f"{version_id}\n" for version_id in version_ids))

    def take_calls(self) -> list[int]:
        """Return the versions of lost workers' unfinished calls; each is returned to one worker only."""
        path = self._directory / LOST_CALLS
        if not path.exists():
            return []
        with self._locked(fcntl.LOCK_EX):
            try:
                found = [int(line) for line in path.read_text().split() if line.isdigit()]
            except FileNotFoundError:
                return []  # another worker took it first
            path.unlink()
        return found

    def retire(self, pid: int) -> None:
        """Keep an ended worker's counts without its gauges; after a failure the next call tries again."""
        self._unretired.add(pid)
        with self._locked(fcntl.LOCK_EX):
            for ended in sorted(self._unretired):
                self._retire(self._path(ended))
                self._unretired.discard(ended)

    def _retire(self, path: Path) -> None:
        if not path.exists():
            return
        retired = self._directory / RETIRED
        totals = Totals()
        for snapshot in (_read(path), _read(retired) if retired.exists() else None):
            if snapshot is not None:
                totals.add(snapshot.totals)
        self._replace(retired, orjson.dumps({**totals.to_json(), "gauges": []}))
        path.unlink()

    def _path(self, pid: int) -> Path:
        return self._directory / f"{pid}.json"

    def _replace(self, path: Path, content: bytes) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        # No fsync: a crash of the machine also ends the workers, whose counters restart at zero.
        with whole_file(path, is_durable=False) as target:
            target.write(content)

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        """Hold the directory's lock, shared or exclusive (`kind`); BlockingIOError after LOCK_SECONDS.

        No worker reads while counts move from one file to another, so no request is lost or counted twice.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "lock").open("a") as lock:
            deadline = time.monotonic() + LOCK_SECONDS
            if not acquire(lock.fileno(), kind, deadline=deadline, poll_seconds=LOCK_POLL_SECONDS):
                raise BlockingIOError(
                    errno.EAGAIN, "Another worker holds the lock of the metrics", str(self._directory)
                )
            yield


def _read(path: Path) -> Snapshot | None:
    """Return the snapshot at `path`; None if the file is truncated."""
    try:
        value: dict[str, Any] = orjson.loads(path.read_bytes())
        gauges = tuple((name, tuple(labels), number) for name, labels, number in value["gauges"])
        return Snapshot(Totals.from_json(value), gauges)
    except (ValueError, KeyError, TypeError):
        return None
