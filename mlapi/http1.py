"""Reads a request whose head lies in memory whole and is plain in every respect; what is not is left to gunicorn.

gunicorn's own way from bytes to a WSGI environment takes longer than a prediction. It knows every corner of HTTP; this
knows the straight road, by the same C parser, and gives the same environment. Where anything is unusual (a second
request behind the first, chunks, a header that stands twice, an escaped path) it gives None.
"""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import gunicorn_h1c

METHODS = {b"GET": "GET", b"POST": "POST"}
PLAIN_PATH = re.compile(rb"/[A-Za-z0-9_.~/-]*")
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# What changes how the connection or the body is to be read, how large it will be, or what a gateway may not be told.
UNUSUAL = frozenset(
    {
        b"TRANSFER-ENCODING",
        b"CONTENT-ENCODING",
        b"EXPECT",
        b"UPGRADE",
        b"TE",
        b"TRAILER",
        b"PROXY",
        b"HTTP2-SETTINGS",
    }
)
LONGEST_LENGTH = 9
# Who sends nothing for so long has gone, or wants to be waited for.
PATIENCE_SECONDS = 30.0
# Whoever sends at least so much of a large body is waited for until it is whole.
LEAST_BYTES_PER_SECOND = 20_000
# Who comes late to a thread, since others kept all of them waiting, still has so long.
LEAST_SECONDS = 1.0
# What leaves open how many bytes follow a head, or whether any do before the caller is answered.
UNCOUNTED = frozenset({b"transfer-encoding", b"expect", b"upgrade"})

# Names come in few spellings; what is remembered is bounded, since callers make them up.
_MOST_NAMES = 512
_keys: dict[bytes, str] = {}


@dataclass(frozen=True, slots=True)
class Limits:
    """gunicorn's limits on a request's head."""

    line: int
    fields: int
    field_size: int


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """A request: where it goes, its headers as WSGI names them, and what has come of its body."""

    method: str
    path: str
    headers: dict[str, str]
    scheme: str
    body: bytes
    length: int

    @property
    def is_whole(self) -> bool:
        """Say whether all of the body has come."""
        return len(self.body) == self.length

    def environ(self, base: Mapping[str, Any], stream: Any) -> dict[str, Any]:
        """Return the WSGI environment, on top of what `base` says of server and connection; `stream` has the body."""
        return {
            **base,
            **self.headers,
            "REQUEST_METHOD": self.method,
            "PATH_INFO": self.path,
            "RAW_URI": self.path,
            "wsgi.url_scheme": self.scheme,
            "wsgi.input": stream,
        }


class HeadUnfinishedError(Exception):
    """The head of a request has not come whole yet."""


def read_plain(data: bytes, limits: Limits, secure_headers: Mapping[str, str]) -> PlainRequest | None:
    """Return the request that `data` holds, of which a part of the body may be still to come.

    None where it holds more than one request, or anything unusual.
    `secure_headers` are those by which this peer may say that it was asked by HTTPS.
    Raises HeadUnfinishedError where more of the head is to come.
    """
    try:
        head = _parse_head(data, limits)
    except gunicorn_h1c.IncompleteError as error:
        raise HeadUnfinishedError from error
    except gunicorn_h1c.ParseError:
        return None
    method, path = METHODS.get(head["method"]), head["path"]
    if method is None or head["minor_version"] != 1 or path[:2] == b"//" or not PLAIN_PATH.fullmatch(path):
        return None
    # The parser takes bare line feeds and folded lines, which another server on the way may take otherwise.
    lines = len(head["headers"]) + 2
    end = head["consumed"]
    if data.count(b"\n", 0, end) != lines or data.count(b"\r\n", 0, end) != lines:
        return None
    headers: dict[str, str] = {}
    scheme = ""
    for raw_name, raw_value in head["headers"]:
        key = _keys.get(raw_name) or _key(raw_name)
        if not key or key in headers:
            return None
        value = raw_value.decode("latin-1")
        if key == "HTTP_CONNECTION" and value.lower() != "keep-alive":
            return None
        if secure_headers and (given := secure_headers.get(key[5:].replace("_", "-"))) is not None:
            if scheme:
                return None
            scheme = "https" if value == given else "http"
        headers[key] = value
    length = _length(headers.get("CONTENT_LENGTH"))
    if length is None or len(data) - end > length or "HTTP_HOST" not in headers:
        return None
    return PlainRequest(method, path.decode("ascii"), headers, scheme or "http", data[end:], length)


def expected_bytes(data: bytes, limits: Limits) -> int | None:
    """Return how many bytes the request has that `data` begins with, however unusual it is.

    None where its head does not say so, or is still to come; 0 for what is refused as it is.
    """
    try:
        head = _parse_head(data, limits)
    except gunicorn_h1c.IncompleteError:
        return None
    except gunicorn_h1c.ParseError:
        return 0
    given = ""
    for raw_name, raw_value in head["headers"]:
        name = raw_name.lower()
        if name in UNCOUNTED:
            return None
        if name == b"content-length":
            given = raw_value.decode("latin-1")
    end: int = head["consumed"]
    if not given.isascii() or not given.isdigit():
        return end
    return end + int(given) if len(given) <= LONGEST_LENGTH else None


