"""Maintenance that one replica at a time runs: discovery, validation, replays, drift checks."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import structlog
from django.conf import settings

from models_registry import services
from models_registry.agent.database_thread import DatabaseThread, PauseEvents
from models_registry.agent.fleet import Fleet
from models_registry.agent.lookout import Lookout
from models_registry.errors import RegistryError, StorageError

log = structlog.get_logger(__name__)

DISCOVERY = "discovery"
MLFLOW = "mlflow"
DRIFT = "drift"
# Longer than a listing takes; after this time another replica replaces a dead lease holder.
DISCOVERY_LEASE_SECONDS = 120.0
# Longer than the import of a model from another registry takes.
MLFLOW_LEASE_SECONDS = 900.0
# Longer than the drift check of one version takes.
DRIFT_LEASE_SECONDS = 900.0
# The interval at which one replica checks whether the drift check of a version is due.
DRIFT_LOOK_SECONDS = 15.0
# Longest time between two queries of the leases, because the holder of a lease may release it early.
MAX_LEASE_SECONDS = 5.0
# Long, because the lookout wakes the loop for work.
IDLE_SECONDS = 60.0
UNFINISHED = "An unexpected error ended it; the service's log says which."
EVENTS = PauseEvents("housekeeping_paused", "housekeeping_resumed", next="It is retried regularly.")


class MaintenanceLoop:
    """A separate loop, so that a long validation does not delay the reconciler."""

    def __init__(
        self,
        *,
        holder: str,
        discovery_seconds: float,
        listing_seconds: float | None = None,
        look_seconds: float,
        slot: Callable[[], AbstractContextManager[bool]] = lambda: nullcontext(True),
        lookout: Lookout | None = None,
        fleet: Fleet | None = None,
    ) -> None:
        """Import from other registries every `discovery_seconds`; `lookout` checks for work every `look_seconds`.

        The storage is listed every `listing_seconds`, by default every `discovery_seconds`. A validation runs within a
        `slot`, which tells whether there is enough memory. In a large `fleet`, each replica checks less often.
        """
        self._slot = slot
        self._fleet = fleet or Fleet()
        self._holder = holder
        self._discovery_seconds = discovery_seconds
        self._listing_seconds = discovery_seconds if listing_seconds is None else listing_seconds
        self._ignored: set[str] = set()
        self._leases = [DISCOVERY, DRIFT, *([MLFLOW] if settings.MODELS_MLFLOW_URI else [])]
        self._leases_at = 0.0
        self._thread = DatabaseThread("maintenance", self.tend, seconds=IDLE_SECONDS, events=EVENTS)
        if lookout is not None:
            seconds = partial(self._fleet.pause_seconds, look_seconds)
            lookout.add(self.has_work, seconds=seconds, then=self.wake, on_error=self.wake)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current step; another replica repeats an interrupted validation."""
        self._thread.stop(join_seconds=0)

    def wake(self) -> None:
        """Look for a version to validate now."""
        self._thread.wake()

    def has_work(self) -> bool:
        """Return whether there is anything to do. Raises DatabaseError."""
        self._fleet.count()
        return self._is_lease_due() or services.has_version_to_check() or services.has_replay_to_run()

    def _is_lease_due(self) -> bool:
        """Return whether a shared task is due; a task with a known due time is not queried every second."""
        if time.monotonic() < self._leases_at:
            return False
        seconds = services.seconds_to_next_lease(self._leases)
        self._leases_at = time.monotonic() + min(MAX_LEASE_SECONDS, seconds)
        return not seconds

    def tend(self) -> None:
        """Run discovery if it is due, then validation, replays and drift checks, one after the other."""
        while not self._thread.is_stopping:
            if settings.MODELS_MLFLOW_URI and services.claim_lease(
                MLFLOW, holder=self._holder, seconds=MLFLOW_LEASE_SECONDS
            ):
                self._follow_mlflow()
            if services.claim_lease(DISCOVERY, holder=self._holder, seconds=DISCOVERY_LEASE_SECONDS):
                self._discover()
            if not self._check_one() and services.replay_next() is None and not self._check_drift():
                return

    def _check_drift(self) -> bool:
        """Check one version for drift, and return whether another may be due."""
        if not services.claim_lease(DRIFT, holder=self._holder, seconds=DRIFT_LEASE_SECONDS):
            return False
        was_due = False
        try:
            was_due = services.check_drift_next()
        finally:
            # Also after a check that failed: the other versions do not wait for the end of the lease.
            services.finish_lease(DRIFT, holder=self._holder, next_in_seconds=0.0 if was_due else DRIFT_LOOK_SECONDS)
        return was_due

    def _check_one(self) -> bool:
        """Validate the next version and return whether there was one; an unreadable version does not block the next."""
        try:
            with self._slot() as has_slot:
                return has_slot and services.check_next(self._holder) is not None
        except StorageError as error:
            log.error("check_postponed", reason=str(error))
            return True

    def _follow_mlflow(self) -> None:
        """Import the versions of other registries' aliases; failed imports are repeated."""
        # The note of a task that ends with an exception: the lease is then released at once, for another replica.
        note = UNFINISHED
        try:
            failures = services.follow_mlflow()
            for sentence in failures:
                log.error("mlflow_not_followed", reason=sentence)
            note = " ".join(failures)
        finally:
            services.finish_lease(MLFLOW, holder=self._holder, next_in_seconds=self._discovery_seconds, note=note)

    def _discover(self) -> None:
        note = UNFINISHED
        try:
            for sentence in services.discover().ignored:
                if sentence not in self._ignored:
                    self._ignored.add(sentence)
                    log.warning("file_ignored", reason=sentence)
            note = ""
        except RegistryError as error:
            note = str(error)
            log.error("discovery_failed", reason=note)
        finally:
            services.finish_lease(DISCOVERY, holder=self._holder, next_in_seconds=self._listing_seconds, note=note)
