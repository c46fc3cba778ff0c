"""The first page of the admin: what is live, and what was done last."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from models_registry import services
from models_registry.models import Activation, ModelVersion, RegisteredModel, Replica, State

MODELS_SHOWN = 20
ACTS_SHOWN = 8

admin.site.index_template = "models_registry/admin/home.html"
admin.site.index_title = "Overview"


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add what the first page shows to its context; nothing for those who may not look."""
    may_view = request.user.has_perm("models_registry.view_registeredmodel")
    context["may_view"] = may_view
    if not may_view:
        return context
    models = RegisteredModel.objects.select_related("active_version")
    context.update(
        rows=[(model, services.rollout(model)) for model in models[:MODELS_SHOWN]],
        models_total=models.count(),
        live_replicas=Replica.objects.live().count(),
        waiting=ModelVersion.objects.filter(state__in=[State.FOUND, State.CHECKING]).count(),
        history=Activation.objects.select_related("model", "version", "previous_version")[:ACTS_SHOWN],
        names_model=True,
    )
    return context
