"""OpenID Connect: allauth implements the protocol; the registry maps the identity to an account."""

from __future__ import annotations

from typing import Any, NoReturn

import requests
import structlog
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.providers.openid_connect import views
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from mlapi.sign_in import accounts, pages
from mlapi.sign_in.claims import SignInRefused, identity_of, merged_claims

PROVIDER = "oidc"

log = structlog.get_logger(__name__)


class Adapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Takes over after allauth has verified the provider's response: allauth's own accounts and pages are unused."""

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> NoReturn:
        """Sign in with the registry's account of the verified identity."""
        try:
            identity = identity_of(merged_claims(sociallogin.account.extra_data), issuer=settings.MLAPI_OIDC_ISSUER)
            accounts.sign_in(request, identity, through="oidc")
        except SignInRefused as error:
            raise ImmediateHttpResponse(pages.refusal(request, str(error), status=403)) from error
        raise ImmediateHttpResponse(HttpResponseRedirect(sociallogin.get_redirect_url(request) or _home()))

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> NoReturn:
        """Log the failure, and show the user why the sign-in failed."""
        log.warning("oidc_failed", error=str(error), reason=str(exception or ""))
        if isinstance(exception, requests.RequestException):
            raise ImmediateHttpResponse(_unavailable(request, exception))
        raise ImmediateHttpResponse(
            pages.refusal(
                request,
                f"{settings.MLAPI_OIDC_NAME} did not sign you in: the sign-in was cancelled, took longer than "
                "ten minutes, or its answer could not be verified. Start again at the login page.",
                status=401,
            )
        )


def start(request: HttpRequest) -> HttpResponse:
    """Redirect the browser to the provider."""
    if request.user.is_authenticated:
        return HttpResponseRedirect(_home())
    try:
        response: HttpResponse = views.login(request, PROVIDER)
    except (requests.RequestException, KeyError, ValueError) as error:
        return _unavailable(request, error)
    return response


def finish(request: HttpRequest) -> HttpResponse:
    """Verify the provider's redirect back to the service, and sign the user in."""
    try:
        response: HttpResponse = views.callback(request, PROVIDER)
    except (requests.RequestException, KeyError, ValueError) as error:
        return _unavailable(request, error)
    return response


def _unavailable(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("oidc_provider_unreachable", issuer=settings.MLAPI_OIDC_ISSUER, reason=str(error))
    return pages.refusal(
        request, f"{settings.MLAPI_OIDC_NAME} cannot be reached, or does not answer as an OpenID Connect provider. "
        "Try again in a minute, or sign in with a password at the login page.", status=503,
    )  # fmt: skip


def _home() -> str:
    return reverse("admin:index")
