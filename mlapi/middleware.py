"""Middleware before Django's own: access by network, body limits, and security headers."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from mlapi.body_limits import require_length
from mlapi.http.auth import require_network
from mlapi.http.clients import proxy_header
from mlapi.http.routes import match
from mlapi.protocols.base import HttpError


class AdminNetworks:
    """Refuses the admin to clients outside MLAPI_ADMIN_CIDR, before any view runs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Wrap `get_response`."""
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        path = request.path_info
        if path == "/admin" or path.startswith("/admin/"):
            try:
                require_network(
                    str(request.META.get("REMOTE_ADDR") or ""), request.headers.get(proxy_header("For"), "")
                )
            except HttpError as error:
                from mlapi.views import error_response

                return error_response(request, error)
        return self._get_response(request)


class BodyLimits:
    """Refuses large bodies. It comes before Django's own middleware, so that nothing reads them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Wrap `get_response`."""
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        if match(request.path_info) is not None:
            # The request pipeline applies its own limit.
            return self._get_response(request)
        try:
            require_length(str(request.method), request.path_info, request.META.get("CONTENT_LENGTH") or "")
        except HttpError as error:
            from mlapi.views import error_response

            return error_response(request, error)
        return self._get_response(request)


# The admin's components (Alpine) evaluate expressions in attributes, which needs both unsafe keywords. The other
# directives limit the damage: other origins can neither be loaded, nor receive data, nor frame a page.
ADMIN_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
FEATURES_OFF = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"


class ContentPolicy:
    """Adds the content security policy, unless a page has set its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Wrap `get_response`."""
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        response = self._get_response(request)
        if response.get("Content-Type", "").startswith("text/html"):
            response.headers.setdefault("Content-Security-Policy", ADMIN_POLICY)
            response.headers.setdefault("Permissions-Policy", FEATURES_OFF)
        return response
