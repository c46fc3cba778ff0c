"""Signs in users of the load balancer on the admin's paths, and restricts those with a one-time password."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.conf import settings
from django.contrib.auth import logout
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

from mlapi.sign_in import accounts, balancer, one_time, pages
from mlapi.sign_in.claims import SignInRefused, identity_of

# Session key for the digest of the header's claims.
FINGERPRINT = "balancer_identity"
ADMIN = "/admin/"
LOGIN = "/admin/login/"
LOGOUT = "/admin/logout/"

log = structlog.get_logger(__name__)


class BalancerSignIn:
    """Signs in the user of the balancer's signed header. The admin's session ends when the header is missing."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Wrap `get_response`; disabled if no balancer signs users in."""
        if not settings.MLAPI_ALB_SIGNER:
            raise MiddlewareNotUsed
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        if not request.path_info.startswith(ADMIN):
            return self._get_response(request)
        token = request.headers.get(balancer.HEADER, "")
        if token:
            refusal = _sign_in(request, token)
            if refusal is not None:
                return refusal
        elif FINGERPRINT in request.session:
            logout(request)
        response = self._get_response(request)
        if request.path_info == LOGOUT and request.method == "POST":
            for name in balancer.SESSION_COOKIES:
                response.delete_cookie(name)
        return response


class OneTimePasswordOnly:
    """Redirects a session with a one-time password to the page that sets a new password.

    The registry's API refuses such a session itself, because a request may have both a session and a token.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Wrap `get_response`."""
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        path = request.path_info
        own_page = reverse("own-password")
        if not path.startswith(ADMIN) or path in (own_page, LOGOUT):
            return self._get_response(request)
        if one_time.must_set_password(request):
            target = request.get_full_path() if request.method == "GET" and path != LOGIN else ""
            return redirect(own_page + (f"?{urlencode({'next': target})}" if target else ""))
        response = self._get_response(request)
        if path == LOGIN and response.status_code == 302 and one_time.must_set_password(request):
            return redirect(f"{own_page}?{urlencode({'next': response['Location']})}")
        return response


def _sign_in(request: HttpRequest, token: str) -> HttpResponse | None:
    """Sign in the header's user if the session is not theirs already; return the page of a refusal, or None."""
    try:
        claims, issuer = balancer.verified_claims(token)
        identity = identity_of(claims, issuer=issuer)
        held = request.session.get(FINGERPRINT)
        if held != identity.fingerprint or not request.user.is_authenticated:
            accounts.sign_in(request, identity, through="balancer")
            request.session[FINGERPRINT] = identity.fingerprint
    except balancer.UnverifiedHeader as error:
        log.warning("balancer_header_refused", reason=str(error))
        logout(request)
        return pages.refusal(
            request, "The sign-in at the load balancer could not be verified. Close the browser's tab and try again.",
            status=401,
        )  # fmt: skip
    except balancer.KeysUnavailable as error:
        log.error("balancer_keys_unavailable", reason=str(error))
        return pages.refusal(
            request, "The load balancer's public key cannot be fetched now, so the sign-in cannot be verified. "
            "Try again in a minute; predictions continue.", status=503,
        )  # fmt: skip
    except SignInRefused as error:
        logout(request)
        return pages.refusal(request, str(error), status=403)
    return None
