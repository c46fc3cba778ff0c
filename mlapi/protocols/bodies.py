"""Reads a request's body within the limit, whatever it claims to be."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from mlapi.protocols.base import HttpError

WBITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


def read_body(read: Callable[[int], bytes], *, length: str | None, chunked: bool, encoding: str, limit: int) -> bytes:
    """Return the body, decoded, of at most `limit` bytes; HttpError 411, 413, 408, 400 or 415 otherwise."""
    if chunked:
        raise HttpError(
            411, "length_required", "The body comes in chunks, without Content-Length. Send it with Content-Length."
        )
    size = _length(length)
    if size > limit:
        raise too_large(limit, size)
    try:
        body = read(size) if size else b""
    except OSError as error:
        raise unreadable(error) from error
    if len(body) != size:
        raise HttpError(400, "incomplete_body", f"The body ended after {len(body)} of {size} bytes. Send it again.")
    return decode(body, encoding, limit=limit) if encoding and encoding != "identity" else body


def unreadable(error: OSError) -> HttpError:
    """Return the error for a body that was waited for in vain, or whose connection broke.

    `error` is that of the connection, or a framework's own, raised from it.
    """
    if isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError):
        return too_slow()
    return HttpError(400, "incomplete_body", "The connection broke before the body was whole. Send it again.")


def _length(length: str | None) -> int:
    if not length:
        return 0
    if not (length.isascii() and length.isdigit() and len(length) < 16):
        raise HttpError(400, "invalid_length", "Content-Length is not a whole number of bytes.")
    return int(length)


def decode(body: bytes, encoding: str, *, limit: int) -> bytes:
    """Return `body` decompressed, at most `limit` bytes of it: a small body must not become a large one."""
    wbits = WBITS.get(encoding)
    if wbits is None:
        raise HttpError(
            415,
            "unsupported_encoding",
            f"Content-Encoding {encoding[:40]!r} is not supported; send gzip, deflate, or none.",
            expected=["gzip", "deflate", "identity"],
        )
    engine = zlib.decompressobj(wbits)
    try:
        content = engine.decompress(body, limit + 1)
    except zlib.error as error:
        raise HttpError(400, "invalid_encoding", f"The body is no valid {encoding}: {error}.") from error
    if len(content) > limit:
        raise too_large(limit)
    if not engine.eof:
        raise HttpError(400, "invalid_encoding", f"The body's {encoding} is cut short. Send it again.")
    return content


def too_slow() -> HttpError:
    """Return the error for a request that does not come in time."""
    return HttpError(
        408, "request_timeout", "The request came too slowly to be waited for. Send it again, on a new connection."
    )


def too_large(limit: int, size: int | None = None) -> HttpError:
    """Return the error for a body over the limit."""
    found = f" has {size} bytes;" if size is not None else " is larger than allowed when decompressed;"
    return HttpError(
        413,
        "body_too_large",
        f"The body{found} at most {limit} are taken (MLAPI_MAX_BODY_MB). Send fewer rows at a time.",
        expected=limit,
        found=size,
    )
