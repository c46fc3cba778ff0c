"""Callers who have been hung up on, until they have read why."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlapi.connections import Connection

# Who has been hung up on may take so long to read the answer, and send so much meanwhile; no more than so many may.
LINGER_SECONDS = 2.0
LINGER_BYTES = 65_536
MOST_LINGERING = 128


@dataclass(slots=True)
class _Lingerer:
    until: float
    came_bytes: int = 0


class Lingering:
    """Connections that are written to no more, and read from for a moment. For one thread.

    A socket that is closed with something unread takes the answer with it (RFC 9112, 9.6).
    """

    def __init__(self, end: Callable[[Connection], None]) -> None:
        """Have `end` called for each when its moment is over."""
        self._end = end
        self._lingerers: dict[Connection, _Lingerer] = {}  # the longest first

    def enter(self, conn: Connection) -> None:
        """Let `conn` linger."""
        self._lingerers[conn] = _Lingerer(time.monotonic() + LINGER_SECONDS)

    def take(self, conn: Connection, client: Any) -> None:
        """Take what has come, and end `conn` where that is the end, or too much."""
        try:
            came = len(client.recv(LINGER_BYTES))
        except BlockingIOError:
            return
        except OSError:
            came = 0
        lingerer = self._lingerers[conn]
        lingerer.came_bytes += came
        if not came or lingerer.came_bytes > LINGER_BYTES:
            self._let_go(conn)

    def look_after(self) -> None:
        """End those who have lingered for long enough, and the oldest where they are many.

        After a round, not amid it: who is ended might be among those who are ready in it.
        """
        while self._lingerers:
            conn, lingerer = next(iter(self._lingerers.items()))
            if lingerer.until > time.monotonic() and len(self._lingerers) <= MOST_LINGERING:
                return
            self._let_go(conn)

    def _let_go(self, conn: Connection) -> None:
        del self._lingerers[conn]
        self._end(conn)
