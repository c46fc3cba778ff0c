"""gunicorn's worker: uvicorn on uvloop, with this project's limits. gunicorn's master loads this, so nothing heavy."""

from __future__ import annotations

import asyncio
import mmap
import os
import resource
import sys
import time
from contextlib import suppress
from functools import partial
from typing import Any

from uvicorn.config import Config
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from models_registry.agent import siblings

# The event loop gives the interpreter up at every read and write. With Python's own 5 ms it would wait that long for a
# thread that prepares a model, each time.
SWITCH_SECONDS = 0.0005
# A worker that cannot start is started again after this long.
RESTART_SECONDS = 2.0
# A connection is an open file; Debian lets a process begin with 1,024 of them.
MAX_FILES = 65_536
LISTENING_SECONDS = 0.5
# The Date header has whole seconds.
TICK_SECONDS = 1.0
NOTIFY_SECONDS = 5.0
# Shared by the workers of a server, which are forked.
_has_started = mmap.mmap(-1, 1)


def allow_files() -> None:
    """Let this process open as many files as its system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class _Server(Server):
    """uvicorn's server, which wakes up once a second, not ten times, and at once when it is to end."""

    def __init__(self, config: Config) -> None:
        self._exit = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        super().__init__(config)

    @property
    def should_exit(self) -> bool:
        """Whether the server ends."""
        return self._exit.is_set()

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if not value:
            self._exit.clear()
        elif self._loop is None:
            self._exit.set()
        else:
            # A signal's handler runs beside the loop, which may be waiting.
            self._loop.call_soon_threadsafe(self._exit.set)

    async def main_loop(self) -> None:
        """Keep the headers and the heartbeat up to date until the server is to end."""
        self._loop = asyncio.get_running_loop()
        # Zero: with every tenth number uvicorn does what is due each second.
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._exit.wait(), TICK_SECONDS)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """End in order. uvicorn's own would send itself the signal again, past gunicorn's hooks."""
        self.should_exit = True

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        """Finish HTTP's requests, and meanwhile those of the application's other ports: one wait bounds both."""
        stop_ports = getattr(self.config.app, "stop_ports", None)
        others = asyncio.ensure_future(stop_ports()) if stop_ports else None
        await super().shutdown(sockets)
        if others is not None:
            await others


class ServingWorker(UvicornWorker):  # type: ignore[misc]  # gunicorn has no types
    """Serves the application; accepts connections while it is ready, or while no worker is."""

    CONFIG_KWARGS = {
        "loop": "uvloop",
        "http": "httptools",
        "ws": "none",
        "lifespan": "on",
        "interface": "asgi3",
        "access_log": False,
        # Which proxies are believed is Django's to say (MLAPI_TRUSTED_PROXIES).
        "proxy_headers": False,
        "server_header": False,
    }

    def init_process(self) -> None:
        """Prepare the process, then serve. Only a first worker that cannot start ends the whole server."""
        sys.setswitchinterval(SWITCH_SECONDS)
        allow_files()
        self.config.timeout_notify = NOTIFY_SECONDS
        self.config.timeout_graceful_shutdown = self.cfg.graceful_timeout
        try:
            super().init_process()
        except (Exception, SystemExit) as error:
            if not _has_started[0] or (isinstance(error, SystemExit) and not error.code):
                raise
            self.log.error("A worker cannot start: %s. The others serve; another one starts soon.", error)
            time.sleep(RESTART_SECONDS)
            raise SystemExit(1) from None

    def load_wsgi(self) -> None:
        """Load the application, and the protocol with what it needs."""
        super().load_wsgi()
        from mlapi.http.protocol import LimitedProtocol

        self.config.http = LimitedProtocol

    async def _serve(self) -> None:
        """Serve until told to stop."""
        from mlapi.http.sweeping import sweep_connections

        self.config.app = self.wsgi
        server = _Server(config=self.config)
        self._install_sigquit_handler()
        listeners: list[Any] = []
        tasks = [
            asyncio.create_task(self._listen(server, listeners)),
            asyncio.create_task(sweep_connections(server.server_state.connections)),
        ]
        for task in tasks:
            task.add_done_callback(partial(self._end_after_failure, server))
        # It starts without sockets: this worker accepts when its time has come. It closes them at the end.
        await server.serve(sockets=listeners)
        for task in tasks:
            task.cancel()
        if not server.started:
            sys.exit(3)

    def _end_after_failure(self, server: Server, task: asyncio.Task[None]) -> None:
        """End a worker that could not continue accepting, or enforcing its limits; another one takes its place."""
        if not task.cancelled() and task.exception() is not None:
            self.log.error("The worker ends: %r", task.exception())
            server.should_exit = True

    async def _listen(self, server: Server, listeners: list[Any]) -> None:
        """Accept connections while this worker should, and end with the master that started it."""
        while not server.should_exit:
            if os.getppid() != self.ppid:
                # It was killed. A worker that stays keeps the port from the server that comes next.
                self.log.error("The worker ends: its master is gone.")
                server.should_exit = True
                return
            if server.started:
                _has_started[0] = True
                listeners[:] = self.sockets
                snapshot = getattr(self.wsgi, "snapshot", None)
                accepts = snapshot is None or siblings.shared().may_accept(snapshot)
                if accepts and not server.servers:
                    await self._open(server)
                elif not accepts and server.servers:
                    self._close(server)
            await asyncio.sleep(LISTENING_SECONDS if server.started else 0.02)

    async def _open(self, server: Server) -> None:
        loop = asyncio.get_running_loop()

        def make_protocol() -> Any:
            return self.config.http_protocol_class(
                config=self.config, server_state=server.server_state, app_state=server.lifespan.state
            )

        for listener in self.sockets:
            # A copy: closing it later leaves the worker the socket itself.
            socket = listener.dup()
            server.servers.append(await loop.create_server(make_protocol, sock=socket, backlog=self.config.backlog))

    def _close(self, server: Server) -> None:
        for listening in server.servers:
            listening.close()
        server.servers.clear()
