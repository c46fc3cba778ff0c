"""What every prediction passes, whoever parsed its request line: the lane or a Django view."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from mlapi import errors
from mlapi.endpoint import Endpoint
from mlapi.foresight import CALLER_LEFT, CAME_AT, FINDING, HAS_PLACE, MUST_BE_REFUSED, Finding, Foresight
from mlapi.keys import require_key
from mlapi.metrics.meter import Meter
from mlapi.observation import Passage, observe
from mlapi.protocols.base import Call, Facts, HttpError, Reply
from mlapi.protocols.bodies import read_body
from mlapi.tracing import Tracer
from models_registry.serving.runtime import Board, Runtime

# What is refused after it was read, for a model that is not served, is no larger.
SMALL_BYTES = 8_192
# A body is several times as large once it is read; so much of it takes a place among those under way.
PLACE_BYTES = 250_000
SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
Environ = Mapping[str, Any]


class Gate:
    """Method, host, key, limits, body, handler, errors, metrics and log line, in this order."""

    def __init__(self, runtime: Runtime, meter: Meter) -> None:
        """Let requests through to the models of `runtime`, counted by `meter`."""
        self.runtime = runtime
        self._meter = meter
        self.tracer: Tracer | None = None

    def answer(
        self, endpoint: Endpoint, params: Mapping[str, str], environ: Environ, read: Callable[[int], bytes]
    ) -> Reply:
        """Return the reply to the request in `environ` (WSGI), whose body `read` gives."""
        now = time.perf_counter()
        passage = Passage(request_id_of(environ), environ.get(CAME_AT, now))
        try:
            reply = self._pass(endpoint, params, environ, read, passage)
        except Exception as error:  # noqa: BLE001 - translated for the caller; what nobody foresaw is logged there
            reply = endpoint.error_reply(errors.as_http_error(error, passage.request_id), passage.request_id)
            name_model(reply.facts, params, self.runtime.board, is_prediction=endpoint.is_prediction)
        reply.facts.waiting_seconds += now - passage.started
        reply.headers.append(("X-Request-ID", passage.request_id))
        reply.headers.append(("X-Content-Type-Options", "nosniff"))
        if not endpoint.is_quiet:
            observe(endpoint, environ, reply, passage, meter=self._meter, tracer=self.tracer)
        return reply

    def _pass(
        self,
        endpoint: Endpoint,
        params: Mapping[str, str],
        environ: Environ,
        read: Callable[[int], bytes],
        passage: Passage,
    ) -> Reply:
        finding = environ.get(FINDING) or self.examine(endpoint, params, environ)
        passage.key = finding.key
        if finding.refusal is not None:
            raise finding.refusal
        if environ.get(CALLER_LEFT):
            raise HttpError(499, "caller_left", "The caller closed the connection before there was a place.")
        if environ.get(MUST_BE_REFUSED):
            # It came a way on which others wait behind it: that there is room since a moment changes nothing.
            raise overloaded()
        if (
            not endpoint.is_prediction
            or environ.get(HAS_PLACE)
            # It would have given its place back before anybody missed it: a slow model's callers do not shut it out.
            or self._is_brief(endpoint, params, length_of(environ))
        ):
            return self._ask(endpoint, params, environ, self._read(environ, read), passage)
        if self.runtime.is_full(settings.MLAPI_MAX_WAITING):
            raise overloaded()
        # Read before it is admitted: who sends half a body takes nobody's place.
        body = self._read(environ, read)
        places = 1 + len(body) // PLACE_BYTES
        if not self.runtime.admit(settings.MLAPI_MAX_WAITING, places):
            raise overloaded(places)
        try:
            return self._ask(endpoint, params, environ, body, passage)
        finally:
            self.runtime.leave(places)

    def foresee(self, endpoint: Endpoint, params: Mapping[str, str], length: int) -> Foresight:
        """Say what a request with a body of `length` bytes will take."""
        if not endpoint.is_prediction:
            return Foresight.BRIEF if endpoint.is_brief else Foresight.UNKNOWN
        # A swap between this and the answer may bring a slower model: that one request is answered all the same.
        return Foresight.BRIEF if self._is_brief(endpoint, params, length) else Foresight.LONG

    def examine(self, endpoint: Endpoint, params: Mapping[str, str], environ: Environ) -> Finding:
        """Say what a request's head says: host, method, key and kind of body, in this order. It counts a key's use.

        No error leaves it: whoever asks has others to look after.
        """
        try:
            return Finding(self._require(endpoint, params, environ))
        except Exception as error:  # noqa: BLE001 - raised again, and translated or logged, when the request is answered
            return Finding(refusal=error)

    def _require(self, endpoint: Endpoint, params: Mapping[str, str], environ: Environ) -> str:
        """Return the key that a request bears where one is needed; HttpError for a head that is refused."""
        if not endpoint.any_host:
            check_host(environ)
        method = environ["REQUEST_METHOD"]
        if method not in endpoint.methods and not (method == "HEAD" and "GET" in endpoint.methods):
            raise method_error(method, endpoint.methods)
        key = ""
        if endpoint.is_prediction and settings.MLAPI_REQUIRE_API_KEY:
            key = require_key(environ, self.runtime, params.get("model")).prefix
        if method == "POST" and endpoint.content_types:
            check_content_type(environ.get("CONTENT_TYPE", ""), endpoint.content_types)
        return key

    def take_place(self) -> bool:
        """Take a place among the predictions under way, for a body that needs one; False where none is free."""
        return self.runtime.admit(settings.MLAPI_MAX_WAITING)

    def _is_brief(self, endpoint: Endpoint, params: Mapping[str, str], length: int | None) -> bool:
        """Say whether a body of that length is so few rows that the model takes less than a moment for all of them."""
        if length is None:
            return False
        board = self.runtime.board
        loaded = board.models.get(params.get("model") or board.default or "")
        if loaded is None:
            return length <= SMALL_BYTES
        return length <= loaded.brief_bytes and not (endpoint.names_outputs and loaded.signature.has("transform"))

    def _ask(
        self,
        endpoint: Endpoint,
        params: Mapping[str, str],
        environ: Environ,
        body: bytes,
        passage: Passage,
    ) -> Reply:
        number = params.get("version")
        if settings.MLAPI_LOG_FEATURES:
            passage.body = body
        call = Call(
            body=body,
            headers=Headers(environ),
            request_id=passage.request_id,
            started=passage.started,
            model=params.get("model"),
            version=int(number) if number is not None else None,
            params=params,
            base_url=base_url(environ),
        )
        return endpoint.handler(call, self.runtime)

    def _read(self, environ: Environ, read: Callable[[int], bytes]) -> bytes:
        if environ["REQUEST_METHOD"] != "POST":
            return b""
        return read_body(
            read,
            length=environ.get("CONTENT_LENGTH"),
            chunked="chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower(),
            encoding=environ.get("HTTP_CONTENT_ENCODING", "").strip().lower(),
            limit=int(settings.MLAPI_MAX_BODY_MB * 1_000_000),
        )


class Headers(Mapping[str, str]):
    """A WSGI environment's headers by their own names."""

    def __init__(self, environ: Environ) -> None:
        """Look into `environ`."""
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        key = name.upper().replace("-", "_")
        value: str = self._environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"]
        return value

    def __iter__(self) -> Any:
        return (name[5:].replace("_", "-").title() for name in self._environ if name.startswith("HTTP_"))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def length_of(environ: Environ) -> int | None:
    """Return how many bytes the body has once it is read; None where that is not known beforehand."""
    said = environ.get("CONTENT_LENGTH") or ""
    if environ.get("HTTP_CONTENT_ENCODING") or not said.isdecimal():
        return None
    return int(said[:20])


