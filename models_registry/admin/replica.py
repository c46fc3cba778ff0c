"""Replicas: the serving worker processes, and their loaded versions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Case, Count, F, IntegerField, OuterRef, QuerySet, Subquery, When, Window
from django.db.models.functions import Coalesce, RowNumber
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from models_registry import conf
from models_registry.admin.base import RecordAdmin, labelled
from models_registry.models import Replica, ReplicaModel, ReplicaState
from models_registry.permissions import VIEW, visible
from models_registry.templatetags.registry import ago, form_of, moment

MODELS_SHOWN = 5
# More models than these are collapsed; of even more, only the number is shown.
MODELS_FOLDED = 50


@admin.register(Replica)
class ReplicaAdmin(RecordAdmin):
    """The replicas, their last reports, and their loaded versions."""

    list_title = "Replicas"
    is_shared = True
    list_display = ("process", "state", "started", "heard_of", "serves")
    list_display_links = ("process",)
    list_before_template = "models_registry/admin/replicas_note.html"
    change_list_template = "models_registry/admin/replicas.html"
    ordering = ("host", "pid")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Replica]:
        """Return the replicas with the number of models that each reports."""
        queryset: QuerySet[Replica] = super().get_queryset(request)
        seen = visible(request.user, VIEW, ReplicaModel.objects.filter(replica=OuterRef("pk")), "model__name")
        total = seen.order_by().values("replica").annotate(total=Count("pk")).values("total")
        return queryset.annotate(models_total=Coalesce(Subquery(total, output_field=IntegerField()), 0))

    def complete(self, request: HttpRequest, rows: list[Replica]) -> None:
        """Add to each replica its models, those that need attention first, as many as are shown."""
        needs = Case(When(state=ReplicaState.FAILED, then=0), When(state=ReplicaState.LOADING, then=1), default=2)
        order = Window(RowNumber(), partition_by=F("replica"), order_by=[needs, F("model__name")])
        shown: dict[str, list[ReplicaModel]] = defaultdict(list)
        reported = (
            visible(request.user, VIEW, ReplicaModel.objects.filter(replica__in=rows), "model__name")
            .annotate(place=order, model_name=F("model__name"), serving_number=F("serving_version__number"))
            .filter(place__lte=MODELS_SHOWN + MODELS_FOLDED)
            .order_by("replica", "place")
            .defer("others")
        )
        for row in reported:
            shown[row.replica_id].append(row)
        for replica in rows:
            replica.reported = shown[replica.pk]  # type: ignore[attr-defined]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the replicas, and the time after which a silent one no longer counts."""
        note = {"timeout_seconds": conf.replica_timeout_seconds()}
        return super().changelist_view(request, {**note, **(extra_context or {})})

    @admin.display(description="Host and process", ordering="host")
    def process(self, replica: Replica) -> SafeString:
        """Return the host and the process id."""
        return format_html('<div>{} <span class="reg-muted">pid {}</span></div>', replica.host, replica.pid)

    @labelled("State", {"Live": "success", "Silent": "danger"})
    def state(self, replica: Replica) -> str:
        """Return whether it has reported recently."""
        silent_for = timezone.now() - replica.heartbeat_at
        return "Live" if silent_for.total_seconds() <= conf.replica_timeout_seconds() else "Silent"

    @admin.display(description="Started", ordering="started_at")
    def started(self, replica: Replica) -> SafeString:
        """Return when the process started."""
        return moment(replica.started_at)

    @admin.display(description="Last report", ordering="heartbeat_at")
    def heard_of(self, replica: Replica) -> SafeString:
        """Return the time of the last report."""
        return ago(replica.heartbeat_at)

    @admin.display(description="Serves")
    def serves(self, replica: Replica) -> SafeString | str:
        """Return each model with its version and form: those that need attention first, many of them collapsed."""
        rows: list[ReplicaModel] = replica.reported  # type: ignore[attr-defined]
        total: int = replica.models_total  # type: ignore[attr-defined]
        if not rows:
            return "No version yet"
        # A single model takes no more space than a line that represents it.
        shown = total if total <= MODELS_SHOWN + 1 else MODELS_SHOWN
        if shown == total:
            return format_html("<div>{}</div>", _lines(rows))
        unlisted = total - len(rows)
        return format_html(
            '<div>{}<details class="reg-more"><summary>and {} more</summary>{}{}</details></div>',
            _lines(rows[:shown]),
            total - shown,
            _lines(rows[shown:]),
            f"{unlisted} more models: the page of a model shows its replicas." if unlisted else "",
        )


def _lines(rows: Iterable[ReplicaModel]) -> SafeString:
    named = ((row.model_name, _state_of(row)) for row in rows)  # type: ignore[attr-defined]
    return format_html_join("", "<div>{} {}</div>", named)


def _state_of(row: ReplicaModel) -> SafeString | str:
    number: int | None = row.serving_number  # type: ignore[attr-defined]
    version = f"version {number}, {form_of(row.runs)}" if number else "nothing"
    if row.state == ReplicaState.UNLOADED:
        return "not loaded: the next request loads it"
    if row.state == ReplicaState.FAILED:
        return format_html(
            '{}<span class="reg-override">Failed to load the active version: {}</span>', version, row.reason
        )
    return f"{version} (loading another version)" if row.state == ReplicaState.LOADING and number else version
