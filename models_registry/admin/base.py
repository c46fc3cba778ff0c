"""Base classes of the registry's admin pages: permissions, and messages for refused actions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.admin import RelatedFieldListFilter, SimpleListFilter
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render
from django.urls import NoReverseMatch, URLPattern, reverse
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.views import ChangeList

from models_registry.errors import RegistryError
from models_registry.models import RegisteredModel
from models_registry.permissions import (
    ACTIVATE,
    CHANGE,
    DOWNLOAD,
    LOG,
    OVERRIDE,
    PUBLISH,
    TRY,
    VIEW,
    is_limited,
    may,
    may_everywhere,
    visible,
)

# A placeholder name in the URL; the script replaces it by the form's name.
PLACEHOLDER = "NAME"
MODELS_OFFERED = 50
Shown = TypeVar("Shown", bound=Callable[..., Any])


class RecordList(ChangeList):  # type: ignore[misc]  # unfold ships no types
    """A page of a list: its rows are completed together, with a fixed number of queries."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        """Return the rows without the columns that the list does not show."""
        return super().get_queryset(request, exclude_parameters).defer(*self.model_admin.list_deferred)

    def get_results(self, request: HttpRequest) -> None:
        """Read the rows of the page, and the data of their columns."""
        super().get_results(request)
        rows = list(self.result_list)  # type: ignore[has-type]
        self.model_admin.complete(request, rows)
        self.result_list = rows


class ModelFilter(RelatedFieldListFilter):
    """Offers all models if they are few; the search field finds one of many."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        """Return the models, or only the selected one if there are too many."""
        names = visible(request.user, VIEW, RegisteredModel.objects.order_by("name"))
        offered = list(names.values_list("pk", "name")[: MODELS_OFFERED + 1])
        if len(offered) <= MODELS_OFFERED:
            return offered
        chosen = request.GET.get(f"{self.field_path}__id__exact", "")
        return list(names.filter(pk=int(chosen)).values_list("pk", "name")) if chosen.isdecimal() else []

    def has_output(self) -> bool:
        """Show the filter where models are offered, so that a selected one can be deselected."""
        return bool(self.lookup_choices) and (len(self.lookup_choices) > 1 or bool(self.lookup_val))


class HidingFilter(SimpleListFilter):
    """A filter that hides some rows by default, and says so in its first choice."""

    default_choice: str

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Yield the choices, with the default rows instead of all rows."""
        for position, choice in enumerate(super().choices(changelist)):
            yield {**choice, "display": self.default_choice} if position == 0 else choice


class RecordAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """A list and detail pages of registry data; nothing is added, edited or deleted directly."""

    # The path to a row's model; None: the rows concern the whole service.
    model_path: str | None = None
    # Whether users with limited permissions also see such rows.
    is_shared = False
    actions: tuple[str, ...] | None = None
    list_per_page = 50
    # The header shows the number of matching rows; the total number would need another query.
    show_full_result_count = False
    # Large columns that the list does not show.
    list_deferred: tuple[str, ...] = ()
    change_form_template = "models_registry/admin/record.html"
    # The list's name in the sidebar and in the breadcrumbs.
    list_title: str

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RecordList]:
        """Return the list class that completes its rows with `complete`."""
        return RecordList

    def complete(self, request: HttpRequest, rows: list[Any]) -> None:
        """Add the data of columns to the rows of one page, with a fixed number of queries."""

    @property
    def urls(self) -> list[URLPattern]:
        """Return the pages; a row of a model that the user may not view does not exist for that user."""
        patterns: list[URLPattern] = self.get_urls()
        for pattern in patterns:
            pattern.callback = self._guarded(pattern.callback)
        return patterns

    def _guarded(self, view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            key = unquote(str(kwargs.get("pk", kwargs.get("object_id", ""))))
            if self.model_path is not None and key.isdecimal() and is_limited(request.user):
                name = self.model.objects.filter(pk=int(key)).values_list(self.model_path, flat=True).first()
                if name is None or not may(request.user, self._view_right(request), name):
                    raise Http404
                request.registry_model = name  # type: ignore[attr-defined]
            return view(request, *args, **kwargs)

        return guarded

    def _view_right(self, request: HttpRequest) -> str:
        """Return the permission by which the user sees the rows: view, or else change."""
        view, change = (f"{self.opts.app_label}.{action}_{self.opts.model_name}" for action in ("view", "change"))
        return view if may(request.user, view) else change

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may see the rows; rows of the whole service need an unlimited permission."""
        if self.model_path is None and not self.is_shared:
            return may_everywhere(request.user, self._view_right(request))
        return may(request.user, self._view_right(request))

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the rows of the models that the user may view."""
        rows = super().get_queryset(request)
        return (
            rows if self.model_path is None else visible(request.user, self._view_right(request), rows, self.model_path)
        )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: services create rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: records are kept."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: records are kept."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the list under its name in the sidebar."""
        return super().changelist_view(request, {"title": self.list_title, **(extra_context or {})})

    def page_context(self, request: HttpRequest, **values: Any) -> dict[str, Any]:
        """Return the context that every page of this admin needs, plus `values`."""
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "list_title": self.list_title,
            "media": self.media,
            "may_publish": may_here(request, PUBLISH),
            "may_upload": may_upload(request),
            "may_activate": may_here(request, ACTIVATE),
            "may_try": may_here(request, TRY),
            "may_download": may_here(request, DOWNLOAD),
            "may_override": may_here(request, OVERRIDE),
            "may_change": may_here(request, CHANGE),
            "may_view_log": may_here(request, LOG),
            **values,
        }

    def fragment(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        """Return the page fragment that registry.js fetches repeatedly."""
        response = render(request, template, context)
        response["Cache-Control"] = "no-store"
        return response

    def shown_object(self, request: HttpRequest, object_id: str) -> Any:
        """Return the object of a page that can only be read, or the response if there is nothing to show."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        self.require_view(request)
        found = self.get_object(request, object_id)
        return self._get_obj_does_not_exist_redirect(request, self.opts, object_id) if found is None else found

    def require_view(self, request: HttpRequest) -> None:
        """Raise PermissionDenied for a user without the view permission."""
        if not self.has_view_permission(request):
            raise PermissionDenied


def credentials_context(kind: str) -> dict[str, Any]:
    """Return the texts that the lists of API keys (`key`) and API tokens (`token`) share."""
    return {"credential": kind, "keys_are_required": getattr(settings, "MLAPI_REQUIRE_API_KEY", False)}


def labelled(description: str, colours: Mapping[str, str], ordering: str | None = None) -> Callable[[Shown], Shown]:
    """Set a list column's `description`, and show its values as labels in these colours."""

    def decorate(function: Shown) -> Shown:
        return cast(Shown, display(description=description, label=dict(colours), ordering=ordering)(function))

    return decorate


def may_here(request: HttpRequest, right: str) -> bool:
    """Return whether the user has a permission for the page's model; for any model if the page has none."""
    return may(request.user, right, getattr(request, "registry_model", None))


def require(request: HttpRequest, permission: str) -> None:
    """Raise PermissionDenied for a user without `permission` for the model of the page."""
    if not may_here(request, permission):
        raise PermissionDenied


@contextmanager
def refusals_as_messages(request: HttpRequest) -> Iterator[None]:
    """Show an error of the registry as a message on the page, not as an error page."""
    try:
        yield
    except RegistryError as error:
        messages.error(request, str(error))


def upload_address() -> str | None:
    """Return the upload URL, with PLACEHOLDER for the model's name; None if the project has no API."""
    try:
        return reverse("api-versions", args=[PLACEHOLDER])
    except NoReverseMatch:
        return None


def may_upload(request: HttpRequest) -> bool:
    """Return whether the user may publish, and the project has an upload URL."""
    return may_here(request, PUBLISH) and upload_address() is not None
