"""Writes this replica's usage once a minute, and keeps the windows of all replicas in bounds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import structlog
from django.db import DatabaseError, close_old_connections, connection

from models_registry import services
from models_registry.monitoring.usage import Usage, VersionKey, write_usage
from models_registry.monitoring.usage_retention import keep_in_bounds

log = structlog.get_logger(__name__)

ROLL_UP = "usage"
ROLL_UP_SECONDS = 300.0
# Minutes that wait while the database is away. After that, the oldest are lost.
MAX_WAITING_MINUTES = 120

Source = Callable[[], Mapping[VersionKey, Usage]]


def minute_of(moment: datetime) -> datetime:
    """Return when the minute of `moment` began."""
    return moment.replace(second=0, microsecond=0)


class UsageReporter:
    """A thread beside the maintenance loop: a validation that runs there for minutes must not delay a window."""

    def __init__(self, replica: str, source: Source) -> None:
        """Report for `replica` what `source` has counted by version since the process began."""
        self._replica = replica
        self._source = source
        self._written: Mapping[VersionKey, Usage] = {}
        self._minute = minute_of(datetime.now(UTC))
        self._waiting: deque[tuple[datetime, dict[VersionKey, Usage]]] = deque()
        self._is_paused = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Write the minute under way, and end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def report(self, now: datetime) -> None:
        """Write the minutes that have ended; what was counted since the last call belongs to the earliest of them.

        Raises DatabaseError where they cannot be written; they wait for the next call.
        """
        if minute_of(now) > self._minute:
            self._close_minute(minute_of(now))
        self._write_waiting()

    def _close_minute(self, following: datetime) -> None:
        counted = self._source()
        grown = {key: usage - self._written.get(key, Usage()) for key, usage in counted.items()}
        found = {key: usage for key, usage in grown.items() if usage.requests}
        if found:
            self._waiting.append((self._minute, found))
        self._written, self._minute = counted, following
        if len(self._waiting) > MAX_WAITING_MINUTES:
            lost, _ = self._waiting.popleft()
            log.error("usage_lost", minute=lost.isoformat(), reason="The database has been away for too long.")

    def _write_waiting(self) -> None:
        while self._waiting:
            minute, usage = self._waiting[0]
            write_usage(self._replica, minute, usage)
            self._waiting.popleft()

    def _run(self) -> None:
        while True:
            now = datetime.now(UTC)
            # A second later, so that the requests of the last second are summed up.
            seconds = (self._minute + timedelta(seconds=61) - now).total_seconds()
            ending = self._stop.wait(max(1.0, seconds))
            try:
                close_old_connections()
                if ending:
                    self._close_minute(minute_of(datetime.now(UTC)) + timedelta(minutes=1))
                    self._write_waiting()
                else:
                    self.report(datetime.now(UTC))
                    self._keep_in_bounds()
                self._note_database(None)
            except DatabaseError as error:
                self._note_database(error)
                connection.close()
            except Exception:
                log.exception("usage_error", replica=self._replica)
            if ending:
                connection.close()
                return

    def _keep_in_bounds(self) -> None:
        if services.claim_lease(ROLL_UP, holder=self._replica, seconds=ROLL_UP_SECONDS):
            keep_in_bounds(datetime.now(UTC))
            services.finish_lease(ROLL_UP, holder=self._replica, next_in_seconds=ROLL_UP_SECONDS)

    def _note_database(self, error: DatabaseError | None) -> None:
        if error is not None and not self._is_paused:
            log.error("usage_paused", error=str(error).strip(), next="The minutes wait, and are written later.")
        if error is None and self._is_paused:
            log.info("usage_resumed")
        self._is_paused = error is not None
