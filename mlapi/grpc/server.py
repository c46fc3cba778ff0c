"""The gRPC server of a worker; it runs on the worker's event loop and calls the request pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import orjson
import structlog
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from mlapi.draining import is_draining
from mlapi.grpc import open_inference_pb2 as pb
from mlapi.grpc.messages import http_body, infer_response, metadata_response
from mlapi.http.admission import FREE_BODY_BYTES
from mlapi.http.body import too_large
from mlapi.http.pipeline import RequestPipeline, max_body_bytes
from mlapi.http.request import Headers, Request
from mlapi.http.routes import match
from mlapi.protocols.base import HttpError, Reply
from mlapi.protocols.openinference.replies import error_reply
from mlapi.protocols.openinference.requests import HEADER_LENGTH

log = structlog.get_logger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
# The service that an Application Load Balancer calls as its health check. It looks only at the status of the call.
BALANCER = "AWS.ALB"
# Number of messages received at the same time: gRPC allocates each one whole before its size can be counted.
MAX_RECEIVING = 4
# Bytes of a message of any other method, which holds only a few names.
MAX_SMALL_BYTES = 65_536
# Seconds from the start of the call to the end of its message.
RECEIVE_SECONDS = 10
# gRPC's bit set of compression algorithms with only "identity": gRPC would decompress a message before its size can be
# counted.
NO_COMPRESSION = 1
# Bytes that a request holds in addition to the numbers of its body.
ENVELOPE_BYTES = 1_000_000
# A channel keeps its connection, and so its worker. After this time the client reconnects, perhaps to another worker.
MAX_CONNECTION_AGE_MS = 300_000
AGE_GRACE_MS = 30_000
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    503: grpc.StatusCode.UNAVAILABLE,
}


class _Content:
    """A body that has already arrived."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self, limit: int) -> bytes:
        """Return the body; HttpError 413 if it is above the limit."""
        if len(self._content) > limit:
            raise too_large(limit, len(self._content))
        return self._content

    def release(self) -> None:
        """Do nothing: the call owns the memory."""


