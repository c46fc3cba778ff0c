"""Where the workers of a machine lay down their totals for each other.

It knows no Django and no numpy: gunicorn's master uses it too, and forks.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from mlapi.metrics.totals import Totals

RETIRED = "retired.json"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One worker's totals, and its state of the moment: rows of (metric, labels, value)."""

    totals: Totals
    gauges: tuple[tuple[str, tuple[str, ...], float], ...] = field(default=())


class Snapshots:
    """A directory with a file for each worker, and one for those that have ended."""

    def __init__(self, directory: Path) -> None:
        """Use `directory`."""
        self._directory = directory

    def clear(self) -> None:
        """Begin anew: a server that starts counts from nothing."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for path in self._directory.glob("*.json"):
            path.unlink(missing_ok=True)

    def write(self, snapshot: Snapshot, *, pid: int) -> None:
        """Lay down a worker's snapshot."""
        content = {**snapshot.totals.to_json(), "gauges": snapshot.gauges}
        self._replace(self._path(pid), orjson.dumps(content))

    def read(self) -> list[Snapshot]:
        """Return the snapshots of all workers, and of those that have ended."""
        with self._locked(fcntl.LOCK_SH):
            return [_read(path) for path in self._directory.glob("*.json")]

    def retire(self, pid: int) -> None:
        """Keep what an ended worker counted, without its state."""
        path = self._path(pid)
        with self._locked(fcntl.LOCK_EX):
            if not path.exists():
                return
            retired = self._directory / RETIRED
            totals = _read(path).totals
            if retired.exists():
                totals.add(_read(retired).totals)
            self._replace(retired, orjson.dumps({**totals.to_json(), "gauges": []}))
            path.unlink()

    def _path(self, pid: int) -> Path:
        return self._directory / f"{pid}.json"

    def _replace(self, path: Path, content: bytes) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_bytes(content)
        # Atomic: whoever reads sees one snapshot or the next.
        temporary.replace(path)

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        """Keep a retirement and a reading apart: nothing is counted twice or not at all."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "lock").open("w") as lock:
            fcntl.flock(lock, kind)
            yield


def _read(path: Path) -> Snapshot:
    value: dict[str, Any] = orjson.loads(path.read_bytes())
    gauges = tuple((name, tuple(labels), number) for name, labels, number in value["gauges"])
    return Snapshot(Totals.from_json(value), gauges)
