"""What requests pass before Django's own middleware, and what answers get after it."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from mlapi.body_limits import require_length
from mlapi.protocols.base import HttpError
from mlapi.routes import match


class GateFirst:
    """First of the middleware: sessions, CSRF and messages cost a prediction nothing, and health any Host."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Stand in front of `get_response`."""
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        found = match(request.path_info)
        if found is None:
            return self._get_response(request)
        # Where the lane is open no such request comes here, and the views need not be loaded.
        from mlapi.views import endpoint_view

        endpoint, params = found
        return endpoint_view(endpoint)(request, **params)


class BodyLimits:
    """Before Django's own middleware: no later one reads a body over the limit of its address."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Stand in front of `get_response`."""
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        try:
            require_length(str(request.method), request.path_info, request.META.get("CONTENT_LENGTH") or "")
        except HttpError as error:
            from mlapi.views import error_response

            return error_response(request, error)
        return self._get_response(request)


# The admin's components (Alpine) read their expressions from attributes, which asks for both unsafe words; what they
# would let in is refused by the rest: nothing is loaded from, sent to or framed by another site.
ADMIN_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
FEATURES_OFF = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"


class ContentPolicy:
    """Confines what a page may load and do; a page with a stricter policy of its own keeps it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Stand in front of `get_response`."""
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        response = self._get_response(request)
        if response.get("Content-Type", "").startswith("text/html"):
            response.headers.setdefault("Content-Security-Policy", ADMIN_POLICY)
            response.headers.setdefault("Permissions-Policy", FEATURES_OFF)
        return response
