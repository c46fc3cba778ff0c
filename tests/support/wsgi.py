"""Calls a WSGI application as a server does."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers by lower-case name, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class WsgiClient:
    """A client of one WSGI application."""

    def __init__(self, application: Callable[..., Any]) -> None:
        self.application = application

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, **environ: Any
    ) -> Answer:
        """Send one request."""
        given = {"Host": "localhost", **(headers or {})}
        values: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path.partition("?")[0],
            "QUERY_STRING": path.partition("?")[2],
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if body or method == "POST":
            values["CONTENT_LENGTH"] = str(len(body))
        for name, value in given.items():
            key = name.upper().replace("-", "_")
            values[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = value
        values.update(environ)
        seen: list[Any] = []
        chunks = self.application(values, lambda status, answered, exc_info=None: seen.extend([status, answered]))
        content = b"".join(chunks)
        if hasattr(chunks, "close"):
            chunks.close()
        return Answer(int(seen[0].split()[0]), {name.lower(): value for name, value in seen[1]}, content)

    def get(self, path: str, **headers: str) -> Answer:
        """Send a GET."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """Send a POST of JSON, or of bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, content, {"Content-Type": "application/json", **headers})
