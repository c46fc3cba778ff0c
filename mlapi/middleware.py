"""Answers the gate's routes before the middleware that only people's pages need."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from mlapi.routes import match
from mlapi.views import endpoint_view


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
        endpoint, params = found
        return endpoint_view(endpoint)(request, **params)
