"""The pages that people open: they need neither the database nor anything from another server."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

# No inline script anywhere; a style attribute only where Swagger UI sets its own.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{styles}; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(template: str, context: dict[str, Any], *, styles: str = "") -> HttpResponse:
    """Return a page under a strict content security policy.

    It is rendered without the request: no context processor then asks a session, and so no database.
    """
    response = HttpResponse(render_to_string(template, context))
    response["Content-Security-Policy"] = POLICY.format(styles=styles)
    response["Cache-Control"] = "no-cache"
    return response


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Return Swagger UI over `/openapi.json`, with assets of this server."""
    return page("mlapi/docs.html", {}, styles=" 'unsafe-inline'")
