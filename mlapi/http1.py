"""Reads a request that lies in memory whole and is plain in every respect; what is not is left to gunicorn.

gunicorn's own way from bytes to a WSGI environment takes longer than a prediction. It knows every corner of HTTP; this
knows the straight road, by the same C parser, and gives the same environment. Where anything is unusual (a second
request behind the first, chunks, a header that stands twice, an escaped path) it gives None.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gunicorn_h1c

METHODS = {b"GET": "GET", b"POST": "POST"}
PLAIN_PATH = re.compile(rb"/[A-Za-z0-9_.~/-]*")
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# What changes how the connection or the body is to be read, or what a gateway may not be told.
UNUSUAL = frozenset({b"TRANSFER-ENCODING", b"EXPECT", b"UPGRADE", b"TE", b"TRAILER", b"PROXY", b"HTTP2-SETTINGS"})
LONGEST_LENGTH = 9

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
    """A whole request: where it goes, its headers as WSGI names them, and its body."""

    method: str
    path: str
    headers: dict[str, str]
    scheme: str
    body: bytes

    def environ(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """Return the WSGI environment, on top of what `base` says of server and connection."""
        return {
            **base,
            **self.headers,
            "REQUEST_METHOD": self.method,
            "PATH_INFO": self.path,
            "RAW_URI": self.path,
            "wsgi.url_scheme": self.scheme,
            "wsgi.input": io.BytesIO(self.body),
        }


def read_plain(data: bytes, limits: Limits, secure_headers: Mapping[str, str]) -> PlainRequest | None:
    """Return the one request that `data` holds; None where it holds less, more, or anything unusual.

    `secure_headers` are those by which this peer may say that it was asked by HTTPS.
    """
    try:
        head = gunicorn_h1c.parse_request(
            data,
            limit_request_line=limits.line,
            limit_request_fields=limits.fields,
            limit_request_field_size=limits.field_size,
        )
    except (gunicorn_h1c.IncompleteError, gunicorn_h1c.ParseError):
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
    if not _is_whole(data, end, headers.get("CONTENT_LENGTH")) or "HTTP_HOST" not in headers:
        return None
    return PlainRequest(method, path.decode("ascii"), headers, scheme or "http", data[end:])


def _is_whole(data: bytes, start: int, length: str | None) -> bool:
    """Say whether the body is there, and nothing behind it."""
    if length is None:
        return len(data) == start
    if not (length.isascii() and length.isdigit() and len(length) <= LONGEST_LENGTH):
        return False
    return len(data) == start + int(length)


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


def response_bytes(status: str, headers: list[tuple[str, str]], body: bytes, date: str) -> bytes:
    """Return a whole response of HTTP/1.1 that keeps the connection.

    Raises ValueError for a header with a line break: a value must not become a header of its own.
    """
    if not any(name == "Content-Length" for name, _ in headers):
        headers = [*headers, ("Content-Length", str(len(body)))]
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError(f"a header of {[name for name, _ in headers]} holds a line break")
    head = f"HTTP/1.1 {status}\r\nServer: gunicorn\r\nDate: {date}\r\nConnection: keep-alive\r\n{lines}\r\n"
    return head.encode("latin-1") + body
