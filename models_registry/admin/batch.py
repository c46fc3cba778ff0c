"""Batches: the batch scoring that replicas run, and how far each one is."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from models_registry.admin.base import RecordAdmin, labelled
from models_registry.models import BatchJob
from models_registry.templatetags.registry import moment

STATES = {"Queued": "info", "Running": "info", "Done": "success", "Failed": "danger", "Cancelled": "warning"}


@admin.register(BatchJob)
class BatchJobAdmin(RecordAdmin):
    """What was asked, by whom, and how far it is."""

    list_title = "Batches"
    model_path = "version__model__name"
    list_display = ("scored", "shown_state", "progress", "started")
    list_display_links = None
    change_list_template = "models_registry/admin/batches.html"
    search_fields = ("version__model__name", "input", "output")
    search_help_text = "Search by model, input or output"
    list_filter = ("state",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[BatchJob]:
        """Return the jobs with their versions."""
        queryset: QuerySet[BatchJob] = super().get_queryset(request)
        return queryset.select_related("version__model")

    @admin.display(description="Version, input and output", ordering="version__model__name")
    def scored(self, job: BatchJob) -> SafeString:
        """Return what is scored, from where to where."""
        return format_html('<div>{} <div class="reg-muted">{}<br>→ {}</div></div>', job.version, job.input, job.output)

    @labelled("State", STATES, ordering="state")
    def shown_state(self, job: BatchJob) -> str:
        """Return how far it is, in a word."""
        return job.get_state_display()

    @admin.display(description="Rows", ordering="rows")
    def progress(self, job: BatchJob) -> SafeString | str:
        """Return the rows that are done, of how many, and why it failed."""
        of = f" of {job.total_rows:,}" if job.total_rows and job.total_rows != job.rows else ""
        invalid = f", {job.invalid_rows:,} without a prediction" if job.invalid_rows else ""
        return format_html(
            '<div>{}{}{}<div class="reg-override">{}</div></div>', f"{job.rows:,}", of, invalid, job.reason
        )

    @admin.display(description="Started", ordering="created_at")
    def started(self, job: BatchJob) -> SafeString:
        """Return who asked for it, and when."""
        return format_html('<div>{}<div class="reg-muted">{}</div></div>', moment(job.created_at), job.created_by)
