"""Pages of users, groups and API tokens in the registry's layout."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern
from rest_framework.authtoken.admin import TokenAdmin as RestTokenAdmin
from rest_framework.authtoken.models import TokenProxy
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from models_registry.admin.base import credentials_context
from models_registry.models import ModelLimit
from models_registry.services.tokens import stored_form


class ModelLimits(TabularInline):  # type: ignore[misc]
    """The models to which the permissions of the group or user are limited."""

    model = ModelLimit
    fields = ("pattern",)
    extra = 0
    tab = False
    verbose_name_plural = "Model limits (without limits: every model)"

    def _may_change(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm(f"auth.change_{self.parent_model._meta.model_name}"))

    has_add_permission = has_change_permission = has_delete_permission = _may_change

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Show the limits to users who may see the page."""
        return True


class AccessAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """Django's own pages with the header of the registry's pages."""

    # The list's name in the sidebar.
    list_title: str

    @property
    def urls(self) -> list[URLPattern]:
        """Return the pages, each with breadcrumbs."""
        patterns: list[URLPattern] = self.get_urls()
        for pattern in patterns:
            pattern.callback = self._with_header(pattern.callback)
        return patterns

    def title_of(self, row: Any) -> str:
        """Return the row's name in the breadcrumbs."""
        return str(row)

    def _with_header(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            response = view(request, *args, **kwargs)
            context = getattr(response, "context_data", None)
            # A page with a title for the list already has the header.
            if isinstance(response, TemplateResponse) and context is not None and "list_title" not in context:
                context["stock_page"] = response.resolve_template(response.template_name)
                context["list_title"] = self.list_title
                shown = context.get("original") or context.get("object")
                context |= {"original": shown, "original_title": self.title_of(shown)}
                response.template_name = "models_registry/admin/stock.html"
            return response

        return answer


class UserAdmin(DjangoUserAdmin, AccessAdmin):  # type: ignore[type-arg]
    """Users, and their permissions."""

    list_title = "Users"
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    # With labels, the two lists of permissions are wider than a laptop's screen.
    compressed_fields = False
    inlines = (ModelLimits,)


class GroupAdmin(DjangoGroupAdmin, AccessAdmin):
    """Permissions that several users share."""

    list_title = "Groups"
    compressed_fields = False
    inlines = (ModelLimits,)


class TokenAdmin(RestTokenAdmin, AccessAdmin):
    """Tokens for the registry's API; each has its user's permissions, and is shown once."""

    list_display = ("user", "created")
    list_display_links = ("user",)
    list_before_template = "models_registry/admin/credentials.html"
    change_list_template = "models_registry/admin/api_tokens.html"
    list_title = "API tokens"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the tokens, and an explanation."""
        context = {"list_title": self.list_title, **credentials_context("token")}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Preselect the current user, if that user has no token yet."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        if not TokenProxy.objects.filter(user=request.user.pk).exists():
            initial.setdefault("user", request.user.pk)
        return initial

    def title_of(self, row: Any) -> str:
        """Return the token's user: the token itself is stored only as a digest."""
        return f"Token of {row.user}" if row is not None else ""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse a change: another user needs another token."""
        return False

    def response_add(self, request: HttpRequest, obj: TokenProxy, post_url_continue: str | None = None) -> HttpResponse:
        """Respond to a valid form with the token, once."""
        context = {**self.admin_site.each_context(request), "opts": self.opts, "list_title": self.list_title}
        context |= {"title": "New API token", "holder": obj.user.get_username(), "text": obj.key, "media": self.media}
        return TemplateResponse(request, "models_registry/admin/new_api_token.html", context)

    def log_addition(self, request: HttpRequest, obj: TokenProxy, message: Any) -> Any:
        """Log the token's author and user, but not the token."""
        nameless = copy.copy(obj)
        nameless.key = stored_form(obj.key)
        return super().log_addition(request, nameless, message)


def take_over(site: admin.AdminSite) -> None:
    """Replace Django's own pages; a project's own pages, and those of its own user model, stay."""
    for model, stock, page in (
        (User, DjangoUserAdmin, UserAdmin),
        (Group, DjangoGroupAdmin, GroupAdmin),
        (TokenProxy, RestTokenAdmin, TokenAdmin),
    ):
        if site.is_registered(model) and type(site.get_model_admin(model)) is stock:
            site.unregister(model)
            site.register(model, page)


take_over(admin.site)
