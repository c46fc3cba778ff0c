"""Connections to the database that no loop of this process uses now: the next loop takes one of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

# Most steps are short and seldom overlap. One that overlaps opens a connection, which is closed after it.
MAX_IDLE = 2


class IdleConnections:
    """Lends a connection for a step, so that a worker holds as many as it has steps in progress, not loops."""

    def __init__(self) -> None:
        """Keep none yet, and at most `max_idle`."""
        self.max_idle = MAX_IDLE
        self._idle: list[BaseDatabaseWrapper] = []
        self._users = 0
        self._guard = threading.Lock()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep connections for the next step, until the last thread has left this block."""
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
            for one in ended:
                one.close()

    @contextmanager
    def lend(self) -> Iterator[None]:
        """Give this thread a connection of Django's for a step; one that is broken or too old is opened anew."""
        with self._guard:
            one = self._idle.pop() if self._idle else None
        if one is None:
            one = connections.create_connection(DEFAULT_DB_ALIAS)
            # One thread at a time has it.
            one.inc_thread_sharing()
        connections[DEFAULT_DB_ALIAS] = one
        try:
            one.close_if_unusable_or_obsolete()
            yield
        finally:
            del connections[DEFAULT_DB_ALIAS]
            self._take_back(one)

    def _take_back(self, one: BaseDatabaseWrapper) -> None:
        # SQLite's are not kept at all: the file may be replaced.
        one.close_if_unusable_or_obsolete()
        if one.connection is None:
            return
        with self._guard:
            is_kept = bool(self._users) and len(self._idle) < self.max_idle
            if is_kept:
                self._idle.append(one)
        if not is_kept:
            one.close()


idle_connections = IdleConnections()
