"""A task that a replica repeats in a thread of its own, whatever the database does."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from django.db import DatabaseError, close_old_connections, connection

log = structlog.get_logger(__name__)


class BackgroundTask:
    """Calls a function again and again; an error of one call is logged, and the next call is made all the same."""

    def __init__(self, name: str, step: Callable[[], object], *, seconds: float) -> None:
        """Call `step` every `seconds`; `name` stands in the log."""
        self._name = name
        self._step = step
        self._seconds = seconds
        self._is_paused = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_stopping(self) -> bool:
        """Return whether the task should end."""
        return self._stop.is_set()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the call under way."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                close_old_connections()
                self._step()
                self._note_database(None)
            except DatabaseError as error:
                self._note_database(error)
                connection.close()
            except Exception:
                log.exception("maintenance_error", task=self._name)
        connection.close()

    def _note_database(self, error: DatabaseError | None) -> None:
        """Log that the task waits for the database, or goes on: once each."""
        if error is not None and not self._is_paused:
            log.error("housekeeping_paused", task=self._name, error=str(error).strip(), next="It is tried again.")
        if error is None and self._is_paused:
            log.info("housekeeping_resumed", task=self._name)
        self._is_paused = error is not None
