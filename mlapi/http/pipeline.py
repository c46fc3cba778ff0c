"""The request pipeline: the steps of every request to an endpoint, under any server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Protocol

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from mlapi.endpoint import Endpoint
from mlapi.http import cors, errors
from mlapi.http.admission import AdmissionController
from mlapi.http.auth import require_key, require_metrics_token, require_network
from mlapi.http.body import client_left, decode, require_encoding, slots_for, too_large
from mlapi.http.clients import proxy_header
from mlapi.http.eager import ensure_task
from mlapi.http.loading import require_loaded
from mlapi.http.request import Request, request_id_of
from mlapi.http.routing import asked_version, routed_model, routing_key
from mlapi.observability.access_log import observe
from mlapi.observability.metrics.recorder import MetricsRecorder
from mlapi.observability.tracing import Tracer
from mlapi.protocols.base import NOT_LOADED, Call, CallStats, HttpError, Reply
from mlapi.request_settings import request_settings
from models_registry.inference.batching import in_thread, run_blocking
from models_registry.inference.runtime import LoadedModel, Runtime, ServingSnapshot

# Up to this size, a body for a model that is not served is refused on the event loop. It bounds the time of a refusal,
# and equals the largest inline body (agent/loader.py).
MAX_REFUSED_INLINE_BYTES = 8_192
# Above this size, parsing takes longer than the switch to a thread. It bounds how long one body holds the event loop.
# No benchmark varies it.
MAX_PARSED_INLINE_BYTES = 16_384
# A model that is evicted between its load and the answer is loaded again, at most this many times.
MAX_RELOADS = 3


# Waits until the client disconnects. Takes a function that returns whether the request is queued.
Disconnected = Callable[[Callable[[], bool]], Awaitable[None]]


@dataclass(slots=True)
class RequestContext:
    """The state of one request. The body is kept only if it is to be logged."""

    endpoint: Endpoint
    params: Mapping[str, str]
    request: Request
    request_id: str
    started: float
    # Identifies the connection.
    client: Hashable = None
    # Waits until the client disconnects.
    disconnected: Disconnected | None = None
    key: str = ""
    # Whether the request may trigger a load of its model.
    may_load: bool = False
    # The version from the path or from X-Model-Version.
    version: int | None = None
    # The routing key: it keeps a client on one version while traffic is split.
    routing_key: str = ""
    stats: CallStats = field(default_factory=CallStats)
    body: bytes = b""
    # Whether the request is in the admission queue.
    is_waiting: bool = False
    waited_seconds: float = 0.0


class ReadableBody(Protocol):
    """A body that is not read yet."""

    async def read(self, limit: int) -> bytes:
        """Return the whole body, at most `limit` bytes."""

    def release(self) -> None:
        """Release the memory of the body."""


class WholeBody:
    """A body that a framework has already read."""

    def __init__(self, content: Callable[[], bytes]) -> None:
        """Read the body from `content` on demand."""
        self._content = content

    async def read(self, limit: int) -> bytes:
        """Return the whole body; HttpError 413 if it is larger than `limit` bytes."""
        content = self._content()
        if len(content) > limit:
            raise too_large(limit, len(content))
        return content

    def release(self) -> None:
        """Do nothing: the framework owns the memory."""


class RequestPipeline:
    """Checks and runs, in this order: host, method, key, body, admission, handler, errors, metrics, log line."""

    def __init__(
        self, runtime: Runtime, recorder: MetricsRecorder, admission: AdmissionController, *, threads: int
    ) -> None:
        """Answer with the models of `runtime` within the limits of `admission`; count with `recorder`.

        At most `threads` large bodies are parsed at the same time.
        """
        self.runtime = runtime
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="body")
        self.admission = admission
        self.tracer: Tracer | None = None
        self.recorder = recorder

    async def answer(
        self,
        endpoint: Endpoint,
        params: Mapping[str, str],
        request: Request,
        body: ReadableBody,
        *,
        client: Hashable = None,
        disconnected: Disconnected | None = None,
        started: float | None = None,
    ) -> Reply:
        """Return the reply to a request.

        `started` is a time of `time.perf_counter`, by default now. `client` identifies the connection. `disconnected`
        waits until the client disconnects: the queued prediction is then cancelled and logged with status 499.
        """
        request_id = request_id_of(request.headers.raw(b"x-request-id"))
        context = RequestContext(
            endpoint, params, request, request_id, started or time.perf_counter(), client, disconnected
        )
        is_preflight = bool(request_settings().cors_origins) and cors.is_preflight(request)
        try:
            if is_preflight:
                check_host(request.headers.raw(b"host"))
                reply = cors.answer_preflight(endpoint)
            else:
                self._require(context)
                reply = await self._respond(context, body)
        except Exception as error:  # noqa: BLE001 - translated for the client; an unforeseen one is logged there
            refusal = errors.as_http_error(error, request_id)
            reply = endpoint.error_reply(refusal, request_id)
            reply.stats = refusal.stats or reply.stats
            errors.drop_frames(error)
            name_model(reply.stats, context, self.runtime.snapshot)
        finally:
            body.release()
        reply.stats.waiting_seconds += context.waited_seconds
        if reply.stats.captured is not None:
            self.runtime.captured.offer(reply.stats.captured, request_id)
        if reply.stats.mirrored is not None:
            self.runtime.mirrored.offer(reply.stats.mirrored)
        reply.headers.append(("X-Request-ID", request_id))
        reply.headers.append(("X-Content-Type-Options", "nosniff"))
        cors.allow(endpoint, request, reply)
        if not (endpoint.is_quiet or is_preflight):
            observe(
                endpoint,
                request.method,
                request.headers,
                reply,
                request_id=request_id,
                seconds=time.perf_counter() - context.started,
                key=context.key,
                body=context.body,
                recorder=self.recorder,
                tracer=self.tracer,
            )
        return reply

    def _require(self, context: RequestContext) -> None:
        """Raise HttpError if the head alone is reason to refuse the request; count the use of an API key."""
        endpoint, request = context.endpoint, context.request
        headers = request.headers
        if not endpoint.any_host:
            check_host(headers.raw(b"host"))
        method = request.method
        if method not in endpoint.methods and not (method == "HEAD" and "GET" in endpoint.methods):
            raise method_error(method, endpoint.methods)
        if endpoint.is_internal:
            require_network(request.client, headers.raw(proxy_header("For").lower().encode()))
            require_metrics_token(headers)
        if (endpoint.is_prediction or endpoint.takes_key) and request_settings().requires_api_key:
            context.key = require_key(headers, self.runtime, context.params.get("model")).prefix
        if method == "POST":
            if endpoint.content_types:
                check_content_type(headers.raw(b"content-type"), endpoint.content_types)
            if headers.has(b"content-encoding"):
                require_encoding(request.content_encoding)

    async def _respond(self, context: RequestContext, body: ReadableBody) -> Reply:
        endpoint, request = context.endpoint, context.request
        if endpoint.is_prediction or "model" in context.params:
            context.version = asked_version(
                context.params.get("version"), request.headers, self.runtime.snapshot, context.params.get("model")
            )
            # Where keys are required, a client without a key must not evict other clients' models.
            context.may_load = endpoint.loads_model and bool(context.key or not request_settings().requires_api_key)
            # Before the body is read, so that a request that waits for a load holds no memory.
            await self._require_loaded(context)
        if endpoint.is_prediction and self.runtime.snapshot.splits:
            context.routing_key = routing_key(request)
        content = await body.read(max_body_bytes()) if request.method == "POST" else b""
        for _ in range(MAX_RELOADS):
            try:
                return await self._handle(context, content)
            except HttpError as error:
                # Another model may have evicted this one while the body arrived or the request was queued.
                if error.code != NOT_LOADED or not await self._require_loaded(context):
                    raise
        return await self._handle(context, content)

    async def _require_loaded(self, context: RequestContext) -> bool:
        """Wait for a model that is loaded on demand; return whether it is one and its load succeeded."""
        on_demand = self.runtime.on_demand
        if on_demand is None or not context.may_load:
            return False
        return await require_loaded(self.runtime, on_demand, context.params.get("model"), context.version)

    async def _handle(self, context: RequestContext, content: bytes) -> Reply:
        """Answer a request whose body has been read."""
        endpoint, encoding, limit = context.endpoint, context.request.content_encoding, max_body_bytes()
        handler: Any = endpoint.handler
        if not endpoint.is_prediction:
            call = self._call(decode(content, encoding, limit=limit), context)
            if endpoint.is_inline:
                return handler(call, self.runtime)  # type: ignore[no-any-return]
            return await in_thread(lambda: handler(call, self.runtime))
        if not encoding and self.is_inline(context, len(content)):
            return await handler(self._call(content, context), self.runtime)  # type: ignore[no-any-return]
        predict = self._predict(context, content)
        if context.disconnected is None:
            return await predict
        return await _until_disconnected(predict, partial(context.disconnected, lambda: context.is_waiting))

    async def _predict(self, context: RequestContext, content: bytes) -> Reply:
        """Answer while holding slots.

        A large or compressed body is parsed in a thread, not on the event loop. A slow compiled model predicts in a
        thread.
        """
        handler: Any = context.endpoint.handler
        encoding = context.request.content_encoding
        limit = max_body_bytes()
        began = time.perf_counter()
        context.is_waiting = True
        try:
            slots = await self.admission.acquire(slots_for(content, encoding, limit=limit), context.client)
        finally:
            context.is_waiting = False
            context.waited_seconds = time.perf_counter() - began
        loaded = _model_of(context, self.runtime.snapshot)
        is_short = not encoding and len(content) <= MAX_PARSED_INLINE_BYTES
        if is_short and not (loaded is not None and loaded.blocks_loop):
            try:
                return await handler(self._call(content, context), self.runtime)  # type: ignore[no-any-return]
            finally:
                slots.release()

        def answer() -> Reply:
            decoded = decode(content, encoding, limit=limit, slots=slots)
            reply: Reply = run_blocking(handler(self._call(decoded, context), self.runtime))
            return reply

        # A thread cannot be interrupted: its slots stay taken until it ends, even after a disconnect.
        answering = self._threads.submit(answer)
        answering.add_done_callback(lambda _: slots.release())
        return await asyncio.wrap_future(answering)

    def is_inline(self, context: RequestContext, length: int) -> bool:
        """Return whether the model is fast enough for a body of that length to run on the event loop."""
        loaded = _model_of(context, self.runtime.snapshot)
        if loaded is None:
            return length <= MAX_REFUSED_INLINE_BYTES
        wants_native = context.endpoint.names_outputs and loaded.schema.has_native_methods
        return length <= loaded.inline_max_bytes and not wants_native

    def _call(self, body: bytes, context: RequestContext) -> Call:
        if request_settings().logs_features:
            context.body = body
        return Call(
            body=body,
            headers=context.request.headers,
            request_id=context.request_id,
            started=context.started,
            model=context.params.get("model"),
            version=context.version,
            params=context.params,
            query=context.request.query,
            base_url="" if context.endpoint.is_prediction else base_url(context.request),
            routing_key=context.routing_key,
            stats=context.stats,
        )


async def _until_disconnected(
    answer: Coroutine[Any, Any, Reply], has_disconnected: Callable[[], Awaitable[None]]
) -> Reply:
    """Return the result of `answer`; on a disconnect cancel it and raise HttpError 499."""
    await ensure_task()
    task = asyncio.current_task()
    has_left = False

    async def watch() -> None:
        nonlocal has_left
        await has_disconnected()
        has_left = True
        if task is not None:
            task.cancel()

    disconnect = asyncio.create_task(watch())
    try:
        return await answer
    except asyncio.CancelledError:
        if not has_left or task is None:
            raise
        task.uncancel()
        raise client_left() from None
    finally:
        disconnect.cancel()


def max_body_bytes() -> int:
    """Return the size limit of the body in bytes."""
    return request_settings().max_body_bytes


def _model_of(context: RequestContext, snapshot: ServingSnapshot) -> LoadedModel | None:
    return routed_model(snapshot, context.params.get("model"), version=context.version, key=context.routing_key)


def name_model(stats: CallStats, context: RequestContext, snapshot: ServingSnapshot) -> None:
    """Record the model of a failed request if it is served: a client's invented name must not become a label."""
    if stats.model:
        return
    if context.stats.model:
        stats.model, stats.version = context.stats.model, context.stats.version
    elif context.endpoint.is_prediction or "model" in context.params:
        loaded = _model_of(context, snapshot)
        if loaded is not None:
            stats.model, stats.version = loaded.name, loaded.number


