"""A model's canary: both versions compared, the guardrails' results, and two buttons."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from models_registry import services
from models_registry.admin.base import refusals_as_messages, require
from models_registry.models import Canary, RegisteredModel
from models_registry.monitoring.comparison import figures_of
from models_registry.monitoring.guardrails import Finding
from models_registry.permissions import ACTIVATE

CANARIES_SHOWN = 8
LABELS_SHOWN = 6
GUARDRAIL_NAMES = {"error_rate": "Error rate", "p99_ratio": "Time, p99", "label_shift": "Label share"}
STATE_COLOURS = {"kept": "success", "broken": "danger", "waiting": "info"}


def canary_context(model: RegisteredModel) -> dict[str, Any]:
    """Return the template context of a model's canary."""
    ended = model.canaries.exclude(ended_at=None).select_related("version", "active_version")
    context: dict[str, Any] = {"canary": None, "ended_canaries": ended[:CANARIES_SHOWN]}
    canary = services.current_canary(model)
    if canary is not None:
        compared = services.compare(canary)
        active, candidate = figures_of(compared.active), figures_of(compared.candidate)
        context |= {
            "canary": canary,
            "canary_rest": 100 - canary.percent,
            "canary_replicas": services.candidate_replicas(canary),
            "canary_sides": [(canary.active_version, active), (canary.version, candidate)],
            "canary_labels": _label_rows(active.label_shares, candidate.label_shares),
            "findings": [_finding_row(finding) for finding in compared.findings],
        }
    return context


def _finding_row(finding: Finding) -> dict[str, str]:
    return {
        "name": GUARDRAIL_NAMES[finding.name],
        "state": finding.state,
        "colour": STATE_COLOURS[finding.state],
        "sentence": finding.sentence,
    }


def _label_rows(active: dict[str, float], candidate: dict[str, float]) -> list[tuple[str, float, float]]:
    """Return the most frequent labels with their share in both versions."""
    shares = [(label, active.get(label, 0.0), candidate.get(label, 0.0)) for label in {**active, **candidate}]
    return sorted(shares, key=lambda row: (-max(row[1:]), row[0]))[:LABELS_SHOWN]


def promote_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Make the canary the active version."""
    require(request, ACTIVATE)
    model = get_object_or_404(RegisteredModel, pk=pk)
    with refusals_as_messages(request):
        services.promote(model, by=request.user.get_username())
        messages.success(request, f"Promoted: all requests to {model.name} now go to {_named(model)}.")
    return redirect("admin:models_registry_registeredmodel_change", pk)


def end_view(request: HttpRequest, pk: int) -> HttpResponse:
    """End the canary: all requests go to the active version."""
    require(request, ACTIVATE)
    model = get_object_or_404(RegisteredModel, pk=pk)
    ended: Canary | None = services.end_canary(model, by=request.user.get_username())
    if ended is None:
        messages.info(request, "No canary was running. Nothing has changed.")
    else:
        messages.success(request, f"Rolled back: all requests to {model.name} go to {_named(model)} again.")
    return redirect("admin:models_registry_registeredmodel_change", pk)


def _named(model: RegisteredModel) -> str:
    return f"version {model.active_version.number}" if model.active_version else "no version"
