"""The gRPC server of a worker: it runs on the worker's event loop and asks the request pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import orjson
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mlapi.grpc import open_inference_pb2 as pb
from mlapi.grpc.messages import http_body, infer_response, metadata_response
from mlapi.http.body import too_large
from mlapi.http.pipeline import RequestPipeline, max_body_bytes
from mlapi.http.request import Headers, Request
from mlapi.http.routes import match
from mlapi.protocols.base import HttpError, Reply
from mlapi.protocols.openinference.replies import error_reply
from mlapi.protocols.openinference.requests import HEADER_LENGTH

log = structlog.get_logger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
# What a request holds beside the numbers of its body.
ENVELOPE_BYTES = 1_000_000
# A channel keeps its connection, and so its worker: after this long its client connects anew.
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
    """A body that has arrived already."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self, limit: int) -> bytes:
        """Return it; HttpError 413 over the limit."""
        if len(self._content) > limit:
            raise too_large(limit, len(self._content))
        return self._content

    def release(self) -> None:
        """Hold nothing."""


class InferenceServer:
    """The service, its health and its reflection on one port."""

    def __init__(self, pipeline: RequestPipeline, *, port: int, host: str = "[::]") -> None:
        """Answer with `pipeline` on `port`, which the workers of a machine share; port 0 takes a free one."""
        self._pipeline = pipeline
        self._address = f"{host}:{port}"
        self._server: Any = None
        self.port = port

    async def start(self) -> None:
        """Begin to accept. Called after the fork, on the event loop that answers."""
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", max_body_bytes() + ENVELOPE_BYTES),
                ("grpc.max_send_message_length", -1),
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
            "ModelInfer": (self._infer, pb.ModelInferRequest),
        }
        handlers = {name: _handler(method, kind) for name, (method, kind) in methods.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(_Health(self), self._server)
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self.port = self._server.add_insecure_port(self._address)
        await self._server.start()
        log.info("grpc_started", port=self.port)

    async def stop(self, seconds: float) -> None:
        """Accept no more, and wait at most `seconds` for what is being answered."""
        if self._server is not None:
            await self._server.stop(seconds)

    async def is_ready(self) -> bool:
        """Return whether this worker serves every model that it should."""
        return (await self._ask("/health/ready", None)).status == 200

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

    async def _infer(self, request: Any, context: Any) -> Any:
        try:
            body, length = http_body(request)
        except HttpError as error:
            await context.abort(CODES[error.status], str(error), (("code", error.code),))
        path = f"{_path_of(request.model_name, request.model_version)}/infer"
        reply = await self._ask(path, context, body=body, header_length=length)
        await _require_answer(reply, context)
        return infer_response(reply)

    async def _ask(self, path: str, context: Any, *, body: bytes | None = None, header_length: int = 0) -> Reply:
        """Return the pipeline's reply to a request for `path`, with the metadata of a call as its headers."""
        pairs = _headers(context)
        if body is not None:
            pairs += [(HEADER_LENGTH.lower().encode(), b"%d" % header_length)]
        found = match(path)
        if found is None:
            # A name with a line break is no path.
            return error_reply(HttpError(404, "not_found", f"There is nothing at {path[:200]!r}."), "")
        endpoint, params = found
        peer = context.peer() if context is not None else ""
        request = Request("GET" if body is None else "POST", path, Headers(pairs), client=_address_of(peer))
        return await self._pipeline.answer(
            # A channel's authority is any name that its client has for the address.
            replace(endpoint, any_host=True, protocol="grpc"), params, request, _Content(body or b""), client=peer
        )  # fmt: skip


class _Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated without types
    """The health of the worker, for balancers and probes. `Watch` is answered UNIMPLEMENTED."""

    def __init__(self, server: InferenceServer) -> None:
        self._server = server

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's own name
        """Return SERVING where every model that should serve here does."""
        if request.service not in {"", SERVICE}:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no service {request.service[:200]!r}.")
        status = "SERVING" if await self._server.is_ready() else "NOT_SERVING"
        return health_pb2.HealthCheckResponse(status=status)


def _handler(method: Callable[..., Any], kind: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        method, request_deserializer=kind.FromString, response_serializer=lambda message: message.SerializeToString()
    )


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
    """Return the address in gRPC's name for a peer: `ipv4:127.0.0.1:5000`, `ipv6:[::1]:5000`."""
    return peer.partition(":")[2].rpartition(":")[0].removeprefix("%5B").removesuffix("%5D").strip("[]")


async def _require_answer(reply: Reply, context: Any) -> None:
    """End the call with the error of a reply that is one; its metadata carry the code and the request's id."""
    sent = tuple((name.lower(), value) for name, value in reply.headers if name in {"X-Request-ID", "Retry-After"})
    if reply.status == 200:
        context.set_trailing_metadata(sent)
        return
    message = orjson.loads(reply.body)["error"]
    code = CODES.get(reply.status, grpc.StatusCode.INTERNAL)
    await context.abort(code, message, (("code", reply.code), *sent))
