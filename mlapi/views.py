"""Django views of the pipeline's endpoints, and the error responses for unknown paths."""

from __future__ import annotations

import sys
from collections.abc import Callable

from asgiref.sync import async_to_sync
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, InternalError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from django.views.decorators.csrf import csrf_exempt

from mlapi.body_limits import FilesNotTaken
from mlapi.endpoint import Endpoint
from mlapi.http import errors
from mlapi.http.pipeline import WholeBody
from mlapi.http.process import pipeline
from mlapi.http.request import Request, request_id_of
from mlapi.protocols import native
from mlapi.protocols.base import HttpError, Reply
from mlapi.rendering import error_page, wants_page

UNAVAILABLE_PAGE = """<!doctype html><html lang="en"><meta name="viewport" content="width=device-width">
<title>The registry is unavailable</title><body style="font-family: sans-serif; max-width: 40rem; margin: 4rem auto">
<h1>The registry is unavailable</h1><p>Its database does not answer. Loaded models still answer predictions; this page
works again when the database does.</p></body></html>"""


def endpoint_view(endpoint: Endpoint) -> Callable[..., HttpResponse]:
    """Return a Django view of `endpoint`, for servers without the pipeline (test client, runserver)."""

    @csrf_exempt
    def answer(request: HttpRequest, **params: str) -> HttpResponse:
        head = Request.from_django(request)
        return to_response(async_to_sync(pipeline.answer)(endpoint, params, head, WholeBody(request.read)))

    return answer


def to_response(reply: Reply) -> HttpResponse:
    """Return a handler's reply as Django's response."""
    response = HttpResponse(reply.body, status=reply.status, content_type=reply.content_type)
    for name, value in reply.headers:
        response[name] = value
    return response


def error_response(request: HttpRequest, error: HttpError) -> HttpResponse:
    """Return an error as the service's error JSON, or as a page for a browser outside the API."""
    request_id = request_id_of(request.headers.get("X-Request-ID"))
    if wants_page(request):
        response = error_page(error, request_id)
        response["X-Request-ID"] = request_id
        return response
    reply = native.error_reply(error, request_id)
    reply.headers.append(("X-Request-ID", request_id))
    return to_response(reply)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 400, or the status of a known exception, with `error_response`."""
    if isinstance(exception, FilesNotTaken):
        return error_response(
            request,
            HttpError(
                415,
                "files_not_taken",
                "This address does not accept files. Upload artifacts through the registry's API.",
            ),
        )
    if isinstance(exception, RequestDataTooBig):
        return error_response(
            request, HttpError(413, "body_too_large", "The form is larger than this address accepts.")
        )
    return error_response(
        request, HttpError(400, "bad_request", "The request cannot be served: its Host or its form is not valid.")
    )


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 403 with `error_response`."""
    user = getattr(request, "user", None)
    account = f"The account {user.get_username()}" if user is not None and user.is_authenticated else "This client"
    return error_response(
        request, HttpError(403, "permission_denied", f"{account} does not have the permission for this action.")
    )


def refused(request: HttpRequest, status: int, code: str, reason: str) -> HttpResponse:
    """Answer a refusal with `error_response`."""
    return error_response(request, HttpError(status, code, reason))


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 404 with `error_response`; suggest a path that differs only by its last slash."""
    other = _other_slash(request.path_info)
    if other is not None:
        message = f"There is nothing at this address. Did you mean {other}?"
        return error_response(request, HttpError(404, "not_found", message, expected=other))
    return error_response(
        request, HttpError(404, "not_found", "There is nothing at this address. /docs lists the addresses of the API.")
    )


def _other_slash(path: str) -> str | None:
    """Return `path` with its last slash added or removed, if that path is served; None if not."""
    other = path.rstrip("/") if path.endswith("/") else f"{path}/"
    try:
        route = resolve(other)
    except Resolver404:
        return None
    # The admin's catch-all route has no name, and answers 404 too.
    return other[:200] if route.url_name else None


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500, or 503 while the database is unavailable; Django has logged the traceback."""
    error = sys.exc_info()[1]
    if not isinstance(error, OperationalError | InterfaceError | InternalError):
        return error_response(request, HttpError(500, "internal_error", "The service failed; the log has the cause."))
    if wants_page(request):
        return HttpResponse(UNAVAILABLE_PAGE, status=503, headers={"Retry-After": "5"})
    return error_response(request, errors.as_http_error(error))
