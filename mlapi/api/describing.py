"""Converts the registry's objects to API responses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.urls import reverse

from models_registry import services
from models_registry.models import Canary, ModelVersion, RegisteredModel, ReplicaState
from models_registry.monitoring.comparison import figures_of
from models_registry.monitoring.guardrails import Finding

SHOWN_SAMPLES = 5


def model_content(model: RegisteredModel) -> dict[str, Any]:
    """Return the full description of a model."""
    return models_content([model])[0]


def models_content(models: Sequence[RegisteredModel]) -> list[dict[str, Any]]:
    """Return the full descriptions of some models."""
    return [
        {**described, **_labels(model)}
        for model, described in zip(models, services.describe_models(models), strict=True)
    ]


def _labels(model: RegisteredModel) -> dict[str, Any]:
    return {
        "description": model.description,
        "archived_at": model.archived_at,
        "tags": model.tags,
        "aliases": model.aliases,
        "capture_percent": model.capture_percent,
        "capture": model.capture,
        "capture_exclude": model.capture_exclude,
        "card": model.card,
        "card_changed_at": model.card_changed_at,
        "card_changed_by": model.card_changed_by,
    }


def version_content(version: ModelVersion) -> dict[str, Any]:
    """Return the full description of a version."""
    return {
        **services.describe_version(version),
        "model": version.model.name,
        "is_active": version.is_active,
        "description": version.description,
        "notes": version.notes,
        "notes_changed_at": version.notes_changed_at,
        "notes_changed_by": version.notes_changed_by,
        "metrics": version.metrics,
        "signature": version.schema,
        "size_bytes": version.size_bytes,
        "found_at": version.found_at,
        "checked_at": version.checked_at,
        "published_by": version.published_by,
        "override_reason": version.override_reason or None,
        "example": _example(version),
        "samples": ((version.sample or {}).get("instances") or [])[:SHOWN_SAMPLES],
        "reference": _reference_content(version),
        "page": reverse("admin:models_registry_modelversion_change", args=[version.pk]),
    }


def rollout_content(model: RegisteredModel, rollout: services.Rollout) -> dict[str, Any]:
    """Return the state of the rollout on the replicas."""
    canary = services.current_canary(model)
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
        **({"canary": {"version": canary.version.number, "percent": canary.percent}} if canary else {}),
    }


def traffic_content(model: RegisteredModel) -> dict[str, Any]:
    """Return the traffic split of a model, with both versions for comparison."""
    model.refresh_from_db()
    canary = services.current_canary(model)
    active = model.active_version
    compared = services.compare(canary) if canary else None
    taken = canary.percent if canary and canary.traffic_at else 0.0
    share = {"version": active.number, "percent": 100 - taken} if active else None
    return {
        "model": model.name,
        "generation": model.generation,
        "active": share | asdict(figures_of(compared.active)) if share and compared else share,
        "candidate": _candidate_content(canary) | asdict(figures_of(compared.candidate))
        if canary and compared
        else None,
        "guardrails": canary.guardrails if canary else {},
        "findings": [_finding_content(finding) for finding in compared.findings] if compared else [],
        "last": _ended_content(model),
    }


def _finding_content(finding: Finding) -> dict[str, Any]:
    interval = finding.interval and [None if math.isinf(end) else end for end in finding.interval]
    return {
        "guardrail": finding.name,
        "limit": finding.limit,
        "value": finding.value,
        "interval": interval,
        "state": finding.state,
        "observed": finding.observed,
        "needed": finding.needed,
        "sentence": finding.sentence,
    }


def _candidate_content(canary: Canary) -> dict[str, Any]:
    replicas = services.candidate_replicas(canary)
    return {
        "version": canary.version.number,
        "percent": canary.percent,
        "state": "serving" if canary.traffic_at else "loading",
        "loaded": sum(replica.state == ReplicaState.SERVING for replica in replicas),
        "live": len(replicas),
        "reasons": sorted({replica.reason for replica in replicas if replica.reason}),
        "started_at": canary.created_at,
        "started_by": canary.started_by,
        "reason": canary.reason,
        "traffic_at": canary.traffic_at,
        "bake_minutes": canary.bake_minutes,
        "bake_ends_at": canary.bake_ends_at,
    }


def shadow_content(model: RegisteredModel) -> dict[str, Any]:
    """Return how often the model's shadow agrees with the active version, and the shadow that ended last."""
    shadow = services.current_shadow(model)
    last = model.shadows.select_related("version").exclude(ended_at=None).order_by("-ended_at", "-pk").first()
    ended = last and {
        "version": last.version.number,
        "percent": last.percent,
        "reason": last.ended_reason,
        "ended_by": last.ended_by,
        "ended_at": last.ended_at,
    }
    if shadow is None:
        active = model.active_version
        number = active.number if active else None
        return {"model": model.name, "version": None, "active_version": number, "percent": 0.0, "last": ended}
    figures = asdict(services.shadow_figures(shadow))
    latency = {f"{name}_ms": figures.pop(f"{name}_milliseconds") for name in ("p50", "p99")}
    return {
        "model": model.name,
        "version": shadow.version.number,
        "active_version": shadow.active_version.number,
        "percent": shadow.percent,
        **figures,
        "latency": latency,
        "problem": shadow.problem or None,
        "started_at": shadow.created_at,
        "started_by": shadow.started_by,
        "reason": shadow.reason,
        "last": ended,
    }


def _ended_content(model: RegisteredModel) -> dict[str, Any] | None:
    last = model.canaries.select_related("version").exclude(ended_at=None).order_by("-ended_at", "-pk").first()
    if last is None:
        return None
    return {
        "version": last.version.number,
        "percent": last.percent,
        "outcome": last.outcome,
        "reason": last.ended_reason,
        "ended_by": last.ended_by,
        "ended_at": last.ended_at,
    }


def _reference_content(version: ModelVersion) -> dict[str, Any] | None:
    pinned = version.reference
    if not pinned:
        return None
    return {"file": pinned["name"], **{name: pinned[name] for name in ("rows", "size_bytes", "digest")}}


def _example(version: ModelVersion) -> Any:
    """Return a valid row for the version: from its sample, else a generated one; None before its validation."""
    if version.sample:
        return version.sample["instances"][0]
    return (version.report or {}).get("example")
