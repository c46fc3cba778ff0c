"""OpenID Connect: allauth implements the protocol; the registry maps the identity to an account."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import requests
import structlog
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, get_adapter
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from mlapi.sign_in import accounts, pages
from mlapi.sign_in.claims import SignInRefused, identity_of, merged_claims

PROVIDER = "oidc"
# Fields of the provider's configuration (OpenID Connect Discovery, section 3) that a sign-in reads.
FIELDS = ("issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")

log = structlog.get_logger(__name__)


class BadAnswer(requests.RequestException):
    """The answer is not that of an OpenID Connect provider."""


class ProviderAnswers(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]  # allauth ships no types
    """Requests and reads the provider's answers; BadAnswer for one with a missing or malformed field.

    allauth raises KeyError or ValueError for most of them, which could also be a fault of this service.
    """

    @property
    def openid_config(self) -> dict[str, Any]:
        """The provider's configuration, fetched once."""
        if not hasattr(self, "_openid_config"):
            with get_adapter().get_requests_session() as session:
                response = session.get(self.get_provider().server_url)
                response.raise_for_status()
                config = response.json()
            if not isinstance(config, dict):
                raise BadAnswer("The openid-configuration is not a JSON object.")
            missing = [name for name in FIELDS if not isinstance(config.get(name), str)]
            if missing:
                raise BadAnswer(f"The openid-configuration has no {', '.join(missing)}.")
            self._openid_config = config
        return self._openid_config

    def get_access_token_data(self, *arguments: Any, **keywords: Any) -> Any:
        """Return the answer of the token endpoint."""
        with _reading("The answer of the token endpoint"):
            return super().get_access_token_data(*arguments, **keywords)

    def parse_token(self, data: Any) -> Any:
        """Return the token in the answer of the token endpoint."""
        with _reading("The answer of the token endpoint"):
            return super().parse_token(data)

    def complete_login(self, *arguments: Any, **keywords: Any) -> Any:
        """Return the identity in the ID token and in the answer of the userinfo endpoint."""
        with _reading("The claims"):
            return super().complete_login(*arguments, **keywords)


class Provider(OpenIDConnectProvider):  # type: ignore[misc]  # allauth ships no types
    """The configured provider."""

    oauth2_adapter_class = ProviderAnswers


class Adapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Takes over after allauth has verified the provider's response: allauth's own accounts and pages are unused."""

    def get_provider(self, request: HttpRequest, provider: str, client_id: str | None = None) -> Provider:
        """Return the configured provider."""
        return Provider(request, app=self.get_app(request, provider=provider, client_id=client_id))

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
        response: HttpResponse = OAuth2LoginView.adapter_view(ProviderAnswers(request, PROVIDER))(request)
    except requests.RequestException as error:
        return _unavailable(request, error)
    return response


def finish(request: HttpRequest) -> HttpResponse:
    """Verify the provider's redirect back to the service, and sign the user in."""
    try:
        response: HttpResponse = OAuth2CallbackView.adapter_view(ProviderAnswers(request, PROVIDER))(request)
    except requests.RequestException as error:
        return _unavailable(request, error)
    return response


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Convert allauth's errors for a missing or malformed field to BadAnswer."""
    try:
        yield
    except (KeyError, ValueError) as error:
        raise BadAnswer(f"{what} cannot be read: {error!r}") from error


def _unavailable(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("oidc_provider_unreachable", issuer=settings.MLAPI_OIDC_ISSUER, reason=str(error))
    return pages.refusal(
        request, f"{settings.MLAPI_OIDC_NAME} cannot be reached, or does not answer as an OpenID Connect provider. "
        "Try again in a minute, or sign in with a password at the login page.", status=503,
    )  # fmt: skip


def _home() -> str:
    return reverse("admin:index")
