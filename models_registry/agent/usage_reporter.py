"""Writes this replica's usage once a minute, and deletes expired windows of all replicas."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import structlog

from models_registry import services
from models_registry.agent.database_thread import DatabaseThread, PauseEvents
from models_registry.monitoring.usage import Usage, VersionKey, write_usage
from models_registry.monitoring.usage_retention import keep_in_bounds

log = structlog.get_logger(__name__)

ROLL_UP = "usage"
ROLL_UP_SECONDS = 300.0
# Minutes that are kept while the database is unavailable; above this number, the oldest are lost.
MAX_WAITING_MINUTES = 120
EVENTS = PauseEvents("usage_paused", "usage_resumed", next="The minutes wait, and are written later.")

UsageSource = Callable[[], Mapping[VersionKey, Usage]]


def minute_of(moment: datetime) -> datetime:
    """Return the start of the minute of `moment`."""
    return moment.replace(second=0, microsecond=0)


class UsageReporter:
    """Writes the windows in its own thread, because a validation in the maintenance loop takes minutes."""

    def __init__(self, replica: str, source: UsageSource) -> None:
        """Report for `replica` the counts of `source` by version since the process started."""
        self._replica = replica
        self._source = source
        self._written: Mapping[VersionKey, Usage] = {}
        self._minute = minute_of(datetime.now(UTC))
        self._waiting: deque[tuple[datetime, dict[VersionKey, Usage]]] = deque()
        self._thread = DatabaseThread(
            "usage", self._step, seconds=self._seconds_to_next_minute, last_step=self._write_all, events=EVENTS
        )

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Write the current minute, and stop."""
        self._thread.stop()

    def report(self, now: datetime) -> None:
        """Write the minutes that have ended; counts since the last call belong to the earliest of them.

        Raises DatabaseError if they cannot be written; they wait for the next call.
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

    def _seconds_to_next_minute(self) -> float:
        # One second later, so that the requests of the last second are included.
        due = self._minute + timedelta(seconds=61)
        return max(1.0, (due - datetime.now(UTC)).total_seconds())

    def _step(self) -> None:
        self.report(datetime.now(UTC))
        self._keep_in_bounds()

    def _write_all(self) -> None:
        self._close_minute(minute_of(datetime.now(UTC)) + timedelta(minutes=1))
        self._write_waiting()

    def _keep_in_bounds(self) -> None:
        if services.claim_lease(ROLL_UP, holder=self._replica, seconds=ROLL_UP_SECONDS):
            keep_in_bounds(datetime.now(UTC))
            services.finish_lease(ROLL_UP, holder=self._replica, next_in_seconds=ROLL_UP_SECONDS)
