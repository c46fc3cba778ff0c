"""API keys for predictions. A key is shown once, on the page that follows its creation."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from models_registry import services
from models_registry.admin.base import RecordAdmin, credentials_context, labelled, refusals_as_messages
from models_registry.errors import RegistryError
from models_registry.models import ApiKey, RegisteredModel
from models_registry.permissions import MANAGE_KEYS, may_everywhere
from models_registry.templatetags.registry import NOTHING, moment


class NewKeyForm(forms.Form):
    """The limits of a key."""

    name = forms.CharField(
        max_length=100,
        help_text="The system that uses the key, e.g. web shop.",
        widget=UnfoldAdminTextInputWidget(attrs={"autofocus": True}),
    )
    models = forms.MultipleChoiceField(
        required=False,
        help_text="If none is selected, the key is valid for every model, including future ones.",
        widget=forms.CheckboxSelectMultiple(),
    )
    expires_in_days = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=36_500,
        help_text="If empty, the key does not expire.",
        widget=UnfoldAdminIntegerFieldWidget(),
    )
    rate_per_minute = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=100_000_000,
        help_text="Maximum number of requests a minute. If empty, there is no limit.",
        widget=UnfoldAdminIntegerFieldWidget(),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Offer the registered models."""
        super().__init__(*args, **kwargs)
        names = RegisteredModel.objects.values_list("name", flat=True)
        self.fields["models"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]


@admin.register(ApiKey)
class ApiKeyAdmin(RecordAdmin):
    """Every key, including revoked ones, without the keys themselves."""

    list_title = "API keys"
    list_display = ("title", "begins", "shown_state", "good_for", "rate", "created", "expires", "last_used")
    list_display_links = ("title",)
    change_list_template = "models_registry/admin/api_keys.html"
    list_before_template = "models_registry/admin/credentials.html"
    search_fields = ("name", "prefix", "created_by")
    search_help_text = "Search by name, prefix or creator"
    ordering = ("-created_at",)

    def get_urls(self) -> list[URLPattern]:
        """Return this admin's pages: actions first, since Django's own patterns match any path."""
        revoke = self.admin_site.admin_view(require_POST(self.revoke_view))
        return [path("<int:pk>/revoke/", revoke, name="models_registry_apikey_revoke"), *super().get_urls()]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may create keys."""
        return may_everywhere(request.user, MANAGE_KEYS)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow a user who may create keys to view them."""
        return may_everywhere(request.user, MANAGE_KEYS) or super().has_view_permission(request, obj)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Show the form; respond to a valid form with the key, once."""
        self._require_management(request)
        form = NewKeyForm(request.POST if request.method == "POST" else None)
        made: tuple[ApiKey, str] | None = None
        if request.method == "POST" and form.is_valid():
            asked = form.cleaned_data
            try:
                made = services.create_key(
                    asked["name"],
                    by=request.user.get_username(),
                    model_names=asked["models"],
                    expires_in_days=asked["expires_in_days"],
                    rate_per_minute=asked["rate_per_minute"],
                )
            except RegistryError as error:
                form.add_error("name", str(error))
        key, text = made or (None, "")
        context = self.page_context(request, title="New API key", form=form, key=key, text=text)
        return TemplateResponse(request, "models_registry/admin/new_api_key.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show one key, and the button that revokes it."""
        key = self.shown_object(request, object_id)
        if isinstance(key, HttpResponse):
            return key
        may_revoke = key.revoked_at is None and may_everywhere(request.user, MANAGE_KEYS)
        context = self.page_context(request, original=key, title=key.name, key=key, may_revoke=may_revoke)
        return TemplateResponse(request, "models_registry/admin/api_key.html", context)

    def _require_management(self, request: HttpRequest) -> None:
        if not self.has_add_permission(request):
            raise PermissionDenied

    def revoke_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Revoke one key."""
        self._require_management(request)
        key = get_object_or_404(ApiKey, pk=pk)
        with refusals_as_messages(request):
            if services.revoke_key(key, by=request.user.get_username()):
                messages.success(request, f"{key} is revoked. Replicas refuse it after their next poll.")
            else:
                messages.info(request, f"{key} was already revoked. Nothing has changed.")
        return redirect("admin:models_registry_apikey_changelist")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the keys, and whether predictions need one."""
        return super().changelist_view(request, {**credentials_context("key"), **(extra_context or {})})

    @admin.display(description="Name", ordering="name")
    def title(self, key: ApiKey) -> str:
        """Return the key's user."""
        return key.name

    @admin.display(description="Begins with", ordering="prefix")
    def begins(self, key: ApiKey) -> str:
        """Return the visible prefix."""
        return f"{key.prefix}…"

    @labelled("State", {"in use": "success", "expired": "warning", "revoked": "danger"})
    def shown_state(self, key: ApiKey) -> str:
        """Return the key's state."""
        return key.state

    @admin.display(description="Models")
    def good_for(self, key: ApiKey) -> str:
        """Return the key's models."""
        return ", ".join(key.model_names) or "every model"

    @admin.display(description="Requests a minute", ordering="rate_per_minute")
    def rate(self, key: ApiKey) -> str:
        """Return the rate limit."""
        return str(key.rate_per_minute or "unlimited")

    @admin.display(description="Created", ordering="created_at")
    def created(self, key: ApiKey) -> str:
        """Return the time of creation."""
        return moment(key.created_at)

    @admin.display(description="Expires", ordering="expires_at")
    def expires(self, key: ApiKey) -> str:
        """Return the time of expiry."""
        return moment(key.expires_at) if key.expires_at else NOTHING

    @admin.display(description="Last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> str:
        """Return the time of the last use, to the minute."""
        return moment(key.last_used_at) if key.last_used_at else "never"