def method_error(method: str, allowed: tuple[str, ...]) -> HttpError:
    """Return the 405 that lists the allowed methods."""
    return HttpError(
        405, "method_not_allowed", f"{method} is not allowed here; use {' or '.join(allowed)}.", expected=list(allowed)
    ).with_header("Allow", ", ".join(allowed))


def check_host(host: str) -> None:
    """Raise the 400 for a Host outside DJANGO_ALLOWED_HOSTS, as Django does for its own pages."""
    if not _is_allowed(host, request_settings().allowed_hosts):
        raise HttpError(
            400,
            "invalid_host",
            "This Host is not served here. The operator lists the allowed names in DJANGO_ALLOWED_HOSTS.",
        )


@lru_cache(maxsize=256)
def _is_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, list(allowed))


def check_content_type(value: str, accepted: tuple[str, ...]) -> None:
    """Raise the 415 for another content type; a missing one counts as the first accepted type."""
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


def base_url(request: Request) -> str:
    """Return the URL that the client used, for links and examples."""
    scheme = request.scheme
    if settings.SECURE_PROXY_SSL_HEADER and request.headers.raw(proxy_header("Proto").lower().encode()) == "https":
        scheme = "https"
    return f"{scheme}://{request.headers.raw(b'host') or 'localhost'}"
