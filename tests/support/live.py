"""The service on a port of this process, with the models that the test loaded by hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

from mlapi import replica
from mlapi.lane import PredictionLane


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64


class _Handler(WSGIRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Leave the lines to the service's own log."""


@contextmanager
def live_service() -> Iterator[str]:
    """Serve the lane, Django behind it and the static files; give the address."""
    # The files as they lie in the apps: the tests collect none.
    application = PredictionLane(StaticFilesHandler(get_wsgi_application()), replica.gate)
    server = make_server("127.0.0.1", 0, application, server_class=_Server, handler_class=_Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
