"""Models: the active version of each, the rollout, and the policy."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, F, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET, require_POST

from models_registry import conf, services
from models_registry.admin import bulk, canary
from models_registry.admin.base import HidingFilter, labelled, may_here, may_upload, refusals_as_messages, require
from models_registry.admin.charts import usage_context
from models_registry.admin.confirm import change_to, change_to_archived, change_to_none, confirm
from models_registry.admin.model_settings import SettingsForm, settings_of
from models_registry.admin.monitoring_pages import MonitoringPages
from models_registry.artifacts.formats import listed_endings
from models_registry.errors import NothingToRollBackTo
from models_registry.models import Activation, Lease, ModelVersion, RegisteredModel, Replica, State
from models_registry.permissions import ACTIVATE, CHANGE, PUBLISH, may_everywhere
from models_registry.services import DiscoveryResult
from models_registry.templatetags.registry import moment

VERSIONS_SHOWN = 20
HISTORY_SHOWN = 8
IGNORED_SHOWN = 10
DISCOVERY = "discovery"
ROLLOUT_COLOURS = {"complete": "success", "in progress": "info", "failed": "danger", "no replica": "warning"}


class UseFilter(HidingFilter):
    """Models in use; archived ones are hidden by default."""

    title = "use"
    parameter_name = "archived"
    default_choice = "In use"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the other choices."""
        return [("yes", "Archived")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RegisteredModel]) -> QuerySet[RegisteredModel]:
        """Return the selected models."""
        return queryset.filter(archived_at__isnull=self.value() != "yes")


