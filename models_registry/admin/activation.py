"""History: the active version at any time, who activated it, and why."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET

from models_registry.admin.base import ModelFilter, RecordAdmin, RecordList, labelled
from models_registry.models import Activation
from models_registry.templatetags.registry import moment


class LiveAtFilter(admin.SimpleListFilter):
    """Filters for each model's active version at a given time."""

    title = "active at"
    parameter_name = "live_at"
    template = "models_registry/admin/live_at_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return no choices: any time may be given."""
        return []

    def has_output(self) -> bool:
        """Accept the parameter although there are no predefined choices."""
        return True

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Return the given time."""
        yield {"value": self.value() or "", "moment": read_moment(self.value())}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Activation]) -> QuerySet[Activation]:
        """Return the versions active at that time; none if the time is not valid."""
        if not self.value():
            return queryset
        asked = read_moment(self.value())
        if asked is None:
            return queryset.none()
        return queryset.filter(activated_at__lte=asked).filter(Q(until__isnull=True) | Q(until__gt=asked))


def read_moment(text: str | None) -> datetime | None:
    """Return the time in `text`, in UTC; None if it is not valid."""
    if not text:
        return None
    try:
        found = parse_datetime(text) or parse_datetime(f"{text}T00:00:00")
        if found is None:
            return None
        return found.astimezone(UTC) if timezone.is_aware(found) else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # well formed, but the date does not exist
        return None


EXPORTED = (
    "activated_at",
    "model",
    "kind",
    "version",
    "previous_version",
    "generation",
    "activated_by",
    "reason",
    "overrides",
)


class HistoryList(RecordList):
    """A list whose rows link to the activated version."""

    def url_for_result(self, result: Any) -> str:
        """Return the page of the row's version or, without an active version, of its model."""
        if result.version_id is None:
            return reverse("admin:models_registry_registeredmodel_change", args=[result.model_id])
        return reverse("admin:models_registry_modelversion_change", args=[result.version_id])


@admin.register(Activation)
class ActivationAdmin(RecordAdmin):
    """Every change of an active version, newest first."""

    list_title = "History"
    model_path = "model__name"
    list_display = ("what", "live_from", "live_until", "by", "why", "how")
    list_display_links = ("what",)
    list_filter = (LiveAtFilter, ("model", ModelFilter), "kind")
    list_before_template = "models_registry/admin/live_at.html"
    change_list_template = "models_registry/admin/history.html"
    search_fields = ("model__name", "activated_by", "reason", "overrides")
    search_help_text = "Search by model, user or reason"
    ordering = ("-activated_at", "-generation")

    def get_urls(self) -> list[URLPattern]:
        """Return this admin's pages: the export first, since Django's own patterns match any path."""
        export = self.admin_site.admin_view(require_GET(self.export_view))
        return [path("export/", export, name="models_registry_activation_export"), *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponse:
        """Return the filtered rows of the list, all of them, as CSV."""
        self.require_view(request)
        rows = self.get_changelist_instance(request).get_queryset(request)
        response = HttpResponse(content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="history.csv"'
        writer = csv.writer(response)
        writer.writerow(EXPORTED)
        for row in rows.select_related("model", "version", "previous_version"):
            writer.writerow(map(_cell, _exported(row)))
        return response

    def get_queryset(self, request: HttpRequest) -> QuerySet[Activation]:
        """Return the history; each row has the time of the next change."""
        following = Activation.objects.filter(model=OuterRef("model"), generation__gt=OuterRef("generation"))
        queryset: QuerySet[Activation] = super().get_queryset(request)
        return queryset.select_related("model", "version", "previous_version").annotate(
            until=Subquery(following.order_by("generation").values("activated_at")[:1])
        )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the history, and the filter as text."""
        text = request.GET.get("live_at", "")
        asked = {"live_at": text, "asked_moment": read_moment(text)}
        return super().changelist_view(request, {**asked, **(extra_context or {})})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RecordList]:
        """Link a row to its version."""
        return HistoryList

    @admin.display(description="Model and version", ordering="model__name")
    def what(self, activation: Activation) -> SafeString | str:
        """Return the model and version, and the previous version."""
        version = f" version {activation.version.number}" if activation.version else ": no active version"
        label = f"{activation.model.name}{version}"
        if activation.previous_version is None:
            return label
        return format_html(
            '<div>{}<span class="reg-muted reg-below">after version {}</span></div>',
            label,
            activation.previous_version.number,
        )

    @admin.display(description="Active from", ordering="activated_at")
    def live_from(self, activation: Activation) -> SafeString:
        """Return the time of the activation."""
        return moment(activation.activated_at)

    @admin.display(description="Until")
    def live_until(self, activation: Activation) -> SafeString | str:
        """Return the time of the next activation."""
        until = getattr(activation, "until", None)
        return moment(until) if until else format_html('<span class="reg-now">{}</span>', "now")

    @admin.display(description="By", ordering="activated_by")
    def by(self, activation: Activation) -> str:
        """Return the user who made the change."""
        return activation.activated_by or "–"

    @admin.display(description="Why")
    def why(self, activation: Activation) -> SafeString | str:
        """Return the reason, and the overridden advice."""
        if not activation.overrides:
            return activation.reason or "–"
        return format_html(
            '<div>{}<span class="reg-override">Against the validation\'s advice: {}</span></div>',
            activation.reason,
            activation.overrides,
        )

    @labelled(
        "Kind",
        {"Activation": "primary", "Rollback": "warning", "Policy latest": "info", "Deactivation": "danger"},
        ordering="kind",
    )
    def how(self, activation: Activation) -> str:
        """Return the kind of the change."""
        return activation.get_kind_display()


def _exported(row: Activation) -> list[Any]:
    return [
        row.activated_at.isoformat(),
        row.model.name,
        row.kind,
        row.version.number if row.version else "",
        row.previous_version.number if row.previous_version else "",
        row.generation,
        row.activated_by,
        row.reason,
        row.overrides,
    ]


def _cell(value: Any) -> str:
    """Return a value as a cell; a text that a spreadsheet would evaluate gets a leading apostrophe."""
    text = str(value)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
