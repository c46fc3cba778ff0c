"""A background loop whose steps use the database, which may be unavailable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from django.db import DatabaseError, connection

from models_registry.agent.idle_connections import OfProcess
from models_registry.agent.periodic import JOIN_SECONDS, PeriodicThread

log = structlog.get_logger(__name__)

# The longest pause before a loop retries an unavailable database.
RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PauseEvents:
    """The events to log once when the database becomes unavailable, and once when it is available again."""

    paused: str
    resumed: str
    next: str


class DatabaseThread(PeriodicThread):
    """Has a connection during a step; closes a broken one, and repeats the step after the next pause."""

    def __init__(
        self,
        name: str,
        step: Callable[[], None],
        *,
        seconds: float | Callable[[], float],
        is_eager: bool = False,
        last_step: Callable[[], None] | None = None,
        events: PauseEvents | None = None,
    ) -> None:
        """Start nothing yet; without `events`, an unavailable database is logged only at the level debug."""
        super().__init__(name, step, seconds=seconds, is_eager=is_eager, last_step=last_step)
        self._events = events
        self._idle = OfProcess.connections
        self._is_paused = False

    def stop(self, *, join_seconds: float = JOIN_SECONDS) -> bool:
        """Stop after the current step; wait at most `join_seconds` for it. Return whether the thread has ended."""
        # The last step is not repeated, so its connection is tested first.
        self._idle.distrust()
        return super().stop(join_seconds=join_seconds)

    def _run(self) -> None:
        with self._idle.kept():
            super()._run()

    def _next_pause(self) -> float:
        pause = super()._next_pause()
        return min(pause, RETRY_SECONDS) if self._is_paused else pause

    def _attempt(self, step: Callable[[], None]) -> None:
        super()._attempt(lambda: self._with_connection(step))

    def _with_connection(self, step: Callable[[], None]) -> None:
        with self._idle.lend():
            try:
                step()
                self._note_database(None)
            except DatabaseError as error:
                self._note_database(error)
                connection.close()
                self._idle.distrust()

    def _note_database(self, error: DatabaseError | None) -> None:
        events = self._events
        if events is None and error is not None:
            log.debug("database_away", thread=self.name, error=str(error).strip())
        if events is not None and error is not None and not self._is_paused:
            log.error(events.paused, error=str(error).strip(), next=events.next)
        if events is not None and error is None and self._is_paused:
            log.info(events.resumed)
        self._is_paused = error is not None