class InferenceServer:
    """The inference, health and reflection services on one port."""

    def __init__(self, pipeline: RequestPipeline, *, port: int, host: str = "[::]") -> None:
        """Answer with `pipeline` on `port`, which the workers of a machine share; port 0 picks a free one."""
        self._pipeline = pipeline
        self._address = f"{host}:{port}"
        self._server: Any = None
        self._is_stopping = False
        self._receiving = asyncio.Semaphore(MAX_RECEIVING)
        # Reflection streams may pause between two requests.
        self._reflecting = asyncio.Semaphore(MAX_RECEIVING)
        self._reflection = reflection.aio.ReflectionServicer((SERVICE, HEALTH, reflection.SERVICE_NAME))
        self.port = port

    async def start(self) -> None:
        """Start to accept calls. Call this after the fork, on the event loop that answers."""
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", max_body_bytes() + ENVELOPE_BYTES),
                ("grpc.max_send_message_length", -1),
                ("grpc.http2.bdp_probe", 0),
                ("grpc.compression_enabled_algorithms_bitset", NO_COMPRESSION),
                ("grpc.max_connection_age_ms", MAX_CONNECTION_AGE_MS),
                ("grpc.max_connection_age_grace_ms", AGE_GRACE_MS),
            ]
        )
        methods = {
            "ServerLive": (self._live, pb.ServerLiveRequest),
            "ServerReady": (self._ready, pb.ServerReadyRequest),
            "ModelReady": (self._model_ready, pb.ModelReadyRequest),
            "ServerMetadata": (self._server_metadata, pb.ServerMetadataRequest),
            "ModelMetadata": (self._model_metadata, pb.ModelMetadataRequest),
        }
        handlers = {name: self._handler(method, kind) for name, (method, kind) in methods.items()}
        handlers["ModelInfer"] = _of_messages(self._infer)
        health = {"Check": self._handler(self._check, health_pb2.HealthCheckRequest)}
        info = grpc.stream_stream_rpc_method_handler(self._reflect, response_serializer=_serialize)
        for service, found in (
            (SERVICE, handlers),
            (HEALTH, health),
            (BALANCER, {"healthcheck": _of_messages(self._healthcheck)}),
            (reflection.SERVICE_NAME, {"ServerReflectionInfo": info}),
        ):  # fmt: skip
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, found),))
        self.port = self._server.add_insecure_port(self._address)
        await self._server.start()
        log.info("grpc_started", port=self.port)

    async def stop(self, seconds: float) -> None:
        """Accept no more calls, and wait at most `seconds` for running ones. May be called twice."""
        self._is_stopping = True
        if self._server is not None:
            await self._server.stop(seconds)

    @property
    def is_leaving(self) -> bool:
        """Return whether clients should use another server: this one drains or stops."""
        return self._is_stopping or is_draining()

    async def is_ready(self) -> bool:
        """Return whether this worker serves every model that it should and does not drain."""
        return not self.is_leaving and (await self._ask("/health/ready", None)).status == 200

    async def _live(self, request: Any, context: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def _ready(self, request: Any, context: Any) -> Any:
        return pb.ServerReadyResponse(ready=await self.is_ready())

    async def _model_ready(self, request: Any, context: Any) -> Any:
        reply = await self._ask(f"{_path_of(request.name, request.version)}/ready", context)
        return pb.ModelReadyResponse(ready=reply.status == 200)

    async def _server_metadata(self, request: Any, context: Any) -> Any:
        content = orjson.loads((await self._ask("/v2", context)).body)
        return pb.ServerMetadataResponse(**content)

    async def _model_metadata(self, request: Any, context: Any) -> Any:
        reply = await self._ask(_path_of(request.name, request.version), context)
        await _require_answer(reply, context)
        return metadata_response(reply)

    async def _infer(self, messages: Any, context: Any) -> Any:
        reply = await self._answer(context)
        # An aborted call keeps this frame until the next garbage collection, so the frame must not hold the body.
        await _require_answer(reply, context)
        return infer_response(reply)

    async def _answer(self, context: Any) -> Reply:
        with ExitStack() as held:
            try:
                path, body, length = await self._receive(context, held)
            except HttpError as error:
                return error_reply(error, "")
            return await self._ask(path, context, body=body, header_length=length)

    async def _receive(self, context: Any, held: ExitStack) -> tuple[str, bytes, int]:
        """Return the path, the body and the header length for the call's message.

        Afterwards `held` holds the body's memory. Raises HttpError 400, 408, and 503 if other requests use all memory.
        """
        async with self._turn(self._receiving):
            request = _parsed(await _read(context), pb.ModelInferRequest)
            body, length = http_body(request)
            held.enter_context(self._pipeline.admission.hold(max(0, len(body) - FREE_BODY_BYTES)))
        return f"{_path_of(request.model_name, request.model_version)}/infer", body, length

    @asynccontextmanager
    async def _turn(self, turns: asyncio.Semaphore) -> AsyncIterator[None]:
        """Wait for permission to receive a message; HttpError 503 after a timeout."""
        admission = self._pipeline.admission
        try:
            await asyncio.wait_for(turns.acquire(), admission.queue_timeout_seconds)
        except TimeoutError:
            raise admission.overloaded() from None
        try:
            yield
        finally:
            turns.release()

    def _handler(self, method: Callable[..., Any], kind: Any) -> Any:
        """Return the handler of a method that takes one small message."""

        async def receive(context: Any) -> Any:
            try:
                async with self._turn(self._receiving):
                    return _parsed(_small(await _read(context)), kind)
            except HttpError as error:
                return error

        async def answer(messages: Any, context: Any) -> Any:
            request = await receive(context)
            if isinstance(request, HttpError):
                await _require_answer(error_reply(request, ""), context)
            return await method(request, context)

        return _of_messages(answer)

    async def _check(self, request: Any, context: Any) -> Any:
        """Return SERVING if every model that should be served here is."""
        if request.service not in {"", SERVICE}:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no service {request.service[:200]!r}.")
        return health_pb2.HealthCheckResponse(status="SERVING" if await self.is_ready() else "NOT_SERVING")

    async def _healthcheck(self, messages: Any, context: Any) -> Any:
        """End with OK if `/health` answers 200 and the server does not drain, else with UNAVAILABLE.

        No message is read.
        """
        if self.is_leaving:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "This server is shutting down.")
        await _require_answer(await self._ask("/health", None), context)
        return health_pb2.HealthCheckResponse(status="SERVING")

    async def _reflect(self, messages: Any, context: Any) -> AsyncIterator[Any]:
        async for answer in self._reflection.ServerReflectionInfo(self._questions(context), context):
            yield answer

    async def _questions(self, context: Any) -> AsyncIterator[Any]:
        """Yield a reflection stream's requests; the stream ends with them, or at a refused one."""
        while True:
            try:
                async with self._turn(self._reflecting):
                    question = _parsed(_small(await _read(context)), reflection_pb2.ServerReflectionRequest)
            except HttpError as error:
                log.debug("grpc_reflection_ended", reason=str(error))
                return
            yield question

    async def _ask(self, path: str, context: Any, *, body: bytes | None = None, header_length: int = 0) -> Reply:
        """Return the pipeline's reply to a request for `path`, with a call's metadata as its headers."""
        pairs = _headers(context)
        if body is not None:
            pairs += [(HEADER_LENGTH.lower().encode(), b"%d" % header_length)]
        found = match(path)
        if found is None:
            # No route matches, for example, a name with a line break.
            return error_reply(HttpError(404, "not_found", f"There is nothing at {path[:200]!r}."), "")
        endpoint, params = found
        peer = context.peer() if context is not None else ""
        request = Request("GET" if body is None else "POST", path, Headers(pairs), client=_address_of(peer))
        return await self._pipeline.answer(
            # A channel's authority is whatever name the client uses for the address.
            replace(endpoint, any_host=True, protocol="grpc"), params, request, _Content(body or b""), client=peer
        )  # fmt: skip


