"""What should run: the registry's desired, as every replica reads it at each poll."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import OuterRef, Subquery

from models_registry.inference.routing import TrafficSplit, version_key
from models_registry.models import Activation, Canary, ModelVersion, RegisteredModel


@dataclass(frozen=True, slots=True)
class DesiredVersion:
    """The version of a model that should serve, with all that a replica needs to load it."""

    model: str
    model_id: int
    version_id: int
    number: int
    generation: int
    acceleration: bool
    format: str
    storage_key: str
    storage_version: str
    size_bytes: int
    digest: str
    schema: dict[str, Any]
    sample: dict[str, Any] | None
    report: dict[str, Any]
    description: str
    activated_at: datetime | None
    is_active: bool = True
    parts: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """Return under which name a replica holds it: the model's where it is the active version."""
        return self.model if self.is_active else version_key(self.model, self.number)

    @property
    def build(self) -> str:
        """Return what tells these bytes, and how they should serve, apart from any others.

        Ids, numbers and generations do not: a registry that is restored from a backup, or replaced, gives them again.
        """
        told = [self.version_id, self.number, self.format, self.digest, self.acceleration, self.schema]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


class DesiredState(dict[str, DesiredVersion]):
    """The active version of each model by name, what else should be loaded, and how traffic is split.

    `others` holds the candidates by `DesiredVersion.key`, `splits` the shares by model name, and `first` the name of
    the model that was registered first, active or not.
    """

    def __init__(self, models: Iterable[RegisteredModel] = ()) -> None:
        """Read the desired state off the rows of models, in the order of registration."""
        ordered = list(models)
        super().__init__(
            {
                model.name: _desired_version(model, model.active_version)
                for model in ordered
                if model.active_version is not None
            }
        )
        self.others: dict[str, DesiredVersion] = {}
        self.splits: dict[str, TrafficSplit] = {}
        self.first: str | None = ordered[0].name if ordered else None
        for model in ordered:
            if model.canary is not None:
                self._add_canary(model, model.canary)

    def versions(self) -> dict[str, DesiredVersion]:
        """Return every version that should be loaded, by `DesiredVersion.key`."""
        return {**self, **self.others}

    def _add_canary(self, model: RegisteredModel, canary: Canary) -> None:
        candidate = _desired_version(model, canary.version, is_active=False)
        self.others[candidate.key] = candidate
        if canary.traffic_at is not None:
            self.splits[model.name] = TrafficSplit(
                model.name, candidate.number, canary.percent, f"{canary.generation}:{candidate.number}"
            )


def read_desired_state() -> DesiredState:
    """Return the desired state of every model: one query."""
    moved_at = Activation.objects.filter(model=OuterRef("pk"), generation=OuterRef("generation")).values("activated_at")
    models = RegisteredModel.objects.select_related("active_version", "canary__version").annotate(
        activated_at=Subquery(moved_at[:1])
    )
    return DesiredState(models.order_by("created_at", "pk"))


def _desired_version(model: RegisteredModel, version: ModelVersion, *, is_active: bool = True) -> DesiredVersion:
    return DesiredVersion(
        model=model.name,
        model_id=model.pk,
        version_id=version.pk,
        number=version.number,
        generation=model.generation,
        acceleration=model.acceleration,
        format=version.format,
        storage_key=version.storage_key,
        storage_version=version.storage_version,
        size_bytes=version.size_bytes,
        digest=version.digest,
        schema=version.schema or {},
        sample=version.sample,
        report=version.report or {},
        description=version.description or model.description,
        activated_at=getattr(model, "activated_at", None) if is_active else None,
        is_active=is_active,
        parts=version.parts,
    )
