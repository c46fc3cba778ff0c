"""The base class of the registry API's views: permissions, size limits, JSON parsing, and the log line."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar

import orjson
from django.http import HttpRequest
from rest_framework import exceptions, serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from mlapi.body_limits import require_length
from mlapi.http.request import request_id_of
from mlapi.observability.access_log import observe_api
from mlapi.protocols.base import HttpError
from mlapi.protocols.json_bodies import loads
from models_registry.errors import UnknownModel
from models_registry.models import RegisteredModel
from models_registry.permissions import VIEW, is_limited, may, may_everywhere, scope_of

# Shorter than the 60 s idle timeout of load balancers; a client that waits longer repeats its request.
MAX_WAIT_SECONDS = 50
# Each waiting request holds a thread that predictions could use.
_waits = threading.BoundedSemaphore(4)


class StrictJSON(BaseParser):
    """JSON with the same rules as for predictions: no NaN, no surrogates, limited depth."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the JSON value in `stream`."""
        content = stream.read()
        if not content.strip():
            return {}
        try:
            return loads(content)
        except orjson.JSONDecodeError as error:
            raise HttpError(400, "invalid_json", f"The body is not valid JSON ({error}).") from error


class MayAct(BasePermission):
    """Requires the permission that the same action needs in the admin, for the model in the URL."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return True if the user has the permission, False if the user is not authenticated.

        Raises PermissionDenied with the name of the missing permission. Raises UnknownModel for a model that the user
        may not view, so that the response does not reveal the model.
        """
        user = request.user
        if not user or not user.is_authenticated:
            return False
        # HEAD is handled like GET, without the body.
        method = "GET" if request.method == "HEAD" else request.method
        needed = view.needs.get(method)
        if not needed:
            return True
        name = view.kwargs.get("name")
        makes_models = method in view.makes_models
        if not may(user, needed):
            raise exceptions.PermissionDenied(
                f"{user.get_username()} may not do this: the permission {needed!r} is needed. "
                "An administrator of users can grant it."
            )
        if name is None:
            if view.concerns_all_models and not may_everywhere(user, needed):
                raise _outside(user, needed, "every model")
        elif not may(user, needed, name):
            if makes_models or may(user, VIEW, name):
                raise _outside(user, needed, repr(name))
            raise _unknown(name)
        elif is_limited(user) and not makes_models and not RegisteredModel.objects.filter(name=name).exists():
            # The services' own error would suggest names of other models.
            raise _unknown(name)
        return True


def _outside(user: Any, needed: str, wanted: str) -> exceptions.PermissionDenied:
    return exceptions.PermissionDenied(
        f"{user.get_username()} may not do this with {wanted}: the permission {needed!r} is limited to "
        f"{scope_of(user, needed)}. An administrator of users can change that."
    )


def _unknown(name: str) -> UnknownModel:
    return UnknownModel(f"No model is called {name!r}.")


def may_here(request: Request, right: str) -> bool:
    """Return whether the user has a permission for the model in the URL."""
    return may(request.user, right, request.parser_context["kwargs"]["name"])


class RegistryView(APIView):
    """One endpoint of the API; `needs` names the permission of each method."""

    parser_classes: Sequence[type[BaseParser]] = (StrictJSON,)
    permission_classes = (MayAct,)
    needs: ClassVar[dict[str, str]] = {}
    # Whether the endpoint needs the permission for all models, although its URL names none.
    concerns_all_models = False
    # The methods for which the URL may name a model that is not registered yet.
    makes_models: ClassVar[frozenset[str]] = frozenset()
    _began = 0.0

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Answer one request, and write its log line."""
        self._began = time.perf_counter()
        return super().dispatch(request, *args, **kwargs)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Assign a request id."""
        made = super().initialize_request(request, *args, **kwargs)
        made.request_id = request_id_of(request.headers.get("X-Request-ID"))  # type: ignore[attr-defined]
        return made

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the permissions, then refuse a body whose Content-Length is too large, before any of it is read."""
        super().initial(request, *args, **kwargs)
        refuse_too_large(request)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Add the request id, and write the log line."""
        answered = super().finalize_response(request, response, *args, **kwargs)
        request_id = getattr(request, "request_id", None) or request_id_of(request.headers.get("X-Request-ID"))
        answered["X-Request-ID"] = request_id
        user = getattr(request, "_user", None)
        observe_api(
            trace_parent=request.headers.get("traceparent", ""),
            request_id=request_id,
            route=getattr(request.resolver_match, "url_name", ""),
            method=request.method or "",
            status=answered.status_code,
            model=kwargs.get("name") or self.kwargs.get("name", ""),
            user=user.get_username() if user is not None else "",
            seconds=time.perf_counter() - self._began,
        )
        return answered


def refuse_too_large(request: Request) -> None:
    """Raise HttpError 413 for a body above the limit of its path."""
    require_length(str(request.method), request.path_info, request.META.get("CONTENT_LENGTH") or "")


def validated(request: Request, kind: type[serializers.Serializer[Any]], *, of_query: bool = False) -> dict[str, Any]:
    """Return the validated request data; an invalid field is a 400 that names the field."""
    # DRF would read an empty value in a QueryDict as None.
    given = MappingProxyType(request.query_params.dict()) if of_query else request.data
    serializer = kind(data=given)
    serializer.is_valid(raise_exception=True)
    values: dict[str, Any] = serializer.validated_data
    return values


def author_of(request: Request) -> str:
    """Return the user's name for the history, followed by `(API)` if the request has an API token.

    Requests with a session come from pages of the admin, such as the upload.
    """
    name: str = request.user.get_username()
    return name if isinstance(request.successful_authenticator, SessionAuthentication) else f"{name} (API)"


@contextmanager
def waiting() -> Iterator[None]:
    """Hold one of the four slots for waiting requests; HttpError 429 if none is free."""
    if not _waits.acquire(blocking=False):
        raise HttpError(
            429,
            "too_many_waits",
            "Too many requests with wait_seconds are waiting. Send it without wait_seconds, or again in a few seconds.",
        ).with_header("Retry-After", "5")
    try:
        yield
    finally:
        _waits.release()
