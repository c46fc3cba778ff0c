"""The prediction lane: WSGI host of the gate, in front of Django's handler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from mlapi.foresight import Finding, Foresight
from mlapi.gate import Gate, status_line
from mlapi.routes import match

StartResponse = Callable[..., Any]
WsgiApplication = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class PredictionLane:
    """Answers the gate's routes itself and hands everything else to Django; all of it where it is closed."""

    def __init__(
        self,
        django: WsgiApplication,
        gate: Gate,
        *,
        is_open: bool = True,
        places: int = 1,
        patience_seconds: float = 0,
    ) -> None:
        """Stand in front of `django`; for one of `places`, a prediction may wait `patience_seconds`."""
        self.places = places
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

    def foresee(self, path: str, length: int) -> Foresight:
        """Say what a request to `path` with a body of `length` bytes will take, in either host."""
        found = match(path)
        return Foresight.UNKNOWN if found is None else self._gate.foresee(*found, length)

    def examine(self, environ: dict[str, Any]) -> Finding:
        """Say what the head of a request says that was foreseen as LONG."""
        found = match(environ["PATH_INFO"])
        return Finding() if found is None else self._gate.examine(*found, environ)

    def take_place(self) -> bool:
        """Take a place for a LONG request, in either host; False where none is free."""
        return self._gate.take_place()

    def give_place_back(self) -> None:
        """Give back what `take_place` took."""
        self._gate.runtime.leave()
