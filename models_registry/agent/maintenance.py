"""The registry's housekeeping, done by one replica at a time: looking into the storage, and checking."""

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
from models_registry.errors import RegistryError, StorageError

log = structlog.get_logger(__name__)

DISCOVERY = "discovery"
MLFLOW = "mlflow"
# Longer than a listing takes; a holder that dies is followed after that.
DISCOVERY_LEASE_SECONDS = 120.0
# Longer than a model takes to come from another registry.
MLFLOW_LEASE_SECONDS = 900.0
# A version is due for a look at its drift every quarter of an hour: it needs no look each second if one is due.
DRIFT_LOOK_SECONDS = 5.0
EVENTS = PauseEvents("housekeeping_paused", "housekeeping_resumed", next="It is tried again at every look.")


class MaintenanceLoop:
    """A loop beside the reconciler, so that a long check delays no reload."""

    def __init__(
        self,
        *,
        holder: str,
        discovery_seconds: float,
        listing_seconds: float | None = None,
        look_seconds: float,
        slot: Callable[[], AbstractContextManager[bool]] = lambda: nullcontext(True),
        fleet: Fleet | None = None,
    ) -> None:
        """Follow other registries every `discovery_seconds`, look for something to check every `look_seconds`.

        The storage is listed every `listing_seconds`, by default as often as other registries are followed.
        A validation runs within a `slot`, which tells if there is enough memory. In a large `fleet`, each replica
        looks less often.
        """
        self._slot = slot
        self._fleet = fleet or Fleet()
        self._holder = holder
        self._discovery_seconds = discovery_seconds
        self._listing_seconds = discovery_seconds if listing_seconds is None else listing_seconds
        self._ignored: set[str] = set()
        self._drift_look_at = 0.0
        self._thread = DatabaseThread(
            "maintenance", self.tend, seconds=partial(self._fleet.pause_seconds, look_seconds), events=EVENTS
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step in progress; a check that is cut short is taken up by another replica."""
        self._thread.stop(join_seconds=0)

    def wake(self) -> None:
        """Look for something to check now."""
        self._thread.wake()

    def tend(self) -> None:
        """Discover if it is due, then check, replay and look for drift, one after the other."""
        self._fleet.count()
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
        """Check one version for drift, and return whether there may be another."""
        if time.monotonic() < self._drift_look_at:
            return False
        if services.check_drift_next():
            return True
        self._drift_look_at = time.monotonic() + DRIFT_LOOK_SECONDS
        return False

    def _check_one(self) -> bool:
        """Check the next version and return whether there was one; an unreadable one does not block the next."""
        try:
            with self._slot() as has_slot:
                return has_slot and services.check_next(self._holder) is not None
        except StorageError as error:
            log.error("check_postponed", reason=str(error))
            return True

    def _follow_mlflow(self) -> None:
        """Store what the aliases of other registries point to; what cannot be read is asked again."""
        failures = services.follow_mlflow()
        for sentence in failures:
            log.error("mlflow_not_followed", reason=sentence)
        services.finish_lease(
            MLFLOW, holder=self._holder, next_in_seconds=self._discovery_seconds, note=" ".join(failures)
        )

    def _discover(self) -> None:
        note = ""
        try:
            for sentence in services.discover().ignored:
                if sentence not in self._ignored:
                    self._ignored.add(sentence)
                    log.warning("file_ignored", reason=sentence)
        except RegistryError as error:
            note = str(error)
            log.error("discovery_failed", reason=note)
        services.finish_lease(DISCOVERY, holder=self._holder, next_in_seconds=self._listing_seconds, note=note)
