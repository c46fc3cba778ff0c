"""A replica's copy of the desired state, brought up to date at each poll."""

from __future__ import annotations

import time
from pathlib import Path

import structlog
from django.db import DatabaseError

from models_registry import services
from models_registry.agent.desired_state_cache import DesiredStateCache
from models_registry.inference.desired_version import DesiredVersion, VersionDetails
from models_registry.services.desired_state import DesiredState

log = structlog.get_logger(__name__)

# All models are compared once in this number of polls: a restored backup, or an edit past the services, moves no
# revision.
POLLS_PER_COMPARISON = 5
# With many models a comparison takes long: the next one comes later, so that they take no larger share of the
# processor's time, and at the latest after this long.
MAX_COMPARISON_SHARE = 0.002
MAX_COMPARISON_SECONDS = 60.0


class DesiredStateReader:
    """Reads what has changed; what was read is kept on the machine, for a start while the database is unavailable."""

    def __init__(self, cache_path: Path, *, poll_seconds: float) -> None:
        """Keep what is read at `cache_path`."""
        self.state = DesiredState()
        self.has_read = False
        self._cache = DesiredStateCache(cache_path)
        self._comparison_seconds = POLLS_PER_COMPARISON * poll_seconds
        self._compare_at = 0.0

    def poll(self) -> set[str]:
        """Return the models whose desired version has changed, or that have none any more.

        The cost depends on how many have changed alone. Raises DatabaseError.
        """
        if time.monotonic() >= self._compare_at:
            return self._compare()
        revision = services.read_revision()
        if revision == self.state.revision:
            return set()
        if revision < self.state.revision:
            return self._compare()
        changes = services.read_changes(self.state.revision)
        changed = {name for name, desired in changes.models.items() if self.state.of(name) != desired}
        for name in changed:
            self.state.put(name, changes.models[name])
        self.state.first, self.state.revision = changes.first, changes.revision
        self._keep(changed)
        return changed

    def recall(self) -> set[str]:
        """Take what is kept on this machine for the desired state, if none was read; return the models in it."""
        kept = None if self.has_read else self._cache.recall()
        if kept is None:
            return set()
        self.has_read = True
        self.state = kept
        log.warning("desired_state_restored", models=sorted(kept), next="It is read again when the database is back.")
        return kept.names()

    def is_current(self, desired: DesiredVersion) -> bool:
        """Return whether a version is still the desired one; if the database is unavailable, it is."""
        try:
            if services.read_revision() == self.state.revision:
                return True
            return desired in services.read_desired_model(desired.model_id).versions()
        except DatabaseError:
            return True

    def details(self, desired: DesiredVersion) -> VersionDetails | None:
        """Return what is needed to load a version; None if it is gone, or neither read nor kept here."""
        try:
            details = services.read_details(desired)
        except DatabaseError:
            return self._cache.recall_details(desired)
        if details is not None:
            self._cache.keep_details(desired, details)
        return details

    def _compare(self) -> set[str]:
        """Read the desired version of every model, and return those that differ."""
        began = time.thread_time()
        state = services.read_desired_state()
        names = self.state.names() | state.names()
        changed = {name for name in names if self.state.of(name) != state.of(name)}
        is_first = not self.has_read
        self.has_read = True
        pause = min(MAX_COMPARISON_SECONDS, (time.thread_time() - began) / MAX_COMPARISON_SHARE)
        self._compare_at = time.monotonic() + max(self._comparison_seconds, pause)
        self.state = state
        if is_first:
            self._cache.keep_all(state)
        else:
            self._keep(changed)
        return changed

    def _keep(self, changed: set[str]) -> None:
        if changed:
            self._cache.keep({name: self.state.of(name) for name in changed}, first=self.state.first)
