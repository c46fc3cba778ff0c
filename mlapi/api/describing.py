"""The registry's values as the API answers them."""

from __future__ import annotations

from typing import Any

from models_registry import services
from models_registry.models import ModelVersion, RegisteredModel


def version_content(version: ModelVersion) -> dict[str, Any]:
    """Return all that is known of a version."""
    return {
        **services.describe_version(version),
        "model": version.model.name,
        "is_active": version.is_active,
        "description": version.description,
        "metrics": version.metrics,
        "signature": version.schema,
        "size_bytes": version.size_bytes,
        "found_at": version.found_at,
        "checked_at": version.checked_at,
        "published_by": version.published_by,
        "override_reason": version.override_reason or None,
    }


def rollout_content(model: RegisteredModel, rollout: services.Rollout) -> dict[str, Any]:
    """Return how far the replicas are."""
    return {
        "model": model.name,
        "version": rollout.number,
        "generation": rollout.generation,
        "is_complete": rollout.is_complete,
        "live": rollout.live,
        "serving": rollout.serving,
        "failed": len(rollout.failed),
        "replicas": [
            {
                "replica": replica.replica,
                "state": str(replica.state),
                "version": replica.number,
                "is_current": replica.is_current,
                "reason": replica.reason,
            }
            for replica in rollout.replicas
        ],
    }
