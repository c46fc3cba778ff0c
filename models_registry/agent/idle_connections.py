"""Keeps the database connections that no loop of this process uses, for the next step of any loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

# The lookout, the heartbeat, the keys and the reconciler step every two seconds, often at the same time. A further step
# at that time opens a connection of its own, which is closed after it.
MAX_IDLE = 4
# A connection that was used within this time is not tested before its next use. If the server has restarted since, a
# step fails, its loop repeats it, and all other connections are tested.
TRUSTED_SECONDS = 10.0


class IdleConnections:
    """Lends a connection for a step, so that a worker has one connection per running step, not per loop."""

    def __init__(self) -> None:
        """Start without connections."""
        # Each with the time of its last use.
        self._idle: list[tuple[BaseDatabaseWrapper, float]] = []
        self._users = 0
        self._distrusted_at = 0.0
        self._guard = threading.Lock()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep connections for later steps, until the last thread has left this block."""
        with self._guard:
            self._users += 1
        try:
            yield
        finally:
            with self._guard:
                self._users -= 1
                ended = [] if self._users else self._idle
                if ended:
                    self._idle = []
            for one, _ in ended:
                one.close()

    def distrust(self) -> None:
        """Test each idle connection before its next use: one of them has failed."""
        self._distrusted_at = time.monotonic()

    @contextmanager
    def lend(self) -> Iterator[None]:
        """Lend this thread a Django connection for a step; reopen it if it is broken or too old."""
        with self._guard:
            one, used_at = self._idle.pop() if self._idle else (None, 0.0)
        if one is None:
            one = connections.create_connection(DEFAULT_DB_ALIAS)
            # Only one thread at a time uses it.
            one.inc_thread_sharing()
        connections[DEFAULT_DB_ALIAS] = one
        try:
            one.close_if_unusable_or_obsolete()
            if used_at > max(time.monotonic() - TRUSTED_SECONDS, self._distrusted_at):
                one.health_check_done = True  # type: ignore[attr-defined]  # the stubs omit it
            yield
        finally:
            del connections[DEFAULT_DB_ALIAS]
            self._take_back(one)

    def _take_back(self, one: BaseDatabaseWrapper) -> None:
        # SQLite connections are not kept: the file may be replaced.
        one.close_if_unusable_or_obsolete()
        if one.connection is None:
            return
        with self._guard:
            is_kept = bool(self._users) and len(self._idle) < MAX_IDLE
            if is_kept:
                self._idle.append((one, time.monotonic()))
        if not is_kept:
            one.close()


class OfProcess:
    """The connections that the loops of this process share; a test or a benchmark can replace them."""

    connections = IdleConnections()
