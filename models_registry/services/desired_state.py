"""The desired state: each model's active version, and the candidate that takes a share of its traffic.

Each change increments one revision, in the same transaction. A replica polls the revision, which is one row for any
number of models. It then reads the models with a newer revision than its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Count, F, OuterRef, QuerySet, Subquery, Sum

from models_registry.inference.desired_version import DesiredVersion, VersionDetails
from models_registry.inference.routing import TrafficSplit
from models_registry.models import Activation, DesiredStateRevision, ModelVersion, RegisteredModel
from models_registry.services.prepared import PreparedQuery


@dataclass(frozen=True, slots=True)
class DesiredModel:
    """The desired state of one model: its active version, its candidate, and the traffic split."""

    active: DesiredVersion | None = None
    candidate: DesiredVersion | None = None
    split: TrafficSplit | None = None
    # Version numbers by alias.
    aliases: Mapping[str, int] = field(default_factory=dict)

    def versions(self) -> list[DesiredVersion]:
        """Return the versions that should be loaded."""
        return [version for version in (self.active, self.candidate) if version is not None]


NOTHING_DESIRED = DesiredModel()


class DesiredState(dict[str, DesiredVersion]):
    """The active version of each model by name, other versions to load, and traffic splits.

    `others` holds the candidates by `DesiredVersion.key`, `splits` the shares and `aliases` the version numbers by
    model name. `first` is the model that was registered first, active or not. `revision` is the revision of the whole
    state.
    """

    def __init__(
        self, models: Mapping[str, DesiredModel] | None = None, *, first: str | None = None, revision: int = 0
    ) -> None:
        super().__init__()
        self.others: dict[str, DesiredVersion] = {}
        self.splits: dict[str, TrafficSplit] = {}
        self.aliases: dict[str, Mapping[str, int]] = {}
        self.first = first
        self.revision = revision
        self._candidates: dict[str, str] = {}
        for name, desired in (models or {}).items():
            self.put(name, desired)

    def of(self, name: str) -> DesiredModel:
        """Return the desired state of a model."""
        key = self._candidates.get(name)
        candidate = self.others[key] if key else None
        return DesiredModel(self.get(name), candidate, self.splits.get(name), self.aliases.get(name, {}))

    def put(self, name: str, desired: DesiredModel) -> None:
        """Replace the desired state of a model."""
        self.others.pop(self._candidates.pop(name, ""), None)
        self.splits.pop(name, None)
        self.aliases.pop(name, None)
        if desired.aliases and desired.versions():
            self.aliases[name] = desired.aliases
        if desired.active is None:
            self.pop(name, None)
        else:
            self[name] = desired.active
        if desired.candidate is not None:
            self.others[desired.candidate.key] = desired.candidate
            self._candidates[name] = desired.candidate.key
        if desired.split is not None:
            self.splits[name] = desired.split

    def names(self) -> set[str]:
        """Return the models that have a desired state."""
        return self.keys() | self._candidates.keys()

    def find(self, key: str) -> DesiredVersion | None:
        """Return the version with this `DesiredVersion.key`."""
        return self.get(key) or self.others.get(key)

    def versions(self) -> dict[str, DesiredVersion]:
        """Return every version that should be loaded, by `DesiredVersion.key`."""
        return {**self, **self.others}


@dataclass(frozen=True, slots=True)
class DesiredStateChanges:
    """The changes after a revision: the new desired state of each changed model."""

    revision: int
    first: str | None
    models: dict[str, DesiredModel]


def record_change(model_id: int) -> None:
    """Increment the revision for a change of a model, in the transaction of that change.

    Concurrent changes wait at the revision's row, so they become visible in the order of their numbers. The model's row
    is locked first, like in an activation, to avoid deadlocks.
    """
    with transaction.atomic():
        model = RegisteredModel.objects.filter(pk=model_id)
        model.update(revision=F("revision"))
        row = DesiredStateRevision.objects.filter(pk=DesiredStateRevision.ONLY)
        if not row.update(number=F("number") + 1):
            DesiredStateRevision.objects.bulk_create(
                [DesiredStateRevision(pk=DesiredStateRevision.ONLY)], ignore_conflicts=True
            )
            row.update(number=F("number") + 1)
        model.update(revision=Subquery(row.values("number")))


def read_revision() -> int:
    """Return the revision of the desired state: one row for any number of models."""
    row = _REVISION.first()
    return row[0] if row else 0


_REVISION = PreparedQuery(
    lambda _: DesiredStateRevision.objects.filter(pk=DesiredStateRevision.ONLY).values_list("number")
)


DesiredStateSums = tuple[int | None, ...]


def read_desired_state_sums() -> DesiredStateSums:
    """Return sums over all models, with one query: almost any two different desired states have different sums."""
    names = ("revision", "generation", "active_version")
    sums = RegisteredModel.objects.aggregate(Count("pk"), **{name: Sum(name) for name in names})
    return tuple(sums.values())


def read_desired_state() -> DesiredState:
    """Return the desired state of every model that has one, with one query."""
    revision = DesiredStateRevision.objects.filter(pk=DesiredStateRevision.ONLY).values("number")
    rows = list(_rows(RegisteredModel.objects.annotate(read_at=Subquery(revision)), "read_at"))
    return DesiredState(
        _desired_models(rows),
        first=next((row["name"] for row in rows if row["archived_at"] is None), None),
        # Read in the same query: a later change has a higher revision.
        revision=(rows[0]["read_at"] or 0) if rows else 0,
    )


def read_changes(since: int) -> DesiredStateChanges:
    """Return the models whose desired state has changed after the revision `since`."""
    # Read before the models: the next poll repeats any change in between.
    revision = read_revision()
    models = _desired_models(_rows(RegisteredModel.objects.filter(revision__gt=since)))
    first = (
        RegisteredModel.objects.filter(archived_at=None)
        .order_by("created_at", "pk")
        .values_list("name", flat=True)
        .first()
    )
    return DesiredStateChanges(revision, first, models)


def read_desired_model(model_id: int) -> DesiredModel:
    """Return the desired state of one model."""
    return next(iter(_desired_models(_rows(RegisteredModel.objects.filter(pk=model_id))).values()), NOTHING_DESIRED)


def read_details(desired: DesiredVersion) -> VersionDetails | None:
    """Return the data to load a version; None if the registry has deleted it or validated it again."""
    row = (
        ModelVersion.objects.filter(pk=desired.version_id, digest=desired.digest, checked_at=desired.checked_at)
        .values_list("schema", "sample", "report", "description", "model__description")
        .first()
    )
    if row is None:
        return None
    schema, sample, report, description, of_model = row
    return VersionDetails(schema or {}, sample, report or {}, description or of_model)


def desired_version_of(version: ModelVersion) -> DesiredVersion:
    """Return a version as if it were active, desired or not."""
    model = version.model
    return DesiredVersion(
        model=model.name,
        model_id=model.pk,
        version_id=version.pk,
        generation=model.generation,
        acceleration=model.acceleration,
        **{name: getattr(version, name) for name in _OF_VERSION if name != "pk"},
    )


def details_of(version: ModelVersion) -> VersionDetails:
    """Return the data to load a version."""
    return VersionDetails(version.schema or {}, version.sample, version.report or {}, version.description)


_OF_MODEL = ("name", "pk", "generation", "acceleration", "aliases", "archived_at", "moved_at")
_OF_CANARY = ("generation", "percent", "traffic_at")
_OF_VERSION = (
    "pk",
    "number",
    "format",
    "storage_key",
    "storage_version",
    "size_bytes",
    "digest",
    "checked_at",
    "parts",
)
_ACTIVE, _CANARY, _CANDIDATE = "active_version__", "canary__", "canary__version__"


def _rows(models: QuerySet[RegisteredModel], *more: str) -> Iterable[dict[str, Any]]:
    moved_at = Activation.objects.filter(model=OuterRef("pk"), generation=OuterRef("generation")).values("activated_at")
    names = [
        *_OF_MODEL,
        *(f"{_ACTIVE}{name}" for name in _OF_VERSION),
        *(f"{_CANDIDATE}{name}" for name in _OF_VERSION),
        *(f"{_CANARY}{name}" for name in _OF_CANARY),
    ]
    ordered = models.annotate(moved_at=Subquery(moved_at[:1])).order_by("created_at", "pk")
    rows: Iterable[dict[str, Any]] = ordered.values(*names, *more)
    return rows


def _desired_models(rows: Iterable[Mapping[str, Any]]) -> dict[str, DesiredModel]:
    return {row["name"]: _desired_model(row) for row in rows}


def _desired_model(row: Mapping[str, Any]) -> DesiredModel:
    active = _desired_version(row, _ACTIVE, is_active=True)
    candidate = _desired_version(row, _CANDIDATE, is_active=False)
    split = None
    if candidate is not None and row[f"{_CANARY}traffic_at"] is not None:
        salt = f"{row[f'{_CANARY}generation']}:{candidate.number}"
        split = TrafficSplit(row["name"], candidate.number, row[f"{_CANARY}percent"], salt)
    return DesiredModel(active, candidate, split, row["aliases"])


def _desired_version(row: Mapping[str, Any], prefix: str, *, is_active: bool) -> DesiredVersion | None:
    if row[f"{prefix}pk"] is None:
        return None
    return DesiredVersion(
        model=row["name"],
        model_id=row["pk"],
        version_id=row[f"{prefix}pk"],
        generation=row["generation"],
        acceleration=row["acceleration"],
        activated_at=row["moved_at"] if is_active else None,
        is_active=is_active,
        **{name: row[f"{prefix}{name}"] for name in _OF_VERSION if name != "pk"},
    )
