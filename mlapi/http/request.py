"""A request's head, read once: from an ASGI scope or from a Django request."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.http import HttpRequest

SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")


class Headers(Mapping[str, str]):
    """Headers by name, case-insensitive. Values of a repeated header are joined by a comma."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Store (lower-case name, value) pairs."""
        held = list(pairs)
        self._values = dict(held)
        if len(self._values) != len(held):
            self._values = {}
            for name, value in held:
                self._values[name] = b",".join((self._values[name], value)) if name in self._values else value

    def raw(self, name: bytes) -> str:
        """Return the value of a lower-case name; empty if it is missing."""
        value = self._values.get(name)
        return "" if value is None else value.decode("latin-1")

    def has(self, name: bytes) -> bool:
        """Return whether a lower-case name was sent."""
        return name in self._values

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a name, or `default`.

        Faster than Mapping.get, which handles an exception for each missing name.
        """
        value = self._values.get(name.lower().encode("latin-1", "replace"))
        return default if value is None else value.decode("latin-1")

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower().encode("latin-1", "replace")].decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._values)

    def __len__(self) -> int:
        return len(self._values)


class Request:
    """The head of one request."""

    __slots__ = ("client", "headers", "method", "path", "query", "scheme")

    def __init__(
        self, method: str, path: str, headers: Headers, *, scheme: str = "http", client: str = "", query: str = ""
    ) -> None:
        """Store the parts; `client` is the peer's address, `query` the text after the question mark."""
        self.method = method
        self.path = path
        self.headers = headers
        self.scheme = scheme
        self.client = client
        self.query = query

    @classmethod
    def from_scope(cls, scope: Mapping[str, Any]) -> Request:
        """Return the request of an ASGI scope."""
        client = scope.get("client")
        return cls(
            scope["method"],
            scope["path"],
            Headers(scope["headers"]),
            scheme=scope["scheme"],
            client=client[0] if client else "",
            query=scope.get("query_string", b"").decode("latin-1"),
        )

    @classmethod
    def from_django(cls, request: HttpRequest) -> Request:
        """Return the head of a Django request, served by WSGI or ASGI."""
        meta = request.META
        pairs = {"Host": meta.get("SERVER_NAME", ""), **request.headers}
        headers = Headers(
            (name.lower().encode("latin-1", "replace"), str(value).encode("latin-1", "replace"))
            for name, value in pairs.items()
        )
        client = meta.get("REMOTE_ADDR") or ""
        query = str(meta.get("QUERY_STRING") or "")
        scheme = str(request.scheme)
        return cls(str(request.method), request.path_info, headers, scheme=scheme, client=client, query=query)

    @property
    def length(self) -> int | None:
        """The body's declared length in bytes; 0 without a body, None for a chunked body."""
        headers = self.headers
        if headers.has(b"transfer-encoding"):
            return None
        declared = headers.raw(b"content-length")
        return int(declared[:20]) if declared.isascii() and declared.isdigit() else 0

    @property
    def content_encoding(self) -> str:
        """The Content-Encoding in lower case; empty if the body is not compressed."""
        encoding = self.headers.raw(b"content-encoding").strip().lower()
        return "" if encoding == "identity" else encoding


def request_id_of(given: str | None) -> str:
    """Return the client's request id if it is well formed, else a new one."""
    if given and SANE_REQUEST_ID.fullmatch(given):
        return given
    return os.urandom(16).hex()
