"""The desired state: which version of each model should serve, and which other one takes a share of its traffic.

Each change moves one revision, in the transaction of the change. A replica polls the revision, which is one row however
many models there are, and reads the models whose revision is newer than the one that it knows.
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


@dataclass(frozen=True, slots=True)
class DesiredModel:
    """What is desired of one model: its active version, a candidate beside it, and how the traffic is split."""

    active: DesiredVersion | None = None
    candidate: DesiredVersion | None = None
    split: TrafficSplit | None = None
    # Numbers of versions by alias.
    aliases: Mapping[str, int] = field(default_factory=dict)

    def versions(self) -> list[DesiredVersion]:
        """Return the versions that should be loaded."""
        return [version for version in (self.active, self.candidate) if version is not None]


NOTHING_DESIRED = DesiredModel()


class DesiredState(dict[str, DesiredVersion]):
    """The active version of each model by name, what else should be loaded, and how traffic is split.

    `others` holds the candidates by `DesiredVersion.key`, `splits` the shares and `aliases` the numbers of versions by
    model name. `first` is the model that
    was registered first, active or not, and `revision` the one that all of it was read at.
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
        """Return what is desired of a model."""
        key = self._candidates.get(name)
        candidate = self.others[key] if key else None
        return DesiredModel(self.get(name), candidate, self.splits.get(name), self.aliases.get(name, {}))

    def put(self, name: str, desired: DesiredModel) -> None:
        """Replace what is desired of a model."""
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
        """Return the models of which anything is desired."""
        return self.keys() | self._candidates.keys()

    def find(self, key: str) -> DesiredVersion | None:
        """Return the version with this `DesiredVersion.key`."""
        return self.get(key) or self.others.get(key)

    def versions(self) -> dict[str, DesiredVersion]:
        """Return every version that should be loaded, by `DesiredVersion.key`."""
        return {**self, **self.others}


@dataclass(frozen=True, slots=True)
class DesiredStateChanges:
    """What has changed after a revision: what is desired now of each model that has."""

    revision: int
    first: str | None
    models: dict[str, DesiredModel]


def record_change(model_id: int) -> None:
    """Move the revision for a change of a model's desired state, in the transaction of that change.

    Changes wait for each other at the revision's row, so that they become visible in the order of their numbers. The
    model's row is locked first, as an activation does: two changes cannot wait for each other in a circle.
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
    """Return the revision of the desired state: one row, whatever the number of models."""
    number = DesiredStateRevision.objects.filter(pk=DesiredStateRevision.ONLY).values_list("number", flat=True).first()
    return number or 0


DesiredStateSums = tuple[int | None, ...]


def read_desired_state_sums() -> DesiredStateSums:
    """Return sums over all models. They change with almost any desired state that differs: one row."""
    names = ("revision", "generation", "active_version")
    sums = RegisteredModel.objects.aggregate(Count("pk"), **{name: Sum(name) for name in names})
    return tuple(sums.values())


def read_desired_state() -> DesiredState:
    """Return the desired state of every model that has one: one query."""
    revision = DesiredStateRevision.objects.filter(pk=DesiredStateRevision.ONLY).values("number")
    rows = list(_rows(RegisteredModel.objects.annotate(read_at=Subquery(revision)), "read_at"))
    return DesiredState(
        _desired_models(rows),
        first=next((row["name"] for row in rows if row["archived_at"] is None), None),
        # It was read in the same query: a change that comes after it has a higher one.
        revision=(rows[0]["read_at"] or 0) if rows else 0,
    )


def read_changes(since: int) -> DesiredStateChanges:
    """Return the models whose desired state has changed after the revision `since`."""
    # Before the models: what changes in between is read again at the next poll.
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
    """Return what is desired of one model."""
    return next(iter(_desired_models(_rows(RegisteredModel.objects.filter(pk=model_id))).values()), NOTHING_DESIRED)


def read_details(desired: DesiredVersion) -> VersionDetails | None:
    """Return what is needed to load a version; None if the registry has it no longer, or checked it again."""
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
    """Return a version as a replica would load it as the active one, desired or not."""
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
    """Return what is needed to load a version."""
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
