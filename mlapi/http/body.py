"""Reads a request's body within limits of size, time and memory, and decompresses it."""

from __future__ import annotations

import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from mlapi.http.admission import FREE_BODY_BYTES, SLOT_BYTES, AdmissionController, Slots
from mlapi.http.messages import HAS_LEFT
from mlapi.http.request import Request
from mlapi.protocols.base import HttpError

Receive = Callable[[], Awaitable[Any]]

WBITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
# A client that sends nothing for this many seconds counts as disconnected.
MAX_SILENCE_SECONDS = 30.0
# The lowest accepted rate: a client at this rate may send a body of any allowed size.
MIN_BYTES_PER_SECOND = 20_000
# The highest compression ratio of zlib.
MAX_COMPRESSION = 1032
DECOMPRESSED_AT_ONCE = SLOT_BYTES


class Patience:
    """The time that a client has left to send a body.

    It starts with MAX_SILENCE_SECONDS. Each MIN_BYTES_PER_SECOND bytes add a second, up to that same maximum. Only the
    time spent waiting for the client counts.
    """

    __slots__ = ("_left", "_since")

    def __init__(self) -> None:
        """Start the clock."""
        self._left = MAX_SILENCE_SECONDS
        self._since = time.monotonic()

    def resume(self) -> None:
        """Restart the clock after a pause that the server caused."""
        self._since = time.monotonic()

    def received(self, count: int) -> None:
        """Count `count` received bytes; HttpError 408 if the client is too slow."""
        now = time.monotonic()
        left = self._left - (now - self._since)
        if left < 0:
            raise too_slow()
        self._left = min(left + count / MIN_BYTES_PER_SECOND, MAX_SILENCE_SECONDS)
        self._since = now


class Body:
    """A body that can be read once, whole or in pieces."""

    def __init__(
        self,
        receive: Receive,
        admission: AdmissionController,
        request: Request,
        state: dict[str, Any] | None = None,
    ) -> None:
        """Read from ASGI's `receive`. The server sets a flag in `state` if the client ends the body early."""
        self._receive = receive
        self._admission = admission
        self._length = request.length
        self._state = state
        self._reserved = 0
        self._patience: Patience | None = None
        # The last chunk ends a body without a length.
        self.is_complete = self._length == 0

    async def read(self, limit: int) -> bytes:
        """Return the whole body as sent; raises HttpError 400, 408, 413 or 503."""
        length = self._length
        if length is not None and length > limit:
            raise too_large(limit, length)
        # One buffer, because a client may send very small pieces.
        buffer = bytearray()
        while True:
            piece = await self.next_piece()
            size = len(buffer) + len(piece)
            if size > limit:
                raise too_large(limit)
            if self.is_complete and not buffer:
                return piece
            self._reserve(size)
            buffer += piece
            if self.is_complete:
                return bytes(buffer)

    async def next_piece(self) -> bytes:
        """Return the next piece, which may be empty; HttpError 400 or 408 if the rest does not arrive."""
        if self._patience is not None:
            self._patience.resume()
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise client_left() if self._state is not None and self._state.get(HAS_LEFT) else cut_short()
        piece: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            self.is_complete = True
            return piece
        if self._patience is None:
            self._patience = Patience()
        if not piece and self._state is not None and self._state.get("body_cut_short"):
            raise cut_short()
        self._patience.received(len(piece))
        return piece

    def poll(self) -> None:
        """Read the pieces that have already arrived, without waiting, so that the connection can stay open."""
        waiting: Any = self._receive()
        try:
            waiting.send(None)
        except StopIteration as arrived:
            message = arrived.value
            self.is_complete = message["type"] == "http.request" and not message.get("more_body", False)
        except AttributeError:  # Not a coroutine: `receive` would have to wait.
            return
        else:
            waiting.close()

    def _reserve(self, size: int) -> None:
        needed = size - FREE_BODY_BYTES
        if needed > self._reserved:
            self._admission.reserve_body(needed - self._reserved)
            self._reserved = needed

    def release(self) -> None:
        """Release the reserved memory."""
        if self._reserved:
            self._admission.release_body(self._reserved)
            self._reserved = 0


def require_encoding(encoding: str) -> None:
    """Raise HttpError 415 for an unsupported compression."""
    if encoding and encoding not in WBITS:
        raise HttpError(
            415,
            "unsupported_encoding",
            f"Content-Encoding {encoding[:40]!r} is not supported; send gzip, deflate, or none.",
            expected=["gzip", "deflate", "identity"],
        )


def slots_for(body: bytes, encoding: str, *, limit: int) -> int:
    """Return the slots that a body needs: one, plus one for each SLOT_BYTES of its decompressed size.

    gzip stores the size of its content in the last four bytes. Content beyond that size needs further slots.
    """
    size = len(body)
    if encoding == "gzip":
        size = max(size, min(int.from_bytes(body[-4:], "little"), size * MAX_COMPRESSION))
    elif encoding == "deflate":
        # An estimate: deflate does not store the size, and the slots grow with the content.
        size *= 4
    return 1 + min(size, limit) // SLOT_BYTES


def decode(body: bytes, encoding: str, *, limit: int, slots: Slots | None = None) -> bytes:
    """Return the decompressed `body`, at most `limit` bytes; `slots` grow with it."""
    require_encoding(encoding)
    if not encoding:
        return body
    engine = zlib.decompressobj(WBITS[encoding])
    pieces: list[bytes] = []
    size = 0
    rest = body
    while not engine.eof:
        try:
            piece = engine.decompress(rest, min(DECOMPRESSED_AT_ONCE, limit + 1 - size))
        except zlib.error as error:
            raise HttpError(400, "invalid_encoding", f"The body is not valid {encoding}: {error}.") from error
        rest = engine.unconsumed_tail
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise too_large(limit)
        if slots is not None:
            slots.grow(1 + size // SLOT_BYTES)
        if not piece and not rest and not engine.eof:
            raise HttpError(400, "invalid_encoding", f"The body's {encoding} is cut short. Send it again.")
    return b"".join(pieces)


def cut_short() -> HttpError:
    """Return the error for a body that the client ended early."""
    return HttpError(400, "incomplete_body", "The connection ended before the body was complete. Send it again.")


def client_left() -> HttpError:
    """Return the error for a client that closed the connection after its request; only the log shows it."""
    return HttpError(499, "client_left", "The client closed the connection before the answer.")


def too_slow() -> HttpError:
    """Return the error for a request that arrives too slowly."""
    return HttpError(
        408,
        "request_timeout",
        f"The request arrived too slowly: send at least {MIN_BYTES_PER_SECOND} bytes a second, on a new connection.",
    )


def too_large(limit: int, size: int | None = None) -> HttpError:
    """Return the error for a body above the limit."""
    found = f" has {size} bytes;" if size is not None else " is larger than allowed;"
    return HttpError(
        413,
        "body_too_large",
        f"The body{found} at most {limit} bytes are accepted, after decompression (MLAPI_MAX_BODY_MB). "
        "Send fewer rows at a time.",
        expected=limit,
        found=size,
    )
