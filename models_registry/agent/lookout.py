"""The frequent database queries of a worker, most of which find nothing: in one thread, over one connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from django.db import DatabaseError, connection

from models_registry.agent.database_thread import DatabaseThread

log = structlog.get_logger(__name__)

# Queries that are due within this time run together.
TOGETHER_SECONDS = 0.1


def _nothing() -> None:
    """Do nothing."""


@dataclass(slots=True)
class _Look:
    ask: Callable[[], bool]
    seconds: Callable[[], float]
    then: Callable[[], None]
    on_error: Callable[[], None]
    due_at: float = 0.0


class Lookout:
    """Runs short queries, each at its own interval, and wakes the loops that have work.

    The loops have their own threads, in which a validation or a load may take minutes. Idle loops make no queries.
    """

    def __init__(self) -> None:
        """Start without queries."""
        self._looks: list[_Look] = []
        self._thread = DatabaseThread("lookout", self._step, seconds=self._pause_seconds)

    def add(
        self,
        ask: Callable[[], bool],
        *,
        seconds: float | Callable[[], float],
        then: Callable[[], None] = _nothing,
        on_error: Callable[[], None] = _nothing,
    ) -> None:
        """Run a query every `seconds`, and call `then` after each true result.

        `on_error` is called after a query that failed or could not run. While the connection works, a query that
        fails does not stop the others.
        """
        interval = seconds if callable(seconds) else lambda: seconds
        self._looks.append(_Look(ask, interval, then, on_error))

    def start(self) -> None:
        """Start; each query first runs after its interval."""
        for look in self._looks:
            look.due_at = time.monotonic() + look.seconds()
        self._thread.start()

    def stop(self) -> None:
        """Stop."""
        self._thread.stop()

    def _pause_seconds(self) -> float:
        return max(0.0, min(look.due_at for look in self._looks) - time.monotonic()) if self._looks else 60.0

    def _step(self) -> None:
        now = time.monotonic()
        due = [look for look in self._looks if look.due_at <= now + TOGETHER_SECONDS]
        for look in due:
            # From the due time, so that queries with the same interval stay together.
            look.due_at = max(now, look.due_at) + look.seconds()
        failed: DatabaseError | None = None
        for place, look in enumerate(due):
            try:
                if look.ask():
                    look.then()
            except DatabaseError as error:
                failed = error
                if not _is_connected():
                    for missed in due[place:]:
                        missed.on_error()
                    break
                look.on_error()
            except Exception:
                # The other queries do not share the fault of this one.
                log.exception("look_failed")
        if failed is not None:
            raise failed


def _is_connected() -> bool:
    """Return whether the connection works: then only one query failed, not the database."""
    return connection.connection is not None and connection.is_usable()
