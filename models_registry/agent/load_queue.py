"""The workers of a machine load one after the other, and detect a load that ends workers.

During a load, the old and the new model are both in memory. Two loads at the same time might not fit. The queue's
lock file also names the artifact that is being loaded. A worker that gets the lock and finds a name knows that the
previous holder died during that load. Without this journal, a load that repeatedly ends workers would stop the whole
service.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import structlog

from models_registry.errors import BrokenArtifact

log = structlog.get_logger(__name__)

MAX_PAUSE_SECONDS = 300.0
MAX_KEPT = 100
# The master replaces a dead worker within this time. From an older entry, the duration of its load is not known.
REPLACED_SECONDS = 60.0


@dataclass(slots=True)
class FatalLoad:
    """A load that ended workers: how many in a row, and the time of the next attempt (seconds since 1970)."""

    workers: int = 0
    retry_at: float = 0.0


@dataclass(slots=True)
class Journal:
    """The current load, its start, and the loads that ended workers, by digest."""

    digest: str = ""
    began_at: float = 0.0
    ended: dict[str, FatalLoad] = field(default_factory=dict)

    @classmethod
    def parse(cls, content: bytes) -> Journal:
        """Return the journal from `dump`'s bytes; an empty one if they are not readable."""
        try:
            value: dict[str, Any] = json.loads(content)
            ended = {digest: FatalLoad(**entry) for digest, entry in value["ended"].items()}
            return cls(str(value["digest"]), float(value["began_at"]), ended)
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def dump(self) -> bytes:
        """Return the journal as bytes."""
        return json.dumps(asdict(self)).encode()

    def note_death(self, now: float, *, limit_seconds: float) -> None:
        """Record that the last process died during its load.

        A first death may have any reason, so the load is repeated at once. There is a pause after a second death, and
        after a load that took all of `limit_seconds`. The pause grows with the time that the deaths cost.
        """
        if not self.digest:
            return
        ended = self.ended.setdefault(self.digest, FatalLoad())
        ended.workers += 1
        passed = now - self.began_at
        took = max(1.0, passed) if passed <= limit_seconds + REPLACED_SECONDS else 1.0
        if ended.workers > 1 or took >= limit_seconds:
            ended.retry_at = now + min(MAX_PAUSE_SECONDS, took * 2.0 ** min(ended.workers, 10))
        while len(self.ended) > MAX_KEPT:
            del self.ended[next(iter(self.ended))]
        self.digest = ""


class LoadQueue:
    """The lock file at which the workers of a machine queue."""

    def __init__(self, path: Path, *, limit_seconds: float) -> None:
        """Queue at `path`; a worker that is blocked for `limit_seconds` is ended."""
        self._path = path
        self._limit_seconds = limit_seconds

    @contextmanager
    def turn(self, digest: str) -> Iterator[None]:
        """Wait for the turn to load the artifact with `digest`.

        Raises BrokenArtifact if this load has ended workers, and its pause has not passed.
        """
        descriptor = self._open()
        if descriptor is None:
            yield
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            journal = Journal.parse(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
            journal.note_death(time.time(), limit_seconds=self._limit_seconds)
            self._require_no_pause(descriptor, journal, digest)
            journal.digest, journal.began_at = digest, time.time()
            _write(descriptor, journal)
            try:
                yield
            finally:
                journal.digest = ""
                journal.ended.pop(digest, None)
                _write(descriptor, journal)
        finally:
            os.close(descriptor)

    def _open(self) -> int | None:
        """Return the file's descriptor; None on a full disk, which allows no queue."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            log.warning("load_not_queued", path=str(self._path), reason=str(error))
            return None

    def _require_no_pause(self, descriptor: int, journal: Journal, digest: str) -> None:
        ended = journal.ended.get(digest, FatalLoad())
        left = ended.retry_at - time.time()
        if left > 0:
            _write(descriptor, journal)
            raise BrokenArtifact(
                f"Loading it has ended {ended.workers} worker{'s' if ended.workers > 1 else ''} of this machine in a "
                f"row. It is retried in {left:.0f} s; the log says where the last one hung. Activate "
                "another version."
            )


def _write(descriptor: int, journal: Journal) -> None:
    # A full disk prevents the journal, but must not prevent loads.
    with suppress(OSError):
        content = journal.dump()
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
