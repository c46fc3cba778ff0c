"""The ASGI application: the request pipeline in front of Django. It starts and stops the replica with the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog

from mlapi.http.body import Body
from mlapi.http.eager import ensure_task
from mlapi.http.messages import HAS_ENDED, PIECE_BYTES, RECEIVED_AT, WRITE_RESPONSE, send_reply
from mlapi.http.pipeline import RequestPipeline
from mlapi.http.request import Request
from mlapi.http.routes import match
from mlapi.observability import logging
from mlapi.protocols.base import HttpError
from mlapi.replica import Replica
from models_registry.inference.runtime import ServingSnapshot

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Asgi = Callable[[Any, Receive, Send], Awaitable[None]]

log = structlog.get_logger(__name__)

# gRPC calls that are still running at shutdown get this many seconds.
GRPC_STOP_SECONDS = 20.0


class GrpcServer(Protocol):
    """Serves gRPC calls on this event loop."""

    async def start(self) -> None:
        """Start to accept calls."""

    async def stop(self, seconds: float) -> None:
        """Accept no more calls, and wait at most `seconds` for the running ones."""


class Application:
    """Answers the pipeline's routes, and passes every other request to Django."""

    def __init__(
        self, pipeline: RequestPipeline, django: Asgi, replica: Replica | None = None, grpc: GrpcServer | None = None
    ) -> None:
        """Wrap `django`; `replica` and `grpc` start and stop with the server."""
        self._pipeline = pipeline
        self._django = django
        self._replica = replica
        self._grpc = grpc

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope: a request, or the server's lifespan."""
        kind = scope["type"]
        if kind == "http":
            found = match(scope["path"])
            if found is None:
                await ensure_task()
                await self._django(scope, receive, send)
            else:
                await self._answer(found, scope, receive, send)
        elif kind == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def stop_ports(self) -> None:
        """Stop accepting on the application's own ports; running calls finish."""
        if self._grpc is not None:
            await self._grpc.stop(GRPC_STOP_SECONDS)

    @property
    def snapshot(self) -> ServingSnapshot:
        """The models that this process serves, and the models that it should serve."""
        return self._pipeline.runtime.snapshot

    async def _answer(self, found: Any, scope: Any, receive: Receive, send: Send) -> None:
        request = Request.from_scope(scope)
        body = Body(receive, self._pipeline.admission, request, scope.get("state"))

        async def disconnected(is_waiting: Callable[[], bool]) -> None:
            while (await receive())["type"] != "http.disconnect":
                if is_waiting() and scope["state"].get(HAS_ENDED):
                    return

        endpoint, params = found
        started = scope.get("state", {}).get(RECEIVED_AT) or time.perf_counter()
        reply = await self._pipeline.answer(
            endpoint, params, request, body, client=scope.get("client"), disconnected=disconnected, started=started
        )
        if not body.is_complete and not request.headers.has(b"expect"):
            body.poll()
        write = scope["state"].get(WRITE_RESPONSE) if "state" in scope else None
        # A refused request may have more body to come. It is not read merely to reuse the connection.
        closes = not body.is_complete
        if len(reply.body) <= PIECE_BYTES:
            await send_reply(send, reply, closes=closes, write=write)
            return
        # Clients that read large responses slowly share one memory limit with clients that send large bodies.
        try:
            held = self._pipeline.admission.hold(len(reply.body))
        except HttpError as error:
            await send_reply(send, endpoint.error_reply(error, dict(reply.headers)["X-Request-ID"]), closes=closes)
            return
        with held:
            await send_reply(send, reply, closes=closes)

    async def _start(self) -> None:
        if self._replica is not None:
            await asyncio.to_thread(self._replica.start)
            self._pipeline.tracer = self._replica.tracer
        if self._grpc is not None:
            await self._grpc.start()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        logging.gather(asyncio.get_running_loop())
        try:
            await self._start()
        except Exception as error:
            log.exception("replica_not_started")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop_ports()
        if self._replica is not None:
            await asyncio.to_thread(self._replica.stop)
        logging.flush()
        await send({"type": "lifespan.shutdown.complete"})
