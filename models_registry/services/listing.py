"""The registry's content as JSON values, for commands and programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from models_registry.models import ModelVersion, RegisteredModel
from models_registry.services.rollout import rollouts

_SUMMARY = ("number", "state", "format", "digest", "reason")


def list_models() -> list[dict[str, Any]]:
    """Return every model that is not archived, with its versions, newest first, and its replicas."""
    return describe_models(list(RegisteredModel.objects.filter(archived_at=None)))


def describe_model(model: RegisteredModel) -> dict[str, Any]:
    """Return one model in the form of `list_models --json`."""
    return describe_models([model])[0]


def describe_models(models: Sequence[RegisteredModel]) -> list[dict[str, Any]]:
    """Return models in the form of `list_models --json`, with four queries for any number of them."""
    versions: dict[int, list[dict[str, Any]]] = defaultdict(list)
    # Details are most of a row's size, and a model may have thousands of versions.
    kept = ModelVersion.objects.filter(model__in=[model.pk for model in models]).kept()
    for version in kept.newest_first().only("model_id", *_SUMMARY):
        versions[version.model_id].append(describe_version(version))
    return [
        {
            "name": model.name,
            "active_version": rollout.number,
            "generation": model.generation,
            "policy": model.policy,
            "versions": versions[model.pk],
            "replicas": {"live": rollout.live, "serving": rollout.serving if model.active_version_id else 0},
        }
        for model, rollout in zip(models, rollouts(models), strict=True)
    ]


def describe_version(version: ModelVersion) -> dict[str, Any]:
    """Return one version in the form of `list_models --json`."""
    return {
        "number": version.number,
        "state": version.state,
        "format": version.format,
        "digest": version.digest or None,
        "reason": version.reason or None,
    }
