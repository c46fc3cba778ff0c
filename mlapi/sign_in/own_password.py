"""The page that replaces a one-time password."""

from __future__ import annotations

from typing import Any

import structlog
from django.contrib import admin, messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import SetPasswordForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from unfold.widgets import BASE_INPUT_CLASSES

from mlapi.sign_in.one_time import must_set_password

log = structlog.get_logger(__name__)


class OwnPasswordForm(SetPasswordForm):  # type: ignore[type-arg]
    """The new password, entered twice."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs["class"] = " ".join(BASE_INPUT_CLASSES)
        self.fields["new_password1"].widget.attrs["autofocus"] = ""


@sensitive_post_parameters("new_password1", "new_password2")
@never_cache
def page(request: HttpRequest) -> HttpResponse:
    """Show the form; after a valid POST, set the password and redirect to the requested page."""
    if not must_set_password(request):
        return redirect("admin:index")
    form = OwnPasswordForm(request.user, request.POST if request.method == "POST" else None)
    if form.is_valid():
        form.save()
        update_session_auth_hash(request, form.user)
        log.info("own_password_set", username=form.user.get_username())
        messages.success(request, "Your password is set. The one-time password no longer works.")
        return redirect(_target(request))
    context = {**admin.site.each_context(request), "title": "Set your password", "form": form}
    return render(request, "mlapi/own_password.html", context)


def _target(request: HttpRequest) -> str:
    """Return the requested page if it belongs to this service."""
    wanted = request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if is_ours else reverse("admin:index")
