"""The service on a port of this process, with the models that the test loaded by hand."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import uvicorn
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from mlapi.http import process
from mlapi.http.application import Application
from mlapi.http.django_host import DjangoHost
from mlapi.http.protocol import LimitedProtocol
from mlapi.http.turns import Turns
from tests.support.waiting import eventually


class _EndingProtocol(LimitedProtocol):
    """A connection that ends with the service if it is idle: in a worker, its sweep does that after some seconds."""

    def shutdown(self) -> None:
        super().shutdown()
        if not self.is_active:
            self.transport.close()


@contextmanager
def live_service() -> Iterator[str]:
    """Serve the application and the static files; give the address."""
    # The files as they lie in the apps: the tests collect none.
    django = ASGIStaticFilesHandler(DjangoHost(process.admission, threads=4))
    config = uvicorn.Config(
        Application(process.pipeline, django),
        http=partial(_EndingProtocol, turns=Turns()),
        loop="asyncio",
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # As gunicorn does: without it, a client waits 40 ms for a body behind its head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        eventually(lambda: server.started)
        port = listener.getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(timeout=10)
