"""Converts a reply to ASGI messages, or to the bytes of a whole response if the server takes those."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from mlapi.protocols.base import Reply

# Key of the scope's state: a function that writes a whole response, given its head and body; False if it cannot.
WRITE_RESPONSE = "write_response"
# Key of the scope's state: whether the client has closed its sending half.
HAS_ENDED = "has_ended"
# Key of the scope's state: whether the client sent its whole request and then closed the connection.
HAS_LEFT = "has_left"
# Key of the scope's state: the time of `time.perf_counter` at which the head was complete.
RECEIVED_AT = "received_at"
# A smaller response is written at once, even if the client reads slowly.
PIECE_BYTES = 262_144
# Responses without a body and without Content-Length (RFC 9110, sections 8.6 and 15.4.5).
WITHOUT_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
Write = Callable[[str, bytes], bool]


async def send_reply(
    send: Callable[[Any], Awaitable[None]], reply: Reply, *, closes: bool = False, write: Write | None = None
) -> None:
    """Send a reply, with `write` if it is given; `closes` means that the connection ends after the reply."""
    body = reply.body
    if write is not None and not closes and len(body) <= PIECE_BYTES and write(response_head(reply), reply.body):
        return
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    if reply.status not in WITHOUT_BODY:
        headers.append((b"content-type", reply.content_type.encode("latin-1")))
        headers.append((b"content-length", b"%d" % len(reply.body)))
    if closes:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    # Sent in pieces, so that `send` can wait for a client that reads slowly.
    for start in range(0, len(body), PIECE_BYTES):
        await send({"type": "http.response.body", "body": body[start : start + PIECE_BYTES], "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def response_head(reply: Reply) -> str:
    """Return the lines of a response's head, without the empty last line.

    Raises ValueError for a header with a line break, which would start a new header.
    """
    headers = reply.headers
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError(f"One of the headers {[name for name, _ in headers]} contains a line break.")
    start = f"{_status_line(reply.status)}\r\n{lines}"
    if reply.status in WITHOUT_BODY:
        return start
    return f"{start}content-type: {reply.content_type}\r\ncontent-length: {len(reply.body)}\r\n"


def reply_bytes(reply: Reply) -> bytes:
    """Return a reply as the bytes of a response that closes the connection, for a request that cannot be parsed."""
    return f"{response_head(reply)}connection: close\r\n\r\n".encode("latin-1") + reply.body


@lru_cache(maxsize=64)
def _status_line(status: int) -> str:
    # 499 appears in the log only: the client has left.
    return f"HTTP/1.1 {status} {'Client Closed Request' if status == 499 else HTTPStatus(status).phrase}"
