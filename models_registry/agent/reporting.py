"""A replica's reports to the registry: changed rows, and periodically all rows."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError

from models_registry import services
from models_registry.agent.failures import Failure
from models_registry.agent.pace import Pace
from models_registry.inference.desired_version import DesiredVersion
from models_registry.inference.runtime import LoadedModel
from models_registry.models import ReplicaState
from models_registry.services.rollout import ModelReport
from models_registry.storage import StorageIdentity

# While many models load, changes are reported together.
TOGETHER_SECONDS = 0.25
# All rows are reported again, because a restored database has lost some. With many models, this is rarer.
REPORT_AGAIN_SECONDS = 15.0


class Reporter:
    """Tracks the models with unreported changes; `describe` returns a model's report, None if it no longer exists."""

    def __init__(
        self,
        replica_id: str,
        *,
        started_at: datetime,
        storage: StorageIdentity,
        names: Callable[[], Iterable[str]],
        describe: Callable[[str], ModelReport | None],
    ) -> None:
        self._replica_id = replica_id
        self._started_at = started_at
        self._storage = storage
        self._names = names
        self._describe = describe
        self._changed: dict[str, None] = {}
        self._model_ids: dict[str, int] = {}
        self._next_at = 0.0
        self._all = Pace(REPORT_AGAIN_SECONDS)

    def note(self, name: str) -> None:
        """Mark a model for the next report."""
        self._changed[name] = None

    def note_unknown(self) -> None:
        """Mark everything for the next report: the registry does not know this replica. Callable from any thread."""
        self._all.hasten()

    def due_in(self) -> float | None:
        """Return the seconds until the next report; None without changes."""
        return max(0.0, self._next_at - time.monotonic()) if self._changed else None

    def report(self, *, at_once: bool) -> None:
        """Report changes, `at_once` or TOGETHER_SECONDS after the last report. Raises DatabaseError."""
        now = time.monotonic()
        if self._all.is_due:
            self._report_all()
        elif self._changed and (at_once or now >= self._next_at):
            self._report_changed()
        else:
            return
        self._next_at = time.monotonic() + TOGETHER_SECONDS

    def _report_all(self) -> None:
        with self._all.measured():
            services.report_replica(
                self._replica_id,
                host=socket.gethostname(),
                pid=os.getpid(),
                started_at=self._started_at,
                reports=self._described(self._names()),
                changed=True,
                storage=self._storage,
            )
        self._changed.clear()

    def _report_changed(self) -> None:
        reports = self._described(self._changed)
        known = {self._model_ids[name] for name in self._changed if name in self._model_ids}
        gone = sorted(known - {report.model_id for report in reports})
        try:
            services.write_reports(self._replica_id, reports, gone=gone)
        except IntegrityError:
            # The replica's or a model's row is missing: all rows are written again.
            self.note_unknown()
            raise
        self._changed.clear()

    def _described(self, names: Iterable[str]) -> list[ModelReport]:
        found = []
        for name in list(names):
            report = self._describe(name)
            if report is not None:
                self._model_ids[name] = report.model_id
                found.append(report)
        return found


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """A replica's state for a version, its start, and the reason of a failure."""

    state: ReplicaState
    since: datetime
    reason: str = ""


def progress_of(
    held: LoadedModel | None,
    *,
    failure: Failure | None,
    fetching_since: datetime | None,
    started_at: datetime,
    unloaded_since: datetime | None = None,
) -> LoadProgress:
    """Return the state of a replica for a version of which it holds `held`.

    `unloaded_since` is given for a version that loads at its next request.
    """
    if fetching_since is not None:
        return LoadProgress(ReplicaState.LOADING, fetching_since)
    if failure is not None:
        return LoadProgress(ReplicaState.FAILED, failure.since, failure.reason)
    if held is None and unloaded_since is not None:
        return LoadProgress(ReplicaState.UNLOADED, unloaded_since)
    if held is None:
        return LoadProgress(ReplicaState.LOADING, started_at)
    return LoadProgress(ReplicaState.SERVING, held.loaded_at)


def report_of(
    desired: DesiredVersion, held: LoadedModel | None, progress: LoadProgress, *, others: dict[str, dict[str, str]]
) -> ModelReport:
    """Return a replica's report of a model: the desired version, the loaded version, and the state."""
    return ModelReport(
        model_id=desired.model_id,
        state=str(progress.state),
        generation=held.generation if held else 0,
        desired_generation=desired.generation,
        serving_version_id=held.version_id if held else None,
        reason=progress.reason,
        runs=held.runs if held else {},
        since=progress.since,
        digest=held.digest if held else desired.digest if progress.state == ReplicaState.UNLOADED else "",
        others=others,
    )


def report_of_other(desired: DesiredVersion, progress: LoadProgress) -> dict[str, str]:
    """Return a replica's report of a version that is not the active one."""
    return {"state": str(progress.state), "digest": desired.digest, "reason": progress.reason}
