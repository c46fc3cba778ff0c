"""The page at `/`, to try models. It reads `/models`, so it works while the database is unavailable."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.cache import patch_vary_headers

from mlapi.pages.base import read_only
from mlapi.rendering import page

# The routes that the index lists.
LINKS = ("predict", "models", "docs", "openapi", "health", "admin:index")


@read_only
def home(request: HttpRequest) -> HttpResponse:
    """Return the playground to a browser; the index of links to a program, or if the playground is off."""
    wants_page = settings.MLAPI_PLAYGROUND and "text/html" in request.headers.get("Accept", "")
    response = _playground() if wants_page else _index(request)
    patch_vary_headers(response, ["Accept"])
    return response


def _playground() -> HttpResponse:
    return page("mlapi/playground.html", {"needs_key": settings.MLAPI_REQUIRE_API_KEY})


def _index(request: HttpRequest) -> HttpResponse:
    links = {name.partition(":")[0]: request.build_absolute_uri(reverse(name)) for name in LINKS}
    return JsonResponse({"service": "mlapi", **links})
