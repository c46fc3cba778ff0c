"""The login page with the provider's button, and the page with the reason of a refused sign-in."""

from __future__ import annotations

import structlog
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode

from mlapi.sign_in.accounts import BACKEND

log = structlog.get_logger(__name__)


def login(request: HttpRequest) -> HttpResponse:
    """Show the admin's login page; a configured provider's button comes before the password."""
    extra: dict[str, object] = {}
    if settings.OIDC_LOGIN:
        target = request.GET.get("next") or request.POST.get("next") or ""
        query = f"?{urlencode({'next': target})}" if target else ""
        extra = {"sign_in_name": settings.MLAPI_OIDC_NAME, "sign_in_url": reverse("sign-in") + query}
    return admin.site.login(request, extra)


def refusal(request: HttpRequest, reason: str, *, status: int) -> HttpResponse:
    """Return a page, or JSON for a program, with the reason of a refused sign-in."""
    if "text/html" not in request.headers.get("Accept", ""):
        from mlapi.views import refused

        return refused(request, status, "sign_in_refused", reason)
    context = {**admin.site.each_context(request), "title": "Not signed in", "reason": reason}
    response = render(request, "mlapi/sign_in_refused.html", context, status=status)
    if status == 503:
        response["Retry-After"] = "60"
    return response


@receiver(user_logged_in)
def note_password(sender: object, request: HttpRequest, user: object, **_: object) -> None:
    """Log a password sign-in if a provider is configured: the account is then the emergency account."""
    federated = settings.MLAPI_ALB_SIGNER or settings.OIDC_LOGIN
    if federated and request is not None and getattr(request, "path_info", "") == reverse("admin:login"):
        log.warning("signed_in_by_password", username=str(user), backend=BACKEND)
