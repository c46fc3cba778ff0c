"""Rate limits of API keys: one token bucket per key, shared by the workers of a machine."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
import weakref
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

# Tokens, time of the last update (seconds since boot), and a mark that the file is initialized.
_STATE = struct.Struct("ddd")
_WRITTEN = 1.0


class SharedBucket:
    """A token bucket that refills evenly to `per_minute` tokens; each request takes one token.

    The state is in a small file, since workers get connections unevenly. With a share per worker, a client with one
    connection would be refused too early. The file's lock is held for microseconds. The file is read and written, not
    mapped: on a full disk, access to a mapped file kills the process. If the file cannot be used, each worker counts in
    its own memory.
    """

    def __init__(self, path: Path, *, per_minute: float) -> None:
        """Share the bucket at `path`; the disk is first used by the first request."""
        self.per_minute = per_minute
        self._path = path
        self._capacity = max(1.0, per_minute)
        self._per_second = per_minute / 60
        self._file: _File | None = None
        self._own = bytes(_STATE.size)
        self._is_shared = True
        self._guard = threading.Lock()

    def take(self) -> float:
        """Take a token and return 0; without a token, return the seconds until there is one."""
        with self._guard:  # flock excludes other processes, but not other threads
            try:
                wait = self._take_shared()
            except OSError as error:
                self._file = None
                self._note_sharing(error)
                wait, self._own = self._taken(self._own)
            else:
                self._note_sharing(None)
            return wait

    def _take_shared(self) -> float:
        if self._file is None or self._file.is_gone():
            self._file = _File(self._path)
        descriptor = self._file.descriptor
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            wait, state = self._taken(os.pread(descriptor, _STATE.size, 0))
            os.pwrite(descriptor, state, 0)
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        # Keeps the state if the file is lost.
        self._own = state
        return wait

    def _taken(self, state: bytes) -> tuple[float, bytes]:
        """Return the wait in seconds, and `state` after a token is taken."""
        now = time.monotonic()
        tokens, looked_at, mark = _STATE.unpack(state) if len(state) == _STATE.size else (0.0, 0.0, 0.0)
        if mark != _WRITTEN or looked_at > now:  # new, or from before the machine's last boot
            tokens = self._capacity
        else:
            tokens = min(self._capacity, tokens + (now - looked_at) * self._per_second)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._per_second
        return wait, _STATE.pack(tokens if wait else tokens - 1, now, _WRITTEN)

    def _note_sharing(self, error: OSError | None) -> None:
        """Log once that the workers can no longer share the count, and once that they can again."""
        if error is not None and self._is_shared:
            log.warning(
                "rate_not_shared",
                path=str(self._path),
                reason=str(error),
                next="Each worker counts for itself until the directory can be written.",
            )
        self._is_shared = error is None


class _File:
    """An open file that closes when its last user ends."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        weakref.finalize(self, os.close, self.descriptor)

    def is_gone(self) -> bool:
        """Return whether the file was removed: another worker would create a new one."""
        return os.fstat(self.descriptor).st_nlink == 0
