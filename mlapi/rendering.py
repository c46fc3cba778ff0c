"""Renders pages without the database and without another server's files."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from mlapi.protocols.base import HttpError

# Inline scripts are forbidden; inline styles are allowed only for Swagger UI.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{styles}; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TITLES = {
    400: "This request cannot be served",
    403: "You may not open this page",
    404: "There is no such page",
    500: "The service failed",
    503: "The service is not ready",
}


def page(template: str, context: dict[str, Any], *, styles: str = "", status: int = 200) -> HttpResponse:
    """Return a page under a strict content security policy.

    The template gets no request, so that no context processor reads the session, which is in the database.
    """
    response = HttpResponse(render_to_string(template, context), status=status)
    response["Content-Security-Policy"] = POLICY.format(styles=styles)
    response["Cache-Control"] = "no-cache"
    return response


def wants_page(request: HttpRequest) -> bool:
    """Return whether the client is a browser, and not a program; paths below /api/ always get JSON."""
    return "text/html" in request.headers.get("Accept", "") and not request.path_info.startswith("/api/")


def error_page(error: HttpError, request_id: str) -> HttpResponse:
    """Return an error page: the problem, the next step, and the request id for the operator."""
    context = {
        "title": TITLES.get(error.status, "This did not work"),
        "status": error.status,
        "text": str(error),
        "suggestion": error.details.get("expected") if error.code == "not_found" else None,
        "request_id": request_id,
    }
    return page("mlapi/error.html", context, status=error.status)
