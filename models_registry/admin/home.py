"""The admin's home page: active models, and recent activity."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest

from models_registry import services
from models_registry.admin.base import may_upload
from models_registry.admin.charts import Chart, sparkline
from models_registry.models import Activation, ModelVersion, RegisteredModel, Replica, ReplicaModel, ReplicaState, State
from models_registry.monitoring.state import ACT, FINE, WATCH, ModelState, model_state
from models_registry.monitoring.usage import Usage, total_usage
from models_registry.monitoring.usage_report import WINDOWS, traffic_reports
from models_registry.permissions import VIEW, may, visible

MODELS_SHOWN = 50
ACTIVATIONS_SHOWN = 8
# The current hour, and the hour before it.
RECENT_HOURS = 2
ORDER = (ACT, WATCH, FINE)

admin.site.index_template = "models_registry/admin/home.html"
admin.site.index_title = "Overview"


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the home page's data to its context; nothing for users without the view permission."""
    may_view = may(request.user, VIEW)
    context["may_view"] = may_view
    if not may_view:
        return context
    context["may_upload"] = may_upload(request)
    models = visible(request.user, VIEW, RegisteredModel.objects.filter(archived_at=None))
    waiting = ModelVersion.objects.filter(state__in=[State.FOUND, State.CHECKING])
    history = Activation.objects.select_related("model", "version", "previous_version")
    context.update(
        rows=_rows(list(_failing_first(models)[:MODELS_SHOWN])),
        models_total=models.count(),
        live_replicas=Replica.objects.live().count(),
        has_service=services.has_service(),
        waiting=visible(request.user, VIEW, waiting, "model__name").count(),
        history=visible(request.user, VIEW, history, "model__name")[:ACTIVATIONS_SHOWN],
        names_model=True,
        is_alone=_is_alone(request.user),
    )
    return context


def _is_alone(user: Any) -> bool:
    """Return whether this administrator is the only user; a project's own user model may lack `is_superuser`."""
    users = get_user_model()._default_manager
    return getattr(user, "is_superuser", False) and users.count() == 1


def _failing_first(models: QuerySet[RegisteredModel]) -> QuerySet[RegisteredModel]:
    """Sort by name, but models with a failed load first: the page may not have room for all."""
    failed = ReplicaModel.objects.filter(
        model=OuterRef("pk"), state=ReplicaState.FAILED, replica__in=Replica.objects.live()
    )
    return models.order_by(Exists(failed).desc(), "name")


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model on the home page."""

    model: RegisteredModel
    rollout: services.Rollout
    state: ModelState
    requests: Chart


def _rows(models: list[RegisteredModel]) -> list[ModelRow]:
    """Return the models, those that need attention first."""
    reports = traffic_reports(models, WINDOWS["24h"], datetime.now(UTC))
    rollouts = services.rollouts(models)
    drifted = services.drifted_columns(model.active_version_id for model in models)
    rows = [
        _row(model, rollout, report.steps(), drifted.get(model.active_version_id, []))
        for model, rollout, report in zip(models, rollouts, reports, strict=True)
    ]
    return sorted(rows, key=lambda row: ORDER.index(row.state.state))


def _row(model: RegisteredModel, rollout: services.Rollout, steps: list[Usage], drifted: list[str]) -> ModelRow:
    state = model_state(
        active=rollout.number,
        live=rollout.live,
        failed=len(rollout.failed),
        serving=rollout.serving,
        has_service=rollout.has_service,
        recent=total_usage(steps[-RECENT_HOURS:]),
        before=total_usage(steps[:-RECENT_HOURS]),
        drifted=drifted,
    )
    return ModelRow(model, rollout, state, sparkline(steps))
