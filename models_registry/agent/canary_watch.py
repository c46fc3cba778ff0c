"""Starts canaries, and ends or promotes running ones."""

from __future__ import annotations

import structlog

from models_registry import services
from models_registry.agent.database_thread import DatabaseThread, PauseEvents
from models_registry.agent.lookout import Lookout
from models_registry.inference.runtime import Runtime
from models_registry.services.canary_watch import NotPromoted

log = structlog.get_logger(__name__)

LEASE = "canaries"
# Longer than a run takes; after this time another replica replaces a dead lease holder.
LEASE_SECONDS = 30.0
# Long, because the lookout wakes the loop for a candidate.
IDLE_SECONDS = 60.0
EVENTS = PauseEvents("canaries_paused", "canaries_resumed", next="It is retried regularly.")


class CanaryWatch:
    """Runs next to the maintenance loop, whose validations take minutes: one replica at a time checks the canaries."""

    def __init__(self, runtime: Runtime, *, holder: str, look_seconds: float, lookout: Lookout) -> None:
        """Check every `look_seconds` while `runtime` holds a candidate or waits for one."""
        self._runtime = runtime
        self._holder = holder
        self._look_seconds = look_seconds
        # The last run's failed promotions: each is logged once, not every second.
        self._not_promoted: frozenset[NotPromoted] = frozenset()
        self._thread = DatabaseThread("canary_watch", self.look, seconds=IDLE_SECONDS, events=EVENTS)
        lookout.add(self._has_candidate, seconds=look_seconds, then=self._thread.wake, on_error=self._thread.wake)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current check."""
        self._thread.stop(join_seconds=0)

    def look(self) -> None:
        """Check the canaries if it is this replica's turn; log a failed promotion once until its reason changes."""
        if self._has_candidate() and services.claim_lease(LEASE, holder=self._holder, seconds=LEASE_SECONDS):
            found = services.watch_canaries()
            for item in found - self._not_promoted:
                log.warning("canary_not_promoted", model=item.model, reason=item.reason)
            self._not_promoted = found
            services.finish_lease(LEASE, holder=self._holder, next_in_seconds=self._look_seconds)

    def _has_candidate(self) -> bool:
        snapshot = self._runtime.snapshot
        return bool(snapshot.others or snapshot.awaited)
