"""A replica's copy of the desired state, updated at each poll."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import structlog
from django.db import DatabaseError

from models_registry import services
from models_registry.agent.desired_state_cache import DesiredStateCache
from models_registry.agent.pace import Pace
from models_registry.inference.desired_version import DesiredVersion, VersionDetails
from models_registry.services.desired_state import DesiredState

log = structlog.get_logger(__name__)

# A restored backup, or a direct edit of the database, increments no revision. So after this number of polls the sums
# over all models are compared, and all models if the sums differ.
POLLS_PER_SUMS = 5
# All models are also compared regularly, less often if there are many.
POLLS_PER_COMPARISON = 30


@dataclass(frozen=True, slots=True)
class _SumsAt:
    revision: int
    sums: services.DesiredStateSums


class DesiredStateReader:
    """Reads changes, and stores them on this machine for a start without the database."""

    def __init__(self, cache_path: Path, *, poll_seconds: float) -> None:
        """Store the desired state at `cache_path`."""
        self.state = DesiredState()
        self.has_read = False
        self._cache = DesiredStateCache(cache_path)
        self._sums_seconds = POLLS_PER_SUMS * poll_seconds
        self._comparison = Pace(POLLS_PER_COMPARISON * poll_seconds)
        self._looked: int | None = None
        self._sums: _SumsAt | None = None
        self._sum_at = 0.0

    def look(self) -> bool:
        """Read the revision for the next poll, and return whether it has changed; callable from another thread.

        Raises DatabaseError.
        """
        looked = services.read_revision()
        self._looked = looked
        return looked != self.state.revision

    def poll(self) -> set[str]:
        """Return the models whose desired version has changed or been removed.

        The cost depends only on the number of changes. Raises DatabaseError.
        """
        if self._comparison.is_due:
            return self._compare()
        revision = self._take_revision()
        if revision < self.state.revision or (revision == self.state.revision and self._is_edited()):
            return self._compare()
        if revision == self.state.revision:
            return set()
        changes = services.read_changes(self.state.revision)
        changed = {name for name, desired in changes.models.items() if self.state.of(name) != desired}
        for name in changed:
            self.state.put(name, changes.models[name])
        self.state.first, self.state.revision = changes.first, changes.revision
        self._keep(changed)
        return changed

    def recall(self) -> set[str]:
        """Use this machine's stored desired state if none was read from the database; return its models."""
        kept = None if self.has_read else self._cache.recall()
        if kept is None:
            return set()
        self.has_read = True
        self.state = kept
        log.warning("desired_state_restored", models=sorted(kept), next="It is read again when the database is back.")
        return kept.names()

    def is_current(self, desired: DesiredVersion) -> bool:
        """Return whether a version is still the desired one; true if the database is unavailable."""
        try:
            if services.read_revision() == self.state.revision:
                return True
            return desired in services.read_desired_model(desired.model_id).versions()
        except DatabaseError:
            return True

    def details(self, desired: DesiredVersion) -> VersionDetails | None:
        """Return the data to load a version; None if it no longer exists, or is neither read nor stored here."""
        try:
            details = services.read_details(desired)
        except DatabaseError:
            return self._cache.recall_details(desired)
        if details is not None:
            self._cache.keep_details(desired, details)
        return details

    def _compare(self) -> set[str]:
        """Read the desired version of every model, and return those that differ."""
        with self._comparison.measured():
            # Read before the models: a change in between only causes another comparison.
            sums = services.read_desired_state_sums()
            state = services.read_desired_state()
            names = self.state.names() | state.names()
            changed = {name for name in names if self.state.of(name) != state.of(name)}
        is_first = not self.has_read
        self.has_read = True
        self._looked = None
        self.state = state
        self._keep_sums(sums)
        if is_first:
            self._cache.keep_all(state)
        else:
            self._keep(changed)
        return changed

    def _take_revision(self) -> int:
        """Return the revision read since the last poll, else read the current one."""
        looked, self._looked = self._looked, None
        return services.read_revision() if looked is None else looked

    def _is_edited(self) -> bool:
        """Return whether the sums over all models have changed without a new revision."""
        if time.monotonic() < self._sum_at:
            return False
        before = self._sums
        now = self._keep_sums(services.read_desired_state_sums())
        return before is not None and before.revision == now.revision and before != now

    def _keep_sums(self, sums: services.DesiredStateSums) -> _SumsAt:
        self._sums = _SumsAt(self.state.revision, sums)
        self._sum_at = time.monotonic() + self._sums_seconds
        return self._sums

    def _keep(self, changed: set[str]) -> None:
        if changed:
            self._cache.keep({name: self.state.of(name) for name in changed}, first=self.state.first)
