"""Pages that need neither the database nor another server's files; the client's file; Swagger UI."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from mlapi.http.pipeline import method_error
from mlapi.http.request import request_id_of
from mlapi.protocols.native import error_reply
from mlapi.rendering import page
from mlapi.views import to_response

CLIENT = Path(__file__).with_name("client.py")
View = Callable[[HttpRequest], HttpResponse]


def read_only(view: View) -> View:
    """Let `view` answer GET and HEAD; other methods get a 405 as JSON, before the CSRF check."""

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        if request.method in {"GET", "HEAD"}:
            return view(request)
        return to_response(
            error_reply(method_error(str(request.method), ("GET",)), request_id_of(request.headers.get("X-Request-ID")))
        )

    return csrf_exempt(answer)


@read_only
def client(request: HttpRequest) -> HttpResponse:
    """Return the Python file with which a notebook publishes models."""
    return HttpResponse(CLIENT.read_bytes(), content_type="text/x-python; charset=utf-8")


@read_only
def docs(request: HttpRequest) -> HttpResponse:
    """Return Swagger UI for `/openapi.json`, with assets of this server."""
    return page("mlapi/docs.html", {}, styles=" 'unsafe-inline'")
