"""Reads a request whose head lies in memory whole and is plain in every respect; what is not is left to gunicorn.

gunicorn's own way from bytes to a WSGI environment takes longer than a prediction. It knows every corner of HTTP; this
knows the straight road, by the same C parser, and gives the same environment. Where anything is unusual (a second
request behind the first, chunks, a header that stands twice, an escaped path) it gives None.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
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
PATIENCE_SECONDS = 30

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
        head = gunicorn_h1c.parse_request(
            data,
            limit_request_line=limits.line,
            limit_request_fields=limits.fields,
            limit_request_field_size=limits.field_size,
        )
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


class SocketBody:
    """A body that is still coming, read when it is asked for: a refusal comes before it, and it is copied once."""

    def __init__(self, sock: socket.socket, start: bytes, length: int) -> None:
        """Read what follows `start` from `sock`, `length` bytes in all."""
        self._sock = sock
        self._start = start
        self._left = length - len(start)

    @property
    def is_drained(self) -> bool:
        """Say whether nothing of it is left to come."""
        return not self._left

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, or all; fewer where the caller stops sending."""
        wanted = self._left + len(self._start) if size < 0 else size
        parts, self._start = [self._start[:wanted]], self._start[wanted:]
        wanted = min(wanted - len(parts[0]), self._left)
        if wanted:
            self._sock.setblocking(True)
            # Whoever sends nothing for so long has gone; MSG_WAITALL waits in the kernel, without the interpreter.
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", PATIENCE_SECONDS, 0))
        while wanted:
            try:
                part = self._sock.recv(wanted, socket.MSG_WAITALL)
            except BlockingIOError:
                break
            if not part:
                break
            parts.append(part)
            wanted -= len(part)
            self._left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

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
