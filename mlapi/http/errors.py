"""Turns an error into a response: status and JSON, never HTML and never a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError
from django.http import Http404
from django.http.request import UnreadablePostError

from mlapi.protocols import native
from mlapi.protocols.base import HttpError
from models_registry import errors

if TYPE_CHECKING:
    from rest_framework.response import Response


class BodyError(OSError):
    """The rest of a body does not arrive; `error` gives the reason."""

    def __init__(self, error: HttpError) -> None:
        super().__init__(str(error))
        self.error = error


log = structlog.get_logger(__name__)

HOW_TO_AUTHENTICATE = (
    "Send an API token as 'Authorization: Bearer TOKEN' or as 'Authorization: Token TOKEN'. The admin makes one under "
    "API tokens."
)
STATUS_OF: list[tuple[type[Exception], int, str]] = [
    (errors.UnknownModel, 404, "unknown_model"),
    (errors.UnknownVersion, 404, "unknown_version"),
    (errors.UnknownReplay, 404, "unknown_replay"),
    (errors.UnknownBatch, 404, "unknown_batch"),
    (errors.ScoringRefused, 400, "scoring_refused"),
    (errors.ActivationConflict, 409, "activation_conflict"),
    (errors.ModelArchived, 409, "model_archived"),
    (errors.NotActivatable, 409, "not_activatable"),
    (errors.NothingToRollBackTo, 409, "nothing_to_roll_back_to"),
    (errors.NotSplittable, 409, "not_splittable"),
    (errors.NotShadowable, 409, "not_shadowable"),
    (errors.NotDeletable, 409, "not_deletable"),
    (errors.NoCanary, 409, "no_canary"),
    (errors.Busy, 429, "busy"),
    (errors.RequestError, 400, "invalid_request"),
    (errors.StorageMismatch, 503, "storage_mismatch"),
    (errors.StorageError, 503, "storage_unavailable"),
    (errors.ArtifactError, 400, "invalid_artifact"),
    (DatabaseError, 503, "database_unavailable"),
]


def as_http_error(error: Exception, request_id: str = "") -> HttpError:
    """Return the error for the client. An unexpected error is logged; its message says only that."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, errors.InputError):
        return HttpError(400, error.code, str(error), **error.details)
    for kind, status, code in STATUS_OF:
        if isinstance(error, kind):
            if kind is DatabaseError:
                return HttpError(
                    status, code, "The registry's database is unavailable. Try again in a few seconds."
                ).with_header("Retry-After", "5")
            translated = HttpError(status, code, str(error))
            return translated.with_header("Retry-After", "2") if status == 429 else translated
    log.error("unforeseen_error", id=request_id, exc_info=error)
    return HttpError(
        500, "internal_error", "The service failed; the log has the cause. Give the request id to the operator."
    )


def drop_frames(error: BaseException) -> None:
    """Free the memory that the frames of a handled error, and of its causes, hold.

    A future, its error and the awaiting frame refer to each other. The frame also holds the request's parsed body,
    which would stay in memory until the next full garbage collection.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            waiting += [one.__cause__, one.__context__]


def handle_api_exception(error: Exception, context: dict[str, Any]) -> Response:
    """Return the registry API's response to `error`, as the service's error JSON."""
    # Imported here, so that a worker that only serves predictions does not load Django REST framework.
    from rest_framework.response import Response
    from rest_framework.views import set_rollback

    set_rollback()
    request = context["request"]
    translated = _from_rest_framework(error)
    reply = native.error_reply(
        translated, getattr(request, "request_id", "") or request.META.get("HTTP_X_REQUEST_ID", "")[:128]
    )
    response = Response(orjson.loads(reply.body), status=reply.status)
    for name, value in reply.headers:
        response[name] = value
    return response


def _from_rest_framework(error: Exception) -> HttpError:
    from rest_framework import exceptions

    if isinstance(error, Http404):
        return HttpError(404, "not_found", "There is nothing at this address.")
    if isinstance(error, PermissionDenied):
        return HttpError(403, "permission_denied", "Your account may not do this. Ask for the permission.")
    if isinstance(error, RequestDataTooBig):
        return HttpError(413, "body_too_large", "A field of the body is larger than allowed.")
    if isinstance(error, UnreadablePostError) and isinstance(error.__cause__, BodyError):
        return error.__cause__.error
    if isinstance(error, SuspiciousOperation | UnreadablePostError):
        return HttpError(400, "invalid_request", "The body cannot be read: it is cut short, or has too many parts.")
    if isinstance(error, exceptions.ValidationError):
        return HttpError(400, "invalid_request", _flat(error.detail))
    if isinstance(error, exceptions.APIException):
        codes = error.get_codes()
        message = str(error.detail)
        if error.status_code == 401:
            message = f"{message} {HOW_TO_AUTHENTICATE}"
        translated = HttpError(error.status_code, codes if isinstance(codes, str) else "invalid_request", message)
        if getattr(error, "auth_header", None):
            translated.with_header("WWW-Authenticate", str(error.auth_header))  # type: ignore[attr-defined]
        if getattr(error, "wait", None):
            translated.with_header("Retry-After", str(int(error.wait)))  # type: ignore[attr-defined]
        return translated
    return as_http_error(error)


def _flat(detail: Any) -> str:
    """Return a serializer's nested errors as one sentence."""
    if isinstance(detail, dict):
        return " ".join(f"{name}: {_flat(value)}" for name, value in detail.items())
    if isinstance(detail, list):
        return " ".join(_flat(item) for item in detail)
    return str(detail)
