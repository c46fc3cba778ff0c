"""Hosts Django behind the request pipeline: the admin, the registry's API and the pages.

Django's own handler writes the whole body of every request to a temporary file before a view can refuse the request.
Here only uploads of artifacts and tables are streamed, to views that authenticate first. Every other body is small and
is read beforehand.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.db import connections

from mlapi.body_limits import body_limit, takes_file
from mlapi.http.admission import AdmissionController
from mlapi.http.body import Body, too_large
from mlapi.http.errors import BodyError
from mlapi.http.messages import send_reply
from mlapi.http.request import Request, request_id_of
from mlapi.observability import logging
from mlapi.protocols.base import HttpError
from mlapi.protocols.native import error_reply

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

READ_BYTES = 65_536
CLOSE = (b"connection", b"close")


class BodyFile(io.RawIOBase):
    """A body that is still arriving, as a file object for a view's thread."""

    def __init__(self, body: Body, loop: asyncio.AbstractEventLoop, *, limit: int) -> None:
        """Read from `body`, at most `limit` bytes."""
        self._body = body
        self._loop = loop
        self.limit = limit
        self._size = 0
        self._held = b""

    def readable(self) -> bool:
        """Return True: the file can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with the received bytes; 0 at the end. BodyError if the rest does not arrive."""
        while not self._held and not self._body.is_complete:
            try:
                self._held = asyncio.run_coroutine_threadsafe(self._body.next_piece(), self._loop).result()
                self._size += len(self._held)
                if self._size > self.limit:
                    raise too_large(self.limit)
            except HttpError as error:
                raise BodyError(error) from error
        count = min(len(buffer), len(self._held))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        return count


class _Handler(ASGIHandler):
    """Django's handler, which uses a file as the body if it gets one."""

    async def read_body(self, receive: Any) -> Any:
        """Return the body as a file."""
        file = getattr(receive, "file", None)
        return await super().read_body(receive) if file is None else io.BufferedReader(file, READ_BYTES)

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, and close the database connections of its thread, which ends with the request."""
        try:
            await super().handle(scope, receive, send)
        finally:
            await sync_to_async(connections.close_all)()

    async def run_get_response(self, request: Any) -> Any:
        """Return the response. A file in it is read in pieces in a thread, so that the event loop does not wait."""
        response: Any = await super().run_get_response(request)
        if response.streaming and not response.is_async:
            response.streaming_content = _read_in_thread(response.streaming_content)
        return response


async def _read_in_thread(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    pieces = iter(parts)
    while (piece := await sync_to_async(lambda: next(pieces, None))()) is not None:
        yield piece


class _Events:
    """ASGI's `receive` for Django: the body that was read, then the client's disconnect."""

    def __init__(self, receive: Receive, *, content: bytes = b"", file: BodyFile | None = None) -> None:
        self._receive = receive
        self._content: bytes | None = content
        self.file = file
        # The size of a chunked body is unknown while it arrives: its limit is used.
        self.expected_length = len(content) if file is None else file.limit
        self.may_listen = asyncio.Event()
        if file is None:
            self.may_listen.set()

    async def __call__(self) -> Any:
        if self.file is None and self._content is not None:
            content, self._content = self._content, None
            return {"type": "http.request", "body": content, "more_body": False}
        # While a view reads the body, the read itself reports a disconnect.
        await self.may_listen.wait()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return message


class DjangoHost:
    """An ASGI application: Django with bounded bodies and a bounded number of threads."""

    def __init__(self, admission: AdmissionController, *, threads: int) -> None:
        """Run at most `threads` views at the same time; `admission` limits body memory. Django must be set up.

        Django starts a thread for each request and sets no limit. The request pipeline has its own `threads`.
        """
        self._handler = _Handler()
        self._admission = admission
        self._turns = asyncio.Semaphore(threads)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request.from_scope(scope)
        body = Body(receive, self._admission, request, scope.get("state"))
        try:
            events = await self._events(request, body, receive)
        except HttpError as error:
            body.release()
            request_id = request_id_of(request.headers.raw(b"x-request-id"))
            reply = error_reply(error, request_id)
            logging.write_line("request", {"id": request_id, "route": "", "status": error.status, "code": error.code})
            reply.headers.append(("X-Request-ID", request_id))
            await send_reply(send, reply, closes=not body.is_complete)
            return
        try:
            await self._run(_with_length(scope, events), events, body, send)
        finally:
            body.release()

    async def _events(self, request: Request, body: Body, receive: Receive) -> _Events:
        limit = body_limit(request.method, request.path)
        if takes_file(request.method, request.path):
            return _Events(receive, file=BodyFile(body, asyncio.get_running_loop(), limit=limit))
        if body.is_complete:
            return _Events(receive)
        return _Events(receive, content=await body.read(limit))

    async def _run(self, scope: Any, events: _Events, body: Body, send: Send) -> None:
        await self._turns.acquire()
        has_turn = True

        def end_turn() -> None:
            nonlocal has_turn
            if has_turn:
                has_turn = False
                self._turns.release()

        async def send_on(message: Any) -> None:
            if message["type"] == "http.response.start":
                # The view has ended: a client that reads slowly no longer occupies a thread.
                end_turn()
                if not body.is_complete:
                    message = {**message, "headers": [*message.get("headers", ()), CLOSE]}
            await send(message)

        try:
            await self._handler(scope, events, send_on)
        finally:
            end_turn()


def _with_length(scope: Any, events: _Events) -> Any:
    """Return the scope with a Content-Length for a chunked body: Django does not read a body without one."""
    headers = scope["headers"]
    if not any(name == b"transfer-encoding" for name, _ in headers):
        return scope
    size = events.expected_length
    kept = [(name, value) for name, value in headers if name != b"transfer-encoding"]
    return {**scope, "headers": [*kept, (b"content-length", str(size).encode())]}
