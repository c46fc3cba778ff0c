"""The actual state: the replicas' reports, and the progress of a rollout."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from models_registry.models import ModelVersion, RegisteredModel, Replica, ReplicaModel, ReplicaState, State
from models_registry.storage import StorageIdentity

FORGET_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ModelReport:
    """A replica's report about one model."""

    model_id: int
    state: str
    generation: int
    serving_version_id: int | None
    reason: str = ""
    desired_generation: int = 0
    runs: dict[str, Any] = field(default_factory=dict)
    since: datetime = field(default_factory=timezone.now)
    digest: str = ""
    # The other loaded versions, by number.
    others: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RolloutReplica:
    """One live replica in a rollout: the version `number` that it serves, and the start of its `state`.

    `is_current` is whether it serves the desired version, or loads it at the next request.
    """

    replica: str
    state: str
    number: int | None
    since: datetime | None
    reason: str
    runs: dict[str, Any]
    is_current: bool


@dataclass(frozen=True, slots=True)
class Rollout:
    """The state of the replicas for a model's desired version."""

    generation: int
    number: int | None
    replicas: tuple[RolloutReplica, ...]
    # False in a project with this app alone, whose own code loads the active version.
    has_service: bool = True

    @property
    def live(self) -> int:
        """Return the number of live replicas."""
        return len(self.replicas)

    @property
    def serving(self) -> int:
        """Return how many replicas serve the active version, loaded or loadable on demand.

        Without an active version: how many serve no version of the model.
        """
        return sum(replica.is_current for replica in self.replicas)

    @property
    def unloaded(self) -> int:
        """Return how many of these load it at the next request."""
        return sum(replica.is_current and replica.state == ReplicaState.UNLOADED for replica in self.replicas)

    @property
    def behind(self) -> int:
        """Return how many replicas do not serve it yet or, without an active version, have not unloaded the model."""
        return self.live - self.serving

    @property
    def failed(self) -> tuple[RolloutReplica, ...]:
        """Return the replicas that cannot load it."""
        return tuple(replica for replica in self.replicas if replica.state == ReplicaState.FAILED)

    @property
    def is_complete(self) -> bool:
        """Return whether every live replica serves the desired version."""
        return not self.behind

    @property
    def is_settled(self) -> bool:
        """Return whether the rollout is complete, and a project with the service has a live replica."""
        return self.is_complete and (self.live > 0 or not self.has_service)


def report_replica(
    replica_id: str,
    *,
    host: str,
    pid: int,
    started_at: datetime,
    reports: Iterable[ModelReport],
    changed: bool,
    storage: StorageIdentity | None = None,
) -> None:
    """Record that the replica is alive; if `changed`, also its reports about all models.

    A replica that the registry does not know yet is recorded with its `storage`.
    """
    now = timezone.now()
    updated = Replica.objects.filter(pk=replica_id).update(heartbeat_at=now)
    if updated and not changed:
        return
    with transaction.atomic():
        if not updated:
            used = storage or StorageIdentity("")
            replica = Replica(
                pk=replica_id,
                host=host,
                pid=pid,
                started_at=started_at,
                heartbeat_at=now,
                storage=used.address,
                storage_endpoint=used.endpoint,
            )
            Replica.objects.bulk_create(
                [replica],
                update_conflicts=True,
                unique_fields=["id"],
                update_fields=["host", "pid", "started_at", "heartbeat_at", "storage", "storage_endpoint"],
            )
            # Killed processes do not remove their rows: each successor does.
            _prune_replicas()
        recorded = {
            row[1]: row for row in ReplicaModel.objects.filter(replica_id=replica_id).values_list("pk", *_COMPARED)
        }
        said = list(reports)
        write_reports(
            replica_id, [report for report in said if recorded.get(report.model_id, ())[1:] != _compared(report)]
        )
        gone = recorded.keys() - {report.model_id for report in said}
        if gone:
            ReplicaModel.objects.filter(pk__in=[recorded[model_id][0] for model_id in gone]).delete()


def write_reports(replica_id: str, reports: Sequence[ModelReport], *, gone: Sequence[int] = ()) -> None:
    """Record reports of a known replica about some models, and unloaded models by ids in `gone`, in bulk."""
    if gone:
        ReplicaModel.objects.filter(replica_id=replica_id, model_id__in=gone).delete()
    rows = [
        ReplicaModel(replica_id=replica_id, **{name: getattr(report, name) for name in _REPORTED}) for report in reports
    ]
    ReplicaModel.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["replica", "model"],
        update_fields=[name for name in _REPORTED if name != "model_id"],
    )


_REPORTED = tuple(item.name for item in fields(ModelReport))
# `runs` only changes together with these fields, and is most of a row's size.
_COMPARED = tuple(name for name in _REPORTED if name != "runs")