def _parse_head(data: bytes, limits: Limits) -> dict[str, Any]:
    head: dict[str, Any] = gunicorn_h1c.parse_request(
        data,
        limit_request_line=limits.line,
        limit_request_fields=limits.fields,
        limit_request_field_size=limits.field_size,
    )
    return head


def _length(given: str | None) -> int | None:
    """Return how many bytes the body has; None where Content-Length says it in any but the plainest way."""
    if given is None:
        return 0
    return int(given) if given.isascii() and given.isdigit() and len(given) <= LONGEST_LENGTH else None


def _key(name: bytes) -> str:
    """Return a header's name as WSGI has it; empty for one that is not for this road."""
    upper = name.upper()
    if not TOKEN.fullmatch(upper) or upper in UNUSUAL or b"_" in upper:
        return ""
    text = upper.decode("latin-1").replace("-", "_")
    if text == "SCRIPT_NAME":
        return ""
    key = text if text in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{text}"
    if len(_keys) < _MOST_NAMES:
        _keys[name] = key
    return key


class Patience:
    """How long a caller may keep a thread waiting for one request: a while, and longer for whatever has come of it.

    Only the wait for the caller counts, not what is done with the body meanwhile. What is left is never more than the
    while that it began with: who has sent much may not be silent the longer for it.
    """

    def __init__(self) -> None:
        """Have none before somebody begins."""
        self._since = 0.0
        self._left: float | None = 0.0
        self.is_lost = False

    def begin(self, since: float | None = None) -> None:
        """Have it for a request that a thread is to read, whose caller could send since then (time.monotonic)."""
        self._since = time.monotonic() if since is None else since
        self._left = None

    def receive(self, read: Callable[[float], bytes]) -> bytes:
        """Return what `read` returns, which is told how many seconds it may wait; TimeoutError where none are left."""
        began = time.monotonic()
        left = self._left
        if left is None:  # whoever waited for a thread could send meanwhile
            left = max(PATIENCE_SECONDS - (began - self._since), LEAST_SECONDS)
        data = None
        if left > 0:
            with suppress(BlockingIOError, TimeoutError):
                data = read(left)
        if data is None:
            self.is_lost = True
            raise TimeoutError("the caller sends too slowly to be waited for")
        earned = len(data) / LEAST_BYTES_PER_SECOND
        self._left = min(left - (time.monotonic() - began) + earned, PATIENCE_SECONDS)
        return data


class SocketBody:
    """A body that is still coming, read when it is asked for: a refusal comes before it, and it is copied once."""

    def __init__(self, sock: socket.socket, start: bytes, length: int, patience: Patience) -> None:
        """Read what follows `start` from `sock`, `length` bytes in all, with so much patience."""
        self._sock = sock
        self._patience = patience
        self._start = start
        self._left = length - len(start)

    @property
    def is_drained(self) -> bool:
        """Say whether nothing of it is left to come."""
        return not self._left

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, or all; fewer where the caller ends before.

        Raises TimeoutError where the caller is too slow, and another OSError where the connection breaks.
        """
        wanted = self._left + len(self._start) if size < 0 else size
        parts, self._start = [self._start[:wanted]], self._start[wanted:]
        wanted = min(wanted - len(parts[0]), self._left)
        if wanted:
            self._sock.setblocking(True)
        while wanted:
            part = self._patience.receive(partial(self._receive, wanted))
            if not part:
                break
            parts.append(part)
            wanted -= len(part)
            self._left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _receive(self, wanted: int, seconds: float) -> bytes:
        """Wait in the kernel (MSG_WAITALL), without the interpreter; BlockingIOError where nothing comes."""
        whole = int(seconds)
        # Nothing at all would be for ever.
        micros = int((seconds - whole) * 1_000_000) + 1
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", whole, min(micros, 999_999)))
        return self._sock.recv(wanted, socket.MSG_WAITALL)

    def readline(self, size: int = -1) -> bytes:
        """Return the next line, of at most `size` bytes."""
        self._start = self.read()
        end = self._start.find(b"\n") + 1 or len(self._start)
        return self.read(end if size < 0 else min(end, size))


def response_bytes(status: str, headers: list[tuple[str, str]], body: bytes, date: str, *, keeps: bool = True) -> bytes:
    """Return a whole response of HTTP/1.1, which says whether the connection stays.

    Raises ValueError for a header with a line break: a value must not become a header of its own.
    """
    if not any(name == "Content-Length" for name, _ in headers):
        headers = [*headers, ("Content-Length", str(len(body)))]
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError(f"a header of {[name for name, _ in headers]} holds a line break")
    connection = "keep-alive" if keeps else "close"
    head = f"HTTP/1.1 {status}\r\nServer: gunicorn\r\nDate: {date}\r\nConnection: {connection}\r\n{lines}\r\n"
    return head.encode("latin-1") + body
