"""The list and the pages of batch scoring jobs, with their progress."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from models_registry.admin.base import RecordAdmin, labelled
from models_registry.models import BatchJob, BatchState
from models_registry.templatetags.registry import moment

STATES = {"Queued": "info", "Running": "info", "Done": "success", "Failed": "danger", "Cancelled": "warning"}


@admin.register(BatchJob)
class BatchJobAdmin(RecordAdmin):
    """Each job: its version, input and output, its progress, and its user."""

    list_title = "Batches"
    model_path = "version__model__name"
    list_display = ("scored", "shown_state", "progress", "started")
    list_display_links = None
    change_list_template = "models_registry/admin/batches.html"
    search_fields = ("version__model__name", "input", "output")
    search_help_text = "Search by model, input or output"
    list_filter = ("state",)

    def get_urls(self) -> list[URLPattern]:
        """Return this admin's pages: actions first, since Django's own patterns match any path."""
        view = self.admin_site.admin_view(self.live_view)
        return [path("<int:pk>/live/", view, name="models_registry_batchjob_live"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[BatchJob]:
        """Return the jobs with their versions."""
        queryset: QuerySet[BatchJob] = super().get_queryset(request)
        return queryset.select_related("version__model")

    @admin.display(description="Version, input and output", ordering="version__model__name")
    def scored(self, job: BatchJob) -> SafeString:
        """Return the version, the input and the output."""
        return format_html(
            '<div><a class="reg-link" href="{}">{}</a> <div class="reg-muted">{}<br>→ {}</div></div>',
            reverse("admin:models_registry_batchjob_change", args=[job.pk]),
            job.version,
            job.input,
            job.output,
        )

    @labelled("State", STATES, ordering="state")
    def shown_state(self, job: BatchJob) -> str:
        """Return the state."""
        return job.get_state_display()

    @admin.display(description="Rows", ordering="rows")
    def progress(self, job: BatchJob) -> SafeString | str:
        """Return the number of finished rows, the total, and the reason of a failure."""
        of = f" of {job.total_rows:,}" if job.total_rows and job.total_rows != job.rows else ""
        invalid = f", {job.invalid_rows:,} without a prediction" if job.invalid_rows else ""
        percent = f" ({100 * job.rows // job.total_rows} %)" if of and job.total_rows else ""
        return format_html(
            '<div>{}{}{}{}<div class="reg-override">{}</div></div>', f"{job.rows:,}", of, percent, invalid, job.reason
        )

    @admin.display(description="Started", ordering="created_at")
    def started(self, job: BatchJob) -> SafeString:
        """Return the user and the time of the request."""
        return format_html('<div>{}<div class="reg-muted">{}</div></div>', moment(job.created_at), job.created_by)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a job and its progress."""
        job = self.shown_object(request, object_id)
        if isinstance(job, HttpResponse):
            return job
        return TemplateResponse(request, "models_registry/admin/batch.html", self._context(request, job))

    def live_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the fragment of a job's page that changes over time."""
        self.require_view(request)
        job = get_object_or_404(self.get_queryset(request), pk=pk)
        return self.fragment(request, "models_registry/admin/batch_live.html", self._context(request, job))

    def _context(self, request: HttpRequest, job: BatchJob) -> dict[str, Any]:
        until = job.finished_at or timezone.now()
        state = job.get_state_display()
        return self.page_context(
            request,
            original=job,
            title=f"Batch {job.pk} of {job.version}",
            job=job,
            state=state,
            colour=STATES[state],
            is_open=job.state in (BatchState.QUEUED, BatchState.RUNNING),
            progress=self.progress(job),
            seconds=(until - job.started_at).total_seconds() if job.started_at else None,
        )