def _compared(report: ModelReport) -> tuple[object, ...]:
    return tuple(getattr(report, name) for name in _COMPARED)


def beat(replica_id: str) -> bool:
    """Record that the replica is alive; return whether the registry knows it."""
    return bool(Replica.objects.filter(pk=replica_id).update(heartbeat_at=timezone.now()))


def has_service() -> bool:
    """Return whether this project contains the service, or another one reports to its database."""
    return apps.is_installed("mlapi") or Replica.objects.exists()


def count_live_replicas() -> int:
    """Return the number of live replicas."""
    return Replica.objects.live().count()


def forget_replica(replica_id: str) -> None:
    """Remove a replica that ends, and replicas that ended silently an hour ago; requeue its validation."""
    ModelVersion.objects.filter(state=State.CHECKING, claimed_by=replica_id).update(
        state=State.FOUND, claimed_by="", claimed_at=None
    )
    Replica.objects.filter(pk=replica_id).delete()
    _prune_replicas()


def _prune_replicas() -> None:
    """Remove the replicas, with their reports, that ended silently an hour ago."""
    Replica.objects.filter(heartbeat_at__lt=timezone.now() - FORGET_AFTER).delete()


def rollout(model: RegisteredModel) -> Rollout:
    """Return the state of every live replica for the model's desired version."""
    return _rollouts([model], ReplicaModel.objects.all())[0]


def rollouts(models: Sequence[RegisteredModel]) -> list[Rollout]:
    """Return the rollout of each model, without the serving forms, with three queries in total."""
    return _rollouts(models, ReplicaModel.objects.defer("runs", "others"))


def _rollouts(models: Sequence[RegisteredModel], reports: QuerySet[ReplicaModel]) -> list[Rollout]:
    live = list(Replica.objects.live())
    wanted = [model.active_version_id for model in models if model.active_version_id]
    active = ModelVersion.objects.only("number", "digest").in_bulk(wanted)
    rows: dict[int, dict[str, ReplicaModel]] = defaultdict(dict)
    found = reports.filter(model__in=[model.pk for model in models], replica__in=live)
    for row in found.annotate(serving_number=F("serving_version__number")):
        rows[row.model_id][row.replica_id] = row
    served = bool(live) or has_service()
    return [_rollout(model, active.get(model.active_version_id or 0), live, rows[model.pk], served) for model in models]


def _rollout(
    model: RegisteredModel,
    active: ModelVersion | None,
    live: list[Replica],
    rows: dict[str, ReplicaModel],
    has_service: bool,
) -> Rollout:
    digest = active.digest if active else ""
    replicas = tuple(_in_rollout(replica, rows.get(replica.pk), model, digest) for replica in live)
    return Rollout(model.generation, active.number if active else None, replicas, has_service)


def _in_rollout(replica: Replica, row: ReplicaModel | None, model: RegisteredModel, digest: str) -> RolloutReplica:
    if row is None:
        state = ReplicaState.LOADING if model.active_version_id else ReplicaState.SERVING
        return RolloutReplica(str(replica), state, None, None, "", {}, model.active_version_id is None)
    state = ReplicaState(row.state)
    # A replica of an earlier release reports no digest.
    is_current = row.digest in {"", digest} and (
        (
            state == ReplicaState.SERVING
            and row.generation == model.generation
            and row.serving_version_id == model.active_version_id
        )
        or (state == ReplicaState.UNLOADED and row.desired_generation == model.generation)
    )
    if not is_current and (
        state in {ReplicaState.SERVING, ReplicaState.UNLOADED} or row.desired_generation != model.generation
    ):
        # Its report, success or failure, is about an earlier desired version.
        state = ReplicaState.LOADING
    number: int | None = row.serving_number  # type: ignore[attr-defined]
    reason = row.reason if state == ReplicaState.FAILED else ""
    runs = {} if "runs" in row.get_deferred_fields() else row.runs
    return RolloutReplica(str(replica), state, number, row.since, reason, runs, is_current)


def wait_for_rollout(
    model: RegisteredModel,
    *,
    timeout_seconds: float,
    poll_seconds: float = 0.2,
    on_change: Callable[[Rollout], None] | None = None,
) -> Rollout:
    """Wait until each live replica serves the active version or has failed to load it, or until the timeout."""
    deadline = time.monotonic() + timeout_seconds
    before: Rollout | None = None
    while True:
        model.refresh_from_db()
        now = rollout(model)
        if on_change is not None and now != before:
            on_change(now)
            before = now
        waiting = [replica for replica in now.replicas if not replica.is_current]
        settled = all(replica.state == ReplicaState.FAILED for replica in waiting)
        if settled or time.monotonic() >= deadline:
            return now
        time.sleep(poll_seconds)
