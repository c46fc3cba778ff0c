"""How often a key may be used: one bucket of tokens, shared by the workers of a machine."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
import time
import weakref
from pathlib import Path

# Tokens, the moment of the last look (the machine's clock since its start), and a mark that it was ever written.
_STATE = struct.Struct("ddd")
_WRITTEN = 1.0


class SharedBucket:
    """Refills evenly to `per_minute` tokens; each request takes one.

    It lies in a small mapped file: workers get connections unevenly, and a share for each of them would refuse a
    caller that keeps one connection. Its lock is held for microseconds.
    """

    def __init__(self, path: Path, *, per_minute: float) -> None:
        """Share the bucket at `path`."""
        self.per_minute = per_minute
        self._capacity = max(1.0, per_minute)
        self._per_second = per_minute / 60
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Not before the last request that holds this bucket is answered.
        weakref.finalize(self, os.close, self._descriptor)
        if os.fstat(self._descriptor).st_size < _STATE.size:
            os.ftruncate(self._descriptor, _STATE.size)
        self._map = mmap.mmap(self._descriptor, _STATE.size)
        self._guard = threading.Lock()

    def take(self) -> float:
        """Take a token and return 0; where none is left, return after how many seconds there is one."""
        with self._guard:  # flock tells processes apart, not threads
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                return self._take()
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _take(self) -> float:
        now = time.monotonic()
        tokens, looked_at, mark = _STATE.unpack_from(self._map)
        if mark != _WRITTEN or looked_at > now:  # new, or from before the machine's last start
            tokens = self._capacity
        else:
            tokens = min(self._capacity, tokens + (now - looked_at) * self._per_second)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._per_second
        _STATE.pack_into(self._map, 0, tokens if wait else tokens - 1, now, _WRITTEN)
        return wait
