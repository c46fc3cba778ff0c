"""The registry as one value, for commands and programs."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from models_registry.models import ModelVersion, RegisteredModel, State
from models_registry.services.rollout import rollout


def list_models() -> list[dict[str, Any]]:
    """Return every model in use with its versions, the newest first, and its replicas."""
    return [describe_model(model) for model in all_models(RegisteredModel.objects.filter(archived_at=None))]


def all_models(models: QuerySet[RegisteredModel] | None = None) -> list[RegisteredModel]:
    """Return `models`, or every model, with what `describe_model` reads of them."""
    asked = RegisteredModel.objects.all() if models is None else models
    return list(asked.select_related("active_version").prefetch_related("versions"))


def describe_model(model: RegisteredModel) -> dict[str, Any]:
    """Return one model in the form of `list_models --json`."""
    now = rollout(model)
    return {
        "name": model.name,
        "active_version": model.active_version.number if model.active_version else None,
        "generation": model.generation,
        "policy": model.policy,
        "versions": [
            describe_version(version)
            for version in sorted(model.versions.all(), key=_by_number)
            if version.state != State.DELETED
        ],
        "replicas": {"live": now.live, "serving": now.serving if model.active_version_id else 0},
    }


def describe_version(version: ModelVersion) -> dict[str, Any]:
    """Return one version in the form of `list_models --json`."""
    return {
        "number": version.number,
        "state": version.state,
        "format": version.format,
        "digest": version.digest or None,
        "reason": version.reason or None,
    }


def _by_number(version: ModelVersion) -> int:
    return -version.number
