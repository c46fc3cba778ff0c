"""The prediction lane: WSGI host of the gate, in front of Django's handler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from mlapi.foresight import Foresight
from mlapi.gate import Gate, status_line
from mlapi.routes import match

StartResponse = Callable[..., Any]
WsgiApplication = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class PredictionLane:
    """Answers the gate's routes itself and hands everything else to Django; all of it where it is closed."""

    def __init__(
        self, django: WsgiApplication, gate: Gate, *, is_open: bool = True, patience_seconds: float = 0
    ) -> None:
        """Stand in front of `django`; for a place, a prediction may wait `patience_seconds`."""
        self.patience_seconds = patience_seconds
        self._django = django
        self._gate = gate
        self._is_open = is_open

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        found = match(environ.get("PATH_INFO", "/")) if self._is_open else None
        if found is None:
            return self._django(environ, start_response)
        endpoint, params = found
        reply = self._gate.answer(endpoint, params, environ, environ["wsgi.input"].read)
        body = reply.body
        headers = reply.headers
        if reply.status != HTTPStatus.NOT_MODIFIED:
            headers = [("Content-Type", reply.content_type), ("Content-Length", str(len(body))), *headers]
        start_response(status_line(reply.status), headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def foresee(self, path: str, length: int, ahead: int = 0) -> Foresight:
        """Say what a request to `path` with a body of `length` bytes will take, in either host.

        `ahead` is how many LONG ones were handed on and are not answered yet.
        """
        found = match(path)
        return Foresight.UNKNOWN if found is None else self._gate.foresee(*found, length, ahead)
