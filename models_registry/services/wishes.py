"""What should run: the registry's wish, as every replica reads it at each poll."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models_registry.models import RegisteredModel


@dataclass(frozen=True, slots=True)
class Wish:
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
    signature: dict[str, Any]
    sample: dict[str, Any] | None
    report: dict[str, Any]
    description: str


def read_wishes() -> dict[str, Wish]:
    """Return the wish of every model that has one, by name, in the order of registration: one query."""
    models = (
        RegisteredModel.objects.filter(active_version__isnull=False)
        .select_related("active_version")
        .order_by("created_at", "pk")
    )
    return {model.name: _wish(model) for model in models}


def _wish(model: RegisteredModel) -> Wish:
    version = model.active_version
    if version is None:  # the query asked for those that have one
        raise ValueError(f"{model.name} has no active version")
    return Wish(
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
        signature=version.signature or {},
        sample=version.sample,
        report=version.report or {},
        description=version.description or model.description,
    )