def _of_messages(method: Callable[..., Any]) -> Any:
    """Return the handler of a unary method that reads its message itself.

    On the wire, a stream of one message equals a unary call. A stream's handler runs before the message is received, so
    it can wait for permission first.
    """
    return grpc.stream_unary_rpc_method_handler(method, response_serializer=_serialize)


async def _read(context: Any) -> bytes:
    """Return the bytes of the call's next message; HttpError 400 if there is none, 408 if it is slow."""
    try:
        async with asyncio.timeout(RECEIVE_SECONDS):
            # The message iterator would keep a reference to its last message.
            message = await context.read()
    except TimeoutError:
        raise HttpError(408, "request_timeout", f"No message arrived within {RECEIVE_SECONDS} s.") from None
    if message is grpc.aio.EOF:
        raise HttpError(400, "invalid_request", "The call has no message. Send one.")
    content: bytes = message
    return content


def _small(message: bytes) -> bytes:
    if len(message) > MAX_SMALL_BYTES:
        raise too_large(MAX_SMALL_BYTES, len(message))
    return message


def _parsed(message: bytes, kind: Any) -> Any:
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise HttpError(400, "invalid_request", f"The message is no {kind.DESCRIPTOR.name}: {error}.") from None


def _serialize(message: Any) -> bytes:
    content: bytes = message.SerializeToString()
    return content


def _path_of(name: str, version: str) -> str:
    return f"/v2/models/{name}/versions/{version}" if version else f"/v2/models/{name}"


def _headers(context: Any) -> list[tuple[bytes, bytes]]:
    if context is None:
        return []
    return [
        (key.encode(), value if isinstance(value, bytes) else value.encode())
        for key, value in context.invocation_metadata()
        if key not in {"content-encoding", "content-length", "content-type"}
    ]


def _address_of(peer: str) -> str:
    """Return the address from gRPC's name of a peer, such as `ipv4:127.0.0.1:5000` or `ipv6:[::1]:5000`."""
    return peer.partition(":")[2].rpartition(":")[0].removeprefix("%5B").removesuffix("%5D").strip("[]")


async def _require_answer(reply: Reply, context: Any) -> None:
    """End the call with the error of an error reply; the metadata carry its code and the request id."""
    sent = tuple((name.lower(), value) for name, value in reply.headers if name in {"X-Request-ID", "Retry-After"})
    if reply.status == 200:
        context.set_trailing_metadata(sent)
        return
    message = orjson.loads(reply.body)["error"]
    code = CODES.get(reply.status, grpc.StatusCode.INTERNAL)
    await context.abort(code, message, (("code", reply.code), *sent))
