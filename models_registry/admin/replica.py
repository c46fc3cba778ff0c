"""Replicas: the serving worker processes, and what each of them runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from models_registry import conf
from models_registry.admin.base import RecordAdmin, labelled
from models_registry.models import Replica, ReplicaModel, ReplicaState
from models_registry.templatetags.registry import ago, form_of, moment

MODELS_SHOWN = 5


@admin.register(Replica)
class ReplicaAdmin(RecordAdmin):
    """Who serves, who was last heard of when, and what each one runs."""

    list_title = "Replicas"
    list_display = ("process", "state", "started", "heard_of", "serves")
    list_display_links = ("process",)
    list_before_template = "models_registry/admin/replicas_note.html"
    change_list_template = "models_registry/admin/replicas.html"
    ordering = ("host", "pid")
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Replica]:
        """Return the replicas with what they report of each model."""
        queryset: QuerySet[Replica] = super().get_queryset(request)
        return queryset.prefetch_related("models__model", "models__serving_version")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the replicas, and after how long a silent one no longer counts."""
        note = {"timeout_seconds": conf.replica_timeout_seconds()}
        return super().changelist_view(request, {**note, **(extra_context or {})})

    @admin.display(description="Host and process")
    def process(self, replica: Replica) -> SafeString:
        """Return where it runs."""
        return format_html('<div>{} <span class="reg-muted">pid {}</span></div>', replica.host, replica.pid)

    @labelled("State", {"Live": "success", "Silent": "danger"})
    def state(self, replica: Replica) -> str:
        """Return whether it was heard of lately."""
        silent_for = timezone.now() - replica.heartbeat_at
        return "Live" if silent_for.total_seconds() <= conf.replica_timeout_seconds() else "Silent"

    @admin.display(description="Started")
    def started(self, replica: Replica) -> SafeString:
        """Return when the process began."""
        return moment(replica.started_at)

    @admin.display(description="Last heard of")
    def heard_of(self, replica: Replica) -> SafeString:
        """Return when it reported last."""
        return ago(replica.heartbeat_at)

    @admin.display(description="Serves")
    def serves(self, replica: Replica) -> SafeString | str:
        """Return each model with the version that runs and its form: what needs a look first, many of them folded."""
        rows = sorted(replica.models.all(), key=_by_need)
        if not rows:
            return "Nothing yet"
        # A single one takes no more room than the line that would stand for it.
        shown = len(rows) if len(rows) <= MODELS_SHOWN + 1 else MODELS_SHOWN
        if shown == len(rows):
            return format_html("<div>{}</div>", _lines(rows))
        return format_html(
            '<div>{}<details class="reg-more"><summary>and {} more</summary>{}</details></div>',
            _lines(rows[:shown]),
            len(rows) - shown,
            _lines(rows[shown:]),
        )


def _by_need(row: ReplicaModel) -> tuple[bool, bool, str]:
    return row.state != ReplicaState.FAILED, row.state != ReplicaState.LOADING, row.model.name


def _lines(rows: Iterable[ReplicaModel]) -> SafeString:
    return format_html_join("", "<div>{} {}</div>", ((row.model.name, _state_of(row)) for row in rows))


def _state_of(row: ReplicaModel) -> SafeString | str:
    version = f"version {row.serving_version.number}, {form_of(row.runs)}" if row.serving_version else "nothing"
    if row.state == ReplicaState.UNLOADED:
        return "not loaded: it is at the next request"
    if row.state == ReplicaState.FAILED:
        return format_html('{}<span class="reg-override">Failed to load the active one: {}</span>', version, row.reason)
    return f"{version} (loading another)" if row.state == ReplicaState.LOADING and row.serving_version else version
