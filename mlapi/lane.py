"""The prediction lane: WSGI host of the gate, in front of Django's handler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from mlapi.gate import Gate, status_line
from mlapi.routes import match

StartResponse = Callable[..., Any]
WsgiApplication = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class PredictionLane:
    """Answers the gate's routes itself and hands everything else to Django."""

    def __init__(self, django: WsgiApplication, gate: Gate) -> None:
        """Stand in front of `django`."""
        self._django = django
        self._gate = gate

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        found = match(environ.get("PATH_INFO", "/"))
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