@admin.register(RegisteredModel)
class RegisteredModelAdmin(MonitoringPages):
    """The models, with a page for each that shows its versions and its rollout."""

    list_title = "Models"
    model_path = "name"
    list_deferred = ("card",)
    list_display = ("title", "active", "rollout", "versions_count", "who_decides", "activated")
    list_display_links = ("title",)
    list_before_template = "models_registry/admin/discovery.html"
    change_list_template = "models_registry/admin/models.html"
    list_filter = (UseFilter,)
    search_fields = ("name", "description")
    search_help_text = "Search by name or description"
    actions = ("archive",)

    def get_urls(self) -> list[URLPattern]:
        """Return this admin's pages: actions first, since Django's own patterns match any path."""
        name = "models_registry_registeredmodel_{}".format
        view = self.admin_site.admin_view
        return [
            path("discover/", view(require_POST(self.discover_view)), name=name("discover")),
            path("named/<str:model>/", view(require_GET(self.named_view)), name=name("named")),
            path("<int:pk>/live/", view(require_GET(self.live_view)), name=name("live")),
            path("<int:pk>/roll-back/", view(self.roll_back_view), name=name("roll_back")),
            path("<int:pk>/deactivate/", view(self.deactivate_view), name=name("deactivate")),
            path("<int:pk>/archive/", view(self.archive_view), name=name("archive")),
            path("<int:pk>/restore/", view(require_POST(self.restore_view)), name=name("restore")),
            path("<int:pk>/promote/", view(require_POST(canary.promote_view)), name=name("promote")),
            path("<int:pk>/end-canary/", view(require_POST(canary.end_view)), name=name("end_canary")),
            *self.monitoring_urls(),
            path("<int:pk>/settings/", view(require_POST(self.settings_view)), name=name("settings")),
            *super().get_urls(),
        ]

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[RegisteredModel]:
        """Return the models with the columns that the list can sort by."""
        queryset: QuerySet[RegisteredModel] = super().get_queryset(request)
        versions = ModelVersion.objects.kept().filter(model=OuterRef("pk")).order_by().values("model")
        current = Activation.objects.filter(model=OuterRef("pk"), generation=OuterRef("generation"))
        return queryset.annotate(
            active_number=F("active_version__number"),
            versions_total=Coalesce(
                Subquery(versions.annotate(total=Count("pk")).values("total"), output_field=IntegerField()), 0
            ),
            activated_at=Subquery(current.values("activated_at")[:1]),
        )

    def complete(self, request: HttpRequest, rows: list[RegisteredModel]) -> None:
        """Add to each model its rollout, its latest activation, and the number of versions that need attention."""
        needing = {
            row["model"]: row
            for row in ModelVersion.objects.filter(model__in=rows)
            .exclude(state__in=[State.READY, State.MISSING, State.DELETED])
            .order_by()
            .values("model")
            .annotate(
                rejected=Count("pk", filter=Q(state=State.REJECTED)),
                waiting=Count("pk", filter=~Q(state=State.REJECTED)),
            )
        }
        latest = services.latest_activations(rows)
        for model, rollout in zip(rows, services.rollouts(rows), strict=True):
            model.shown_rollout, model.latest = rollout, latest.get(model.pk)  # type: ignore[attr-defined]
            model.needing = needing.get(model.pk, {})  # type: ignore[attr-defined]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the models, and the result of the last scan of the storage."""
        context = {
            "lease": Lease.objects.filter(pk=DISCOVERY).first(),
            "storage_url": settings.MODELS_STORAGE,
            "endings": listed_endings(),
            "live_replicas": Replica.objects.live().count(),
            "has_service": services.has_service(),
            "may_discover": may_everywhere(request.user, PUBLISH),
            "may_upload": may_upload(request),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    @admin.display(description="Model", ordering="name")
    def title(self, model: RegisteredModel) -> SafeString | str:
        """Return the name and, below it, the description."""
        if not model.description:
            return model.name
        return format_html('<div>{}<span class="reg-muted reg-below">{}</span></div>', model.name, model.description)

    @admin.display(description="Active version", ordering="active_number")
    def active(self, model: RegisteredModel) -> SafeString | str:
        """Return the active version."""
        if model.active_version_id is None:
            return "None"
        url = reverse("admin:models_registry_modelversion_change", args=[model.active_version_id])
        return format_html('<a class="reg-link" href="{}">version {}</a>', url, getattr(model, "active_number", ""))

    @labelled(
        "Rollout",
        {**ROLLOUT_COLOURS, "–": "default"},
    )
    def rollout(self, model: RegisteredModel) -> tuple[str, str]:
        """Return the state of the rollout."""
        if model.active_version_id is None:
            return "–", "no active version"
        state: services.Rollout = model.shown_rollout  # type: ignore[attr-defined]
        if state.live == 0 and not state.has_service:
            return "–", "no service here: the project's own code loads it"
        if state.live == 0:
            return "no replica", "no live replica"
        text = f"{state.serving} of {state.live} serve it"
        if state.failed:
            return "failed", f"{text}, {len(state.failed)} failed"
        return ("complete" if state.is_complete else "in progress"), text

    @admin.display(description="Versions", ordering="versions_total")
    def versions_count(self, model: RegisteredModel) -> str:
        """Return the number of versions, and how many need attention."""
        parts = [str(getattr(model, "versions_total", 0))]
        needing: dict[str, int] = getattr(model, "needing", {})
        for name, word in (("waiting", "waiting for validation"), ("rejected", "rejected")):
            if count := needing.get(name):
                parts.append(f"{count} {word}")
        return ", ".join(parts)

    @admin.display(description="Policy", ordering="policy")
    def who_decides(self, model: RegisteredModel) -> str:
        """Return the policy's name."""
        return model.policy

    @admin.display(description="Activated", ordering="activated_at")
    def activated(self, model: RegisteredModel) -> SafeString | str:
        """Return when and by whom the active version was activated."""
        last: Activation | None = getattr(model, "latest", None)
        if last is None:
            return "–"
        by = f"by {last.activated_by}" if last.activated_by else ""
        if last.version_id is None:
            by = f"deactivated {by}".strip()
        return format_html('<div>{}<span class="reg-muted reg-below">{}</span></div>', moment(last.activated_at), by)

    def has_activate_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may archive any model."""
        return may_here(request, ACTIVATE)

    @admin.action(description="Archive models", permissions=["activate"])
    def archive(self, request: HttpRequest, queryset: QuerySet[RegisteredModel]) -> HttpResponse | None:
        """Confirm, then archive the selected models."""
        return bulk.carry_out(self, request, queryset.order_by("name"), bulk.ARCHIVE)

    # The page of one model

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a model: its rollout, its versions, its settings and its latest history."""
        model = self.shown_object(request, object_id)
        if isinstance(model, HttpResponse):
            return model
        history = model.activations.select_related("version", "previous_version")[:HISTORY_SHOWN]
        form = SettingsForm(initial=settings_of(model))
        context = self.page_context(
            request,
            original=model,
            title=model.name,
            form=form,
            history=history,
            **self._live_context(request, model),
            **usage_context(model, request.GET.get("window", "")),
        )
        return TemplateResponse(request, "models_registry/admin/model.html", context)

    def named_view(self, request: HttpRequest, model: str) -> HttpResponse:
        """Redirect from a model's name, and optionally a version's number, to its page."""
        self.require_view(request)
        found = get_object_or_404(self.get_queryset(request), name=model)
        number = request.GET.get("version", "")
        if number.isdecimal() and len(number) < 10:
            version = get_object_or_404(found.versions, number=int(number))
            return redirect("admin:models_registry_modelversion_change", version.pk)
        return redirect("admin:models_registry_registeredmodel_change", found.pk)

    def live_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the fragment of a model's page that changes over time."""
        model = self._model(request, pk)
        context = self.page_context(request, original=model, **self._live_context(request, model))
        return self.fragment(request, "models_registry/admin/live.html", context)

    def _live_context(self, request: HttpRequest, model: RegisteredModel) -> dict[str, Any]:
        versions = list(model.versions.kept().newest_first().without_details()[:VERSIONS_SHOWN])
        if model.active_version is not None and model.active_version not in versions:
            versions.append(model.active_version)
        for version in versions:
            version.model = model
        try:
            target = services.rollback_target(model)
        except NothingToRollBackTo:
            target = None
        return {
            "model": model,
            "rollout": services.rollout(model),
            "activation": model.activations.filter(generation=model.generation).first(),
            "versions": versions,
            "versions_total": model.versions.kept().count(),
            "rollback_target": target,
            "acceleration_is_off": not settings.MODELS_ACCELERATION,
            **canary.canary_context(model),
        }

    # Acts

    def discover_view(self, request: HttpRequest) -> HttpResponse:
        """Scan the storage for new versions, and report the result."""
        if not may_everywhere(request.user, PUBLISH):
            raise PermissionDenied
        with refusals_as_messages(request):
            _tell_discovery(request, services.discover())
        return redirect("admin:models_registry_registeredmodel_changelist")

    def roll_back_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Confirm, then activate the previously active version."""
        model = self._model(request, pk)
        require(request, ACTIVATE)
        try:
            by = request.user.get_username()
            change = change_to(services.rollback_target(model), by=by, is_rollback=True)
        except NothingToRollBackTo as error:
            messages.error(request, str(error))
            return redirect("admin:models_registry_registeredmodel_change", model.pk)
        return confirm(request, change, self.page_context(request, original=model, title="Roll back"))

    def deactivate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Confirm, then deactivate the model."""
        model = self._model(request, pk)
        require(request, ACTIVATE)
        context = self.page_context(request, original=model, title="Deactivate")
        return confirm(request, change_to_none(model), context)

    def archive_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Confirm, then archive the model."""
        model = self._model(request, pk)
        require(request, ACTIVATE)
        context = self.page_context(request, original=model, title="Archive")
        return confirm(request, change_to_archived(model), context)

    def restore_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Restore an archived model."""
        model = self._model(request, pk)
        require(request, ACTIVATE)
        if services.restore(model, by=request.user.get_username()):
            messages.success(request, f"{model.name} is restored. No version is active: activate one.")
        else:
            messages.info(request, f"{model.name} was not archived. Nothing has changed.")
        return redirect("admin:models_registry_registeredmodel_change", model.pk)

    def settings_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Change a model's settings, each by its service."""
        require(request, CHANGE)
        model = get_object_or_404(RegisteredModel, pk=pk)
        form = SettingsForm(request.POST, initial=settings_of(model))
        back = redirect("admin:models_registry_registeredmodel_change", model.pk)
        if not form.is_valid():
            for name, errors in form.errors.items():
                messages.error(request, f"{name.capitalize()}: {' '.join(map(str, errors))}")
            return back
        by, wanted, changed = request.user.get_username(), form.cleaned_data, []
        with refusals_as_messages(request):
            if wanted["policy"] != model.policy:
                services.set_policy(model, wanted["policy"], by=by)
                changed.append(f"policy is {wanted['policy']}")
            before = model.latest_percent, model.latest_bake_minutes
            given = wanted["latest_percent"], wanted["latest_bake_minutes"]
            percent, minutes = (old if new is None else new for old, new in zip(before, given, strict=True))
            if (percent, minutes) != before:
                services.set_latest_canary(model, percent=percent, bake_minutes=minutes, by=by)
                changed.append(f"new versions start with {percent:g} %")
            if wanted["acceleration"] != model.acceleration:
                services.set_acceleration(model, wanted["acceleration"], by=by)
                changed.append(f"acceleration is {'on' if wanted['acceleration'] else 'off'}")
            if wanted["description"] != model.description:
                services.set_description(model, wanted["description"], by=by)
                changed.append("description changed")
            if "tags" in request.POST and "tags" in form.changed_data:
                services.set_tags(model, wanted["tags"], by=by)
                changed.append("tags changed")
            messages.success(request, f"{model.name}: {', '.join(changed) or 'nothing changed'}.")
        return back


def _tell_discovery(request: HttpRequest, result: DiscoveryResult) -> None:
    if result.found:
        if Replica.objects.live().exists():
            checks = "A live replica validates them now."
        elif services.has_service():
            checks = "No replica is live to validate them. Start the service, or run sync_models."
        else:
            checks = "Run manage.py sync_models to validate them."
        messages.success(request, f"Found {_counted(result.found)}. {checks}")
    if result.returned:
        messages.success(request, f"In the storage again: {_counted(result.returned)}.")
    if result.missing:
        messages.warning(request, f"No longer in the storage: {_counted(result.missing)}.")
    for sentence in result.ignored[:IGNORED_SHOWN]:
        messages.warning(request, f"Ignored {sentence}")
    if len(result.ignored) > IGNORED_SHOWN:
        messages.warning(request, f"{len(result.ignored) - IGNORED_SHOWN} more files were ignored.")
    if not (result.found or result.returned or result.missing):
        messages.info(request, f"No new versions in {conf.storage().location_of('')}.")


def _counted(versions: list[Any]) -> str:
    names = ", ".join(map(str, versions[:10]))
    more = f" and {len(versions) - 10} more" if len(versions) > 10 else ""
    return f"{len(versions)} version{'' if len(versions) == 1 else 's'}: {names}{more}"
