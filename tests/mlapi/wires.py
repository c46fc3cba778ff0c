"""Connections to the worker's protocol without a network."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from uvicorn.config import Config
from uvicorn.server import ServerState

from mlapi.http.protocol import LimitedProtocol
from mlapi.http.turns import Turns

PLAIN = b"POST /models/m/predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
GET = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = PLAIN.replace(b"Content-Length: 2\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n")


class Wire(asyncio.Transport):
    """A connection whose client's bytes are given and whose answers are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.has_written_eof = self.is_closed = False

    def write(self, data):
        self.sent += bytes(data)

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.has_written_eof = True

    def close(self):
        self.is_closed = True

    abort = close

    def is_closing(self):
        return self.is_closed

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass

    @property
    def has_ended(self) -> bool:
        return self.is_closed or self.has_written_eof


class Session:
    """Connections to an application that keeps each request and answers its body's length."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.state = ServerState()
        self.turns = Turns()
        # While it is clear, the application does not answer.
        self.gate = asyncio.Event()
        self.gate.set()

    async def application(self, scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect" or scope.get("state", {}).get("body_cut_short"):
                body = None
                break
            body += message["body"]
            more = message["more_body"]
        await self.gate.wait()
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        self.seen.append((scope["method"], scope["path"], headers, body))
        answer = b"-" if body is None else str(len(body)).encode()
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]}
        )
        await send({"type": "http.response.body", "body": answer})

    def connect(self) -> tuple[LimitedProtocol, Wire]:
        config = Config(
            self.application, http=LimitedProtocol, interface="asgi3", ws="none", log_config=None, proxy_headers=False
        )
        config.load()
        connection = LimitedProtocol(config, self.state, {}, asyncio.get_running_loop(), turns=self.turns)
        wire = Wire()
        connection.connection_made(wire)
        return connection, wire


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def exchange(*pieces: bytes, ends: bool = False) -> SimpleNamespace:
    """Send pieces on one connection; return the requests that the application saw and what the client got."""

    async def work():
        session = Session()
        connection, wire = session.connect()
        for piece in pieces:
            if wire.has_ended:
                break
            connection.data_received(piece)
            await settle()
        if ends:
            connection.eof_received()
            await settle()
        return SimpleNamespace(seen=session.seen, sent=wire.sent, has_ended=wire.has_ended)

    return asyncio.run(work())


def statuses(sent: bytes) -> list[int]:
    return [int(part[:3]) for part in sent.split(b"HTTP/1.1 ")[1:]]