def name_model(facts: Facts, params: Mapping[str, str], board: Board, *, is_prediction: bool) -> None:
    """Say which model a failed request was for, where it is served: a name that callers made up is no label."""
    name = params.get("model") or (board.default if is_prediction else None)
    loaded = board.models.get(name) if name else None
    if loaded is not None and not facts.model:
        facts.model, facts.version = loaded.name, loaded.number


def overloaded(places: int = 1) -> HttpError:
    """Return the 503 for a prediction that needs so many more places than this worker has left."""
    needed = "" if places == 1 else f" {places} of them for a body of this size."
    return HttpError(
        503,
        "overloaded",
        f"This worker has {settings.MLAPI_MAX_WAITING} places for predictions under way (MLAPI_MAX_WAITING), and too "
        f"few are free.{needed and ' It needs' + needed} Try again in a second.",
    ).with_header("Retry-After", "1")


def request_id_of(environ: Environ) -> str:
    """Return the caller's request id where it sent a sane one, else a new one."""
    given = environ.get("HTTP_X_REQUEST_ID")
    if given and SANE_REQUEST_ID.fullmatch(given):
        return str(given)
    return os.urandom(16).hex()


def method_error(method: str, allowed: tuple[str, ...]) -> HttpError:
    """Return the 405 that names what is allowed."""
    return HttpError(
        405, "method_not_allowed", f"{method} is not allowed here; use {' or '.join(allowed)}.", expected=list(allowed)
    ).with_header("Allow", ", ".join(allowed))


def check_host(environ: Environ) -> None:
    """Raise the 400 for a Host that DJANGO_ALLOWED_HOSTS does not name, as Django does on its own pages."""
    host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")
    if not _is_allowed(host, tuple(settings.ALLOWED_HOSTS)):
        raise HttpError(
            400, "invalid_host", "This Host is not served here. The operator names it in DJANGO_ALLOWED_HOSTS."
        )


@lru_cache(maxsize=256)
def _is_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, list(allowed))


def check_content_type(value: str, accepted: tuple[str, ...]) -> None:
    """Raise the 415 for a body of another kind; none named is taken for the first accepted."""
    kind = value.partition(";")[0].strip().lower()
    if not kind or kind in accepted or (kind.endswith("+json") and "application/json" in accepted):
        return
    raise HttpError(
        415,
        "unsupported_media_type",
        f"The Content-Type is {kind[:80]!r}; send {' or '.join(accepted)}.",
        expected=list(accepted),
        found=kind[:80],
    )


def base_url(environ: Environ) -> str:
    """Return the address that the caller used, for links and examples."""
    scheme = environ.get("wsgi.url_scheme", "http")
    if settings.SECURE_PROXY_SSL_HEADER and environ.get(settings.SECURE_PROXY_SSL_HEADER[0]) == "https":
        scheme = "https"
    return f"{scheme}://{environ.get('HTTP_HOST', 'localhost')}"


@lru_cache(maxsize=64)
def status_line(status: int) -> str:
    """Return e.g. `200 OK`."""
    # Others write 499 into their logs, too, for who did not wait for an answer; nobody is ever sent it.
    return f"{status} {'Client Closed Request' if status == 499 else HTTPStatus(status).phrase}"
