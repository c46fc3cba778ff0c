"""A replica's copy of the desired state, brought up to date at each poll."""

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

# A restored backup, or an edit past the services, moves no revision. So once in this number of polls the sums of all
# models are compared, and all models where they differ. All models are compared as often, too, but less often if there
# are many.
POLLS_PER_COMPARISON = 5


@dataclass(frozen=True, slots=True)
class _SumsAt:
    revision: int
    sums: services.DesiredStateSums


class DesiredStateReader:
    """Reads what has changed; what was read is kept on the machine, for a start while the database is unavailable."""

    def __init__(self, cache_path: Path, *, poll_seconds: float) -> None:
        """Keep what is read at `cache_path`."""
        self.state = DesiredState()
        self.has_read = False
        self._cache = DesiredStateCache(cache_path)
        self._comparison_seconds = POLLS_PER_COMPARISON * poll_seconds
        self._comparison = Pace(self._comparison_seconds)
        self._looked: int | None = None
        self._sums: _SumsAt | None = None
        self._sum_at = 0.0

    def look(self) -> bool:
        """Read the revision for the next poll, and return whether it has moved. Another thread may call it.

        Raises DatabaseError.
        """
        looked = services.read_revision()
        self._looked = looked
        return looked != self.state.revision

    def poll(self) -> set[str]:
        """Return the models whose desired version has changed, or that have none any more.

        The cost depends on how many have changed alone. Raises DatabaseError.
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
        with self._comparison.measured():
            # Before the models: a change in between only causes another comparison.
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
        """Return the revision that was looked at since the last poll, else the one of now."""
        looked, self._looked = self._looked, None
        return services.read_revision() if looked is None else looked

    def _is_edited(self) -> bool:
        """Return whether the sums of all models have changed without the revision."""
        if time.monotonic() < self._sum_at:
            return False
        before = self._sums
        now = self._keep_sums(services.read_desired_state_sums())
        return before is not None and before.revision == now.revision and before != now

    def _keep_sums(self, sums: services.DesiredStateSums) -> _SumsAt:
        self._sums = _SumsAt(self.state.revision, sums)
        self._sum_at = time.monotonic() + self._comparison_seconds
        return self._sums

    def _keep(self, changed: set[str]) -> None:
        if changed:
            self._cache.keep({name: self.state.of(name) for name in changed}, first=self.state.first)
