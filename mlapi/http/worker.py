"""gunicorn's worker: uvicorn on uvloop with limits. gunicorn's master imports this, so imports stay light."""

from __future__ import annotations

import asyncio
import mmap
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from functools import partial
from typing import Any

from uvicorn.config import Config
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from models_registry.agent import siblings

# The event loop releases the interpreter lock at every read and write. With Python's default of 5 ms, each time it
# would wait that long for a thread that prepares a model. The value was chosen, not measured; `python -m benchmarks
# swaps` measures latencies while models are loaded.
SWITCH_SECONDS = 0.0005
# A worker that fails to start is replaced after this time.
RESTART_SECONDS = 2.0
# A connection is an open file; on Debian a process starts with a limit of 1,024 files.
MAX_FILES = 65_536
# How often a worker decides whether it should accept connections.
LISTENING_SECONDS = 0.5
# The Date header changes once a second.
TICK_SECONDS = 1.0
# How often the worker sends gunicorn's master a heartbeat.
NOTIFY_SECONDS = 5.0
# The workers of a server share this value, because they are forked.
_has_started = mmap.mmap(-1, 1)


def allow_files() -> None:
    """Raise this process's limit of open files to the system's maximum."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class _Server(Server):
    """uvicorn's server, which wakes up once a second instead of ten times, and at once on shutdown."""

    def __init__(self, config: Config) -> None:
        self._exit = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        super().__init__(config)

    @property
    def should_exit(self) -> bool:
        """Whether the server is to end."""
        return self._exit.is_set()

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if not value:
            self._exit.clear()
        elif self._loop is None:
            self._exit.set()
        else:
            # A signal handler may run while the loop waits: the loop must be woken up.
            self._loop.call_soon_threadsafe(self._exit.set)

    async def main_loop(self) -> None:
        """Refresh the default headers and the heartbeat until the server ends."""
        self._loop = asyncio.get_running_loop()
        # Zero: uvicorn runs its once-per-second work at every tenth number.
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._exit.wait(), TICK_SECONDS)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Shut down. uvicorn's own method would raise the signal again, past gunicorn's hooks."""
        self.should_exit = True

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        """Finish HTTP requests and calls on the other ports at the same time: one timeout bounds both."""
        stop_ports = getattr(self.config.app, "stop_ports", None)
        others = asyncio.ensure_future(stop_ports()) if stop_ports else None
        await super().shutdown(sockets)
        if others is not None:
            await others


class ServingWorker(UvicornWorker):  # type: ignore[misc]  # gunicorn has no types
    """Serves the application; accepts connections if this worker is ready, or if no worker is ready."""

    CONFIG_KWARGS = {
        "loop": "uvloop",
        "http": "httptools",
        "ws": "none",
        "lifespan": "on",
        "interface": "asgi3",
        "access_log": False,
        # Django decides which proxies are trusted (MLAPI_TRUSTED_PROXIES).
        "proxy_headers": False,
        "server_header": False,
    }

    def init_process(self) -> None:
        """Prepare the process, then serve. Only a failing first worker ends the whole server."""
        sys.setswitchinterval(SWITCH_SECONDS)
        allow_files()
        self.config.timeout_notify = NOTIFY_SECONDS
        self.config.timeout_graceful_shutdown = self.cfg.graceful_timeout
        try:
            super().init_process()
        except (Exception, SystemExit) as error:
            if not _has_started[0] or (isinstance(error, SystemExit) and not error.code):
                raise
            self.log.error(
                "A worker cannot start: %s. The other workers serve; a new worker starts in %s s.",
                error,
                RESTART_SECONDS,
            )
            time.sleep(RESTART_SECONDS)
            raise SystemExit(1) from None

    def load_wsgi(self) -> None:
        """Load the application, and configure the protocol."""
        super().load_wsgi()
        from mlapi.http.protocol import LimitedProtocol
        from mlapi.http.turns import Turns

        self.config.http = partial(LimitedProtocol, turns=Turns())

    async def _serve(self) -> None:
        """Serve until a stop signal."""
        from mlapi.http.sweeping import sweep_connections

        self.config.app = self.wsgi
        server = _Server(config=self.config)
        # gunicorn's master sends SIGQUIT after SIGINT or SIGQUIT. uvicorn_worker's handler would not end the server.
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, server.handle_exit, signal.SIGQUIT, None)
        listeners: list[Any] = []
        tasks = [
            asyncio.create_task(self._listen(server, listeners)),
            asyncio.create_task(sweep_connections(server.server_state.connections)),
        ]
        for task in tasks:
            task.add_done_callback(partial(self._end_after_failure, server))
        # The server starts without sockets: this worker starts to accept later. The server closes them at the end.
        await server.serve(sockets=listeners)
        for task in tasks:
            task.cancel()
        if not server.started:
            sys.exit(3)

    def _end_after_failure(self, server: Server, task: asyncio.Task[None]) -> None:
        """End a worker that can no longer accept or enforce timeouts; gunicorn starts another one."""
        if not task.cancelled() and task.exception() is not None:
            self.log.error("The worker ends: %r", task.exception())
            server.should_exit = True

    async def _listen(self, server: Server, listeners: list[Any]) -> None:
        """Accept connections while this worker should, and end if the master process ends."""
        while not server.should_exit:
            if os.getppid() != self.ppid:
                # The master was killed. A remaining worker would block the port for the next server.
                self.log.error("The worker ends: its master is gone.")
                server.should_exit = True
                return
            if server.started:
                _has_started[0] = True
                listeners[:] = self.sockets
                snapshot = getattr(self.wsgi, "snapshot", None)
                accepts = snapshot is None or siblings.shared().may_accept(snapshot)
                if snapshot is not None:
                    # Before it accepts: a worker that starts now leaves the connections to this one.
                    siblings.shared().report(snapshot)
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
            # A duplicate, so that closing it leaves the original socket open.
            socket = listener.dup()
            server.servers.append(await loop.create_server(make_protocol, sock=socket, backlog=self.config.backlog))

    def _close(self, server: Server) -> None:
        for listening in server.servers:
            listening.close()
        server.servers.clear()
