"""Calls an ASGI application as a server does."""

from __future__ import annotations

import asyncio
import json
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


class AsgiClient:
    """A client of one ASGI application; each request has an event loop of its own, so threads may share the client."""

    def __init__(self, application: Any, *, is_behind_django: bool = False) -> None:
        self.application = application
        # Django's own middleware then looks at the Host before anything else does.
        self.is_behind_django = is_behind_django

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        chunks: list[bytes] | None = None,
        **scope: Any,
    ) -> Answer:
        """Send one request; `chunks` are a body whose length is not told."""
        given = {"Host": "localhost", **(headers or {})}
        if chunks is not None:
            given["Transfer-Encoding"] = "chunked"
        elif body or method == "POST":
            given.setdefault("Content-Length", str(len(body)))
        values = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path.partition("?")[0],
            "raw_path": path.partition("?")[0].encode(),
            "query_string": path.partition("?")[2].encode(),
            "scheme": "http",
            "root_path": "",
            "headers": [
                (name.lower().encode(), value.encode("latin-1", "surrogateescape")) for name, value in given.items()
            ],
            "client": ("127.0.0.1", 50_000),
            "server": ("localhost", 80),
            "state": {},
            **scope,
        }
        return asyncio.run(self._ask(values, [body] if chunks is None else chunks))

    async def _ask(self, scope: dict[str, Any], pieces: list[bytes]) -> Answer:
        left = list(pieces)
        sent: list[dict[str, Any]] = []
        has_ended = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if left:
                piece = left.pop(0)
                return {"type": "http.request", "body": piece, "more_body": bool(left)}
            await has_ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.application(scope, receive, send)
        has_ended.set()
        start, *parts = sent
        content = b"".join(part.get("body", b"") for part in parts)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], headers, b"" if scope["method"] == "HEAD" else content)

    def get(self, path: str, **headers: str) -> Answer:
        """Send a GET."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """Send a POST of JSON, or of bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, content, {"Content-Type": "application/json", **headers})


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1", "surrogateescape")) for name, value in headers.items()]
