"""What every act in the admin shares: who may, and how a refusal is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from unfold.admin import ModelAdmin
from unfold.decorators import display

from models_registry.errors import RegistryError

CHANGE = "models_registry.change_registeredmodel"
PUBLISH = "models_registry.publish_modelversion"
LOG = "models_registry.view_predictionlog"
ACTIVATE = "models_registry.activate_modelversion"
TRY = "models_registry.try_modelversion"
OVERRIDE = "models_registry.override_check"

# A name that stands in the address until the form's own takes its place.
PLACEHOLDER = "NAME"
Shown = TypeVar("Shown", bound=Callable[..., Any])


class RecordAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """A list and a page of what the registry holds; nothing is added, edited or deleted by hand."""

    actions = None
    list_per_page = 50
    change_form_template = "models_registry/admin/record.html"
    # The sidebar's word for the list; the way to each of its pages is written with it.
    list_title: str

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no: rows come from services."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no: what is recorded stays."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no: what is recorded stays."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the list under the sidebar's word for it."""
        return super().changelist_view(request, {"title": self.list_title, **(extra_context or {})})

    def page_context(self, request: HttpRequest, **values: Any) -> dict[str, Any]:
        """Return what every page of this admin's own needs, with `values`."""
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "list_title": self.list_title,
            "media": self.media,
            "may_publish": request.user.has_perm(PUBLISH),
            "may_upload": may_upload(request),
            "may_activate": request.user.has_perm(ACTIVATE),
            "may_try": request.user.has_perm(TRY),
            "may_override": request.user.has_perm(OVERRIDE),
            "may_change": request.user.has_perm(CHANGE),
            **values,
        }

    def fragment(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        """Return the part of a page that registry.js fetches again and again."""
        response = render(request, template, context)
        response["Cache-Control"] = "no-store"
        return response

    def require_view(self, request: HttpRequest) -> None:
        """Raise PermissionDenied for those who may not look."""
        if not self.has_view_permission(request):
            raise PermissionDenied


def credentials_context(kind: str) -> dict[str, Any]:
    """Return what the lists of API keys (`key`) and of API tokens (`token`) say of both."""
    return {"credential": kind, "keys_are_required": getattr(settings, "MLAPI_REQUIRE_API_KEY", False)}


def labelled(description: str, colours: Mapping[str, str]) -> Callable[[Shown], Shown]:
    """Head a list's column with `description`, and show its values as labels in these colours."""

    def decorate(function: Shown) -> Shown:
        return cast(Shown, display(description=description, label=dict(colours))(function))

    return decorate


def require(request: HttpRequest, permission: str) -> None:
    """Raise PermissionDenied for a user without `permission`."""
    if not request.user.has_perm(permission):
        raise PermissionDenied


@contextmanager
def told_in_words(request: HttpRequest) -> Iterator[None]:
    """Show what the registry refuses as a message, in place of an error page."""
    try:
        yield
    except RegistryError as error:
        messages.error(request, str(error))


def upload_address() -> str | None:
    """Return the address to which artifacts go, with PLACEHOLDER for the model; None where the project has no API."""
    try:
        return reverse("api-versions", args=[PLACEHOLDER])
    except NoReverseMatch:
        return None


def may_upload(request: HttpRequest) -> bool:
    """Return whether the user may publish, and the project has an address for it."""
    return request.user.has_perm(PUBLISH) and upload_address() is not None
