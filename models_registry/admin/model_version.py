"""Versions: identity, validation results, and predictions."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from models_registry import conf, services
from models_registry.admin import bulk, card, labels, replays, text_history
from models_registry.admin.base import (
    HidingFilter,
    ModelFilter,
    RecordAdmin,
    labelled,
    may_here,
    may_upload,
    refusals_as_messages,
    require,
)
from models_registry.admin.comparing import compare_answers, compare_context, numbers_of, other_version
from models_registry.admin.confirm import change_to, confirm
from models_registry.admin.presenters import inspection_summary, report_rows, sample_table, stages_of
from models_registry.admin.uploading import upload_context
from models_registry.models import ModelVersion, ReplicaModel, State
from models_registry.models.version import DETAILS
from models_registry.permissions import ACTIVATE, CHANGE, LOG, PUBLISH, TRY
from models_registry.templatetags.registry import BADGES, moment, number, short_digest, size


class StateFilter(HidingFilter):
    """Versions in one state; deleted ones are hidden by default."""

    title = "state"
    parameter_name = "state"
    default_choice = "All except deleted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the states."""
        return [(str(value), str(label)) for value, label in State.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> QuerySet[ModelVersion]:
        """Return the selected versions."""
        wanted = self.value()
        return queryset.exclude(state=State.DELETED) if wanted is None else queryset.filter(state=wanted)


@admin.register(ModelVersion)
class ModelVersionAdmin(RecordAdmin):
    """Every version of every model, with a page for each."""

    list_title = "Versions"
    model_path = "model__name"
    list_display = ("title", "shown_state", "metrics_text", "artifact", "found", "checked")
    list_display_links = ("title",)
    list_filter = (("model", ModelFilter), StateFilter, "format")
    change_list_template = "models_registry/admin/versions.html"
    search_fields = ("model__name", "digest", "storage_key", "published_by", "description")
    search_help_text = "Search by model, digest, storage key or user"
    ordering = ("model__name", "-number")
    list_deferred = DETAILS
    actions = ("delete_rejected",)

    def get_urls(self) -> list[URLPattern]:
        """Return this admin's pages: actions first, since Django's own patterns match any path."""
        name = "models_registry_modelversion_{}".format
        view = self.admin_site.admin_view
        return [
            path("upload/", view(require_GET(self.upload_view)), name=name("upload")),
            path("<int:pk>/live/", view(require_GET(self.live_view)), name=name("live")),
            path("<int:pk>/compare/", view(require_GET(self.compare_view)), name=name("compare")),
            path(
                "<int:pk>/compare/answers/",
                view(require_GET(self.compare_answers_view)),
                name=name("compare_answers"),
            ),
            path("<int:pk>/activate/", view(self.activate_view), name=name("activate")),
            path("<int:pk>/replay/", csrf_exempt(self.replay_view), name=name("replay")),
            path("<int:pk>/replay/live/", view(require_GET(self.replay_live_view)), name=name("replay_live")),
            path("<int:pk>/delete-rejected/", view(self.delete_rejected_view), name=name("delete_rejected")),
            path("<int:pk>/notes/", view(require_POST(self.notes_view)), name=name("notes")),
            path("<int:pk>/notes/history/", view(self.notes_history_view), name=name("notes_history")),
            path("<int:pk>/aliases/", view(require_POST(self.aliases_view)), name=name("aliases")),
            path("<int:pk>/check-again/", view(require_POST(self.check_again_view)), name=name("check_again")),
            *super().get_urls(),
        ]

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelVersion]:
        """Return the versions with their models."""
        queryset: QuerySet[ModelVersion] = super().get_queryset(request)
        return queryset.select_related("model")

    @admin.display(description="Version", ordering="model__name")
    def title(self, version: ModelVersion) -> SafeString | str:
        """Return the model's name and the number, and whether the version is active."""
        label = f"{version.model.name} version {version.number}"
        return (
            format_html('<div>{} <span class="reg-active">active</span></div>', label) if version.is_active else label
        )

    @labelled("State", {str(state): colour for state, colour in BADGES.items()}, ordering="state")
    def shown_state(self, version: ModelVersion) -> tuple[str, str]:
        """Return the state."""
        return version.state, version.get_state_display()

    @admin.display(description="Metrics")
    def metrics_text(self, version: ModelVersion) -> SafeString | str:
        """Return the published metrics."""
        pairs = ((name, number(value)) for name, value in version.metrics.items())
        lines = format_html_join("", "<div>{} <strong>{}</strong></div>", pairs)
        return format_html("<div>{}</div>", lines) if lines else "–"

    @admin.display(description="Artifact", ordering="size_bytes")
    def artifact(self, version: ModelVersion) -> SafeString:
        """Return format, size and digest."""
        return format_html(
            '<div>{}, {}<span class="reg-below">{}</span></div>',
            version.format,
            size(version.size_bytes),
            short_digest(version.digest),
        )

    @admin.display(description="Found", ordering="found_at")
    def found(self, version: ModelVersion) -> SafeString:
        """Return when it was found, and who published it."""
        by = f"published by {version.published_by}" if version.published_by else ""
        return format_html('<div>{}<span class="reg-muted reg-below">{}</span></div>', moment(version.found_at), by)

    @admin.display(description="Validated", ordering="checked_at")
    def checked(self, version: ModelVersion) -> SafeString | str:
        """Return when its validation ended."""
        return moment(version.checked_at)

    def has_publish_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may delete rejected versions of any model."""
        return may_here(request, PUBLISH)

    @admin.action(description="Delete rejected versions", permissions=["publish"])
    def delete_rejected(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> HttpResponse | None:
        """Confirm, then delete the rejected versions among the selected ones."""
        rows = queryset.select_related("model__active_version").order_by("model__name", "number")
        return bulk.carry_out(self, request, rows, bulk.DELETE_REJECTED)

    # The page of one version

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show all details of a version."""
        version = self.shown_object(request, object_id)
        if isinstance(version, HttpResponse):
            return version
        form = card.NotesForm(initial={"notes": version.notes})
        context = {**self._version_context(request, version), "notes_form": form}
        return TemplateResponse(request, "models_registry/admin/version.html", context)

    def live_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the fragment of a version's page that its validation changes."""
        self.require_view(request)
        version = get_object_or_404(ModelVersion.objects.select_related("model", "model__active_version"), pk=pk)
        return self.fragment(
            request, "models_registry/admin/version_live.html", self._version_context(request, version)
        )

    def _version_context(self, request: HttpRequest, version: ModelVersion) -> dict[str, Any]:
        aliases = services.aliases_of(version.model, version)
        return self.page_context(
            request,
            original=version,
            version=version,
            title=str(version),
            aliases=aliases,
            aliases_form=labels.AliasesForm(initial={"aliases": ", ".join(aliases)}),
            stages=stages_of(version),
            has_others=version.model.versions.kept().exclude(pk=version.pk).exists(),
            awaits_verdict=version.state in (State.FOUND, State.CHECKING),
            location=conf.storage().location_of(version.storage_key),
            inspection=inspection_summary(version.inspection),
            report=report_rows(version.report),
            sample=sample_table(version.sample, version.schema),
            served_by=ReplicaModel.objects.filter(serving_version=version).select_related("replica"),
            activations=version.activations.all()[:8],
        )

    # Two versions

    def compare_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show a version next to another one of the same model."""
        self.require_view(request)
        left, right = self._pair(request, pk)
        context = self.page_context(
            request,
            original=left,
            title="Compare",
            left=left,
            right=right,
            others=numbers_of(left),
            active_number=left.model.active_version.number if left.model.active_version else None,
            **(compare_context(left, right) if right is not None else {}),
        )
        return TemplateResponse(request, "models_registry/admin/compare.html", context)

    def compare_answers_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the predictions of two versions for the same rows."""
        self.require_view(request)
        require(request, TRY)
        left, right = self._pair(request, pk)
        if right is None:
            raise Http404
        context = {"left": left, "right": right, "answers": compare_answers(left, right)}
        return self.fragment(request, "models_registry/admin/compare_answers.html", context)

    def _pair(self, request: HttpRequest, pk: int) -> tuple[ModelVersion, ModelVersion | None]:
        left = get_object_or_404(ModelVersion.objects.select_related("model__active_version"), pk=pk)
        return left, other_version(left, request.GET.get("with", ""))

    # Acts

    def upload_view(self, request: HttpRequest) -> HttpResponse:
        """Show the upload page."""
        require(request, PUBLISH)
        if not may_upload(request):
            messages.info(
                request,
                "This project has no upload page: the upload needs the API of the service. Publish from a shell: "
                "python manage.py publish_model NAME FILE",
            )
            return redirect("admin:models_registry_registeredmodel_changelist")
        context = self.page_context(request, title="Upload a model", **upload_context(request))
        return TemplateResponse(request, "models_registry/admin/upload.html", context)

    def activate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Confirm, then activate."""
        self.require_view(request)
        require(request, ACTIVATE)
        version = get_object_or_404(ModelVersion.objects.select_related("model__active_version"), pk=pk)
        context = self.page_context(
            request,
            original=version,
            title="Activate",
            **replays.replay_context(version, may_view_log=may_here(request, LOG)),
        )
        return confirm(request, change_to(version, by=request.user.get_username()), context)

    def replay_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Handle the replay form; the CSRF token is checked after the permission to send a file."""
        replays.take_files(request)
        return self.admin_site.admin_view(require_POST(self._replay))(request, pk)  # type: ignore[no-any-return]

    def _replay(self, request: HttpRequest, pk: int) -> HttpResponse:
        self.require_view(request)
        require(request, ACTIVATE)
        version = get_object_or_404(ModelVersion.objects.select_related("model"), pk=pk)
        replays.ask(request, version)
        return redirect(reverse("admin:models_registry_modelversion_activate", args=[pk]) + "#replay")

    def replay_live_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the fragment of the confirmation that a replay changes."""
        self.require_view(request)
        require(request, ACTIVATE)
        version = get_object_or_404(ModelVersion.objects.select_related("model"), pk=pk)
        return self.fragment(
            request,
            "models_registry/admin/replay.html",
            replays.replay_context(version, may_view_log=may_here(request, LOG)),
        )

    def notes_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Change the notes on a version."""
        self.require_view(request)
        require(request, CHANGE)
        version = get_object_or_404(ModelVersion.objects.select_related("model__active_version"), pk=pk)
        form = card.NotesForm(request.POST)
        if form.is_valid():
            card.save_notes(request, version, form.cleaned_data["notes"])
            return redirect("admin:models_registry_modelversion_change", pk)
        context = {**self._version_context(request, version), "notes_form": form}
        return TemplateResponse(request, "models_registry/admin/version.html", context)

    def notes_history_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the revisions of the notes; a POST restores one of them."""
        self.require_view(request)
        version = get_object_or_404(ModelVersion.objects.select_related("model__active_version"), pk=pk)
        revisions = services.notes_revisions
        if request.method == "POST":
            require(request, CHANGE)
            store = partial(services.set_notes, version, by=request.user.get_username())
            text_history.restore_text(request, revisions, version, store, "The notes are")
            return redirect("admin:models_registry_modelversion_notes_history", pk)
        context = self.page_context(
            request,
            original=version,
            title="Notes history",
            heading=f"Notes on {version}: history",
            back_url=reverse("admin:models_registry_modelversion_change", args=[pk]),
            back_name=str(version),
            **text_history.history_context(request, revisions, version),
        )
        return TemplateResponse(request, "models_registry/admin/text_history.html", context)

    def aliases_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Change the aliases of a version."""
        self.require_view(request)
        require(request, CHANGE)
        version = get_object_or_404(ModelVersion.objects.select_related("model__active_version"), pk=pk)
        form = labels.AliasesForm(request.POST)
        if form.is_valid():
            labels.save_aliases(request, version, form.cleaned_data["aliases"])
        else:
            messages.error(request, f"The aliases were not changed. {' '.join(map(str, form.errors['aliases']))}")
        return redirect("admin:models_registry_modelversion_change", pk)

    def check_again_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Queue a rejected version for another validation."""
        require(request, PUBLISH)
        version = get_object_or_404(ModelVersion.objects.select_related("model"), pk=pk)
        with refusals_as_messages(request):
            services.recheck(version, by=request.user.get_username())
            messages.success(request, f"{version} waits for validation again.")
        return redirect("admin:models_registry_modelversion_change", version.pk)

    def delete_rejected_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Confirm, then delete a rejected version."""
        self.require_view(request)
        require(request, PUBLISH)
        version = get_object_or_404(ModelVersion.objects.select_related("model__active_version"), pk=pk)
        if request.method != "POST":
            location = conf.storage().location_of(version.storage_key)
            context = self.page_context(request, original=version, version=version, title="Delete", location=location)
            return TemplateResponse(request, "models_registry/admin/delete_version.html", context)
        with refusals_as_messages(request):
            services.delete_version(version, by=request.user.get_username())
            messages.success(request, f"{version} is deleted. Its number and its reasons stay.")
        return redirect("admin:models_registry_registeredmodel_change", version.model_id)
