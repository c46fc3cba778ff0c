"""Delivers events from the outbox, in its own thread, so that a slow receiver delays nothing else."""

from __future__ import annotations

from functools import partial

from models_registry import services
from models_registry.agent.database_thread import DatabaseThread, PauseEvents
from models_registry.agent.fleet import Fleet

LEASE = "rollouts"
LEASE_SECONDS = 30.0
LOOK_SECONDS = 1.0
EVENTS = PauseEvents("webhooks_paused", "webhooks_resumed", next="The events wait, and are sent later.")


class WebhookSender:
    """A loop that records the end of rollouts, and sends due events."""

    def __init__(self, *, holder: str, look_seconds: float = LOOK_SECONDS, fleet: Fleet | None = None) -> None:
        """Check every `look_seconds`, less often in a large `fleet`."""
        pause = partial((fleet or Fleet()).pause_seconds, look_seconds)
        self._holder = holder
        self._look_seconds = look_seconds
        self._thread = DatabaseThread("webhook_sender", self._look, seconds=pause, events=EVENTS)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current delivery; another replica, or the next start, sends the remaining events."""
        self._thread.stop(join_seconds=0)

    def _look(self) -> None:
        if services.claim_lease(LEASE, holder=self._holder, seconds=LEASE_SECONDS):
            services.note_rollouts()
            services.finish_lease(LEASE, holder=self._holder, next_in_seconds=self._look_seconds)
        services.deliver_due()
