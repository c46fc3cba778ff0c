"""gunicorn's threaded worker, with a short way for what is answered within a moment.

A request goes from gunicorn's main thread to a thread of its pool and back, which takes longer than most predictions.
Here the main thread, which watches the connections, itself answers what waits for nothing: a few rows for a compiled
model, a health check, a refusal. What waits for a slow model goes to a thread as it was read, and is not read again;
where there is no place for it, it waits here for a little while, which costs no thread, before it is refused.
The application says which those are. All else takes gunicorn's way.
"""

from __future__ import annotations

import email.utils
import io
import ipaddress
import math
import selectors
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import Any, Protocol

from gunicorn.http.wsgi import base_environ
from gunicorn.workers.gthread import TConn, ThreadWorker

from mlapi import logs
from mlapi.foresight import CAME_AT, MUST_BE_REFUSED, Foresight
from mlapi.http1 import HeadUnfinishedError, Limits, PlainRequest, SocketBody, read_plain, response_bytes

# What is larger is none of a few rows. What is smaller is waited for here, so that no thread waits for a slow caller.
LARGEST_BYTES = 16_384
ACCEPTED_TOGETHER = 64
SWITCH_SECONDS = 0.0005
# So many answers a new connection may wait for.
ACCEPTED_EVERY = 16


class KnowingApplication(Protocol):
    """A WSGI application that knows beforehand what its answers take; without a place, one waits so long."""

    patience_seconds: float

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""

    def foresee(self, path: str, length: int, ahead: int) -> Foresight:
        """Say what a request to `path` with a body of `length` bytes will take, behind `ahead` LONG ones."""


class Outcome(Enum):
    """What became of a readable connection on the short way."""

    ANSWERED = auto()
    HALF_SENT = auto()
    READ = auto()
    WAITS = auto()
    RETURNED = auto()
    AS_USUAL = auto()
    NOTHING_YET = auto()
    ENDED = auto()


class Together:
    """A socket that keeps the first small piece of an answer, its head, for the next."""

    def __init__(self, sock: Any) -> None:
        """Write to `sock`."""
        self._sock = sock
        self._held = b""
        self._is_first = True

    def sendall(self, data: bytes) -> None:
        """Send `data` after what is held."""
        if self._is_first:
            self._is_first = False
            self._held = data
        elif len(data) <= LARGEST_BYTES:
            held, self._held = self._held, b""
            self._sock.sendall(held + data)
        else:  # a large body is not copied for its head's sake
            self.flush()
            self._sock.sendall(data)

    def flush(self) -> None:
        """Send what is held."""
        held, self._held = self._held, b""
        if held:
            self._sock.sendall(held)

    def __getattr__(self, name: str) -> Any:
        """Do everything else with the socket itself, after what is held."""
        self.flush()
        return getattr(self._sock, name)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request without a place, whose connection nobody watches meanwhile."""

    conn: Any
    request: PlainRequest
    came_at: float


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection, with what is the same for all of its requests."""

    def __init__(self, cfg: Any, sock: Any, client: Any, server: Any, base: dict[str, Any] | None = None) -> None:
        """Note where it comes from; without `base`, none of its requests takes the short way."""
        super().__init__(cfg, sock, client, server)
        self.set_timeout()
        self.base = base
        self.received = b""
        self.refused_at = -math.inf
        self.secure_headers: dict[str, str] = {}
        if base is not None:
            self.base = {
                **base,
                "REMOTE_ADDR": client[0],
                "REMOTE_PORT": str(client[1]),
                "SERVER_NAME": server[0],
                "SERVER_PORT": str(server[1]),
            }
            if _is_trusted(client[0], cfg):
                self.secure_headers = cfg.secure_scheme_headers


class ServingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Answers at once what the application says it can, and everything else in threads."""

    def init_process(self) -> None:
        """Prepare what every request needs, then serve."""
        # The main thread gives the interpreter up at every read and write; with Python's own 5 ms it would wait as long
        # for a thread that prepares a model, each time.
        sys.setswitchinterval(SWITCH_SECONDS)
        cfg = self.cfg
        self._limits = Limits(cfg.limit_request_line, cfg.limit_request_fields, cfg.limit_request_field_size)
        self._base = {
            **base_environ(cfg),
            "wsgi.multithread": True,
            "QUERY_STRING": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SCRIPT_NAME": "",
        }
        self._date = (0, "")
        self._application: KnowingApplication | None = None
        # One for each request that came whole and was handed to a thread; a deque counts right among threads.
        self._ahead: deque[None] = deque()
        self._waiting: deque[Waiting] = deque()
        # Who has been refused a moment ago and has come again, as if there had been no Retry-After.
        self._returned: deque[Waiting] = deque()
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application; where it foresees nothing, or callers may speak more than HTTP/1.1, all is as usual."""
        super().load_wsgi()
        logs.gather()
        cfg = self.cfg
        is_plain = not cfg.is_ssl and (cfg.proxy_protocol, cfg.protocol, cfg.http2_cleartext) == ("off", "http", "off")
        if is_plain and hasattr(self.wsgi, "foresee"):
            self._application = self.wsgi

    def accept(self, listener: Any) -> None:
        """Accept who has come, and answer who has asked; no thread waits for the first bytes of a slow caller."""
        for _ in range(ACCEPTED_TOGETHER):
            if self.nr_conns >= self.worker_connections:
                return
            try:
                client, address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            self.nr_conns += 1
            base = self._base if self._application is not None and isinstance(address, tuple) else None
            conn = Connection(self.cfg, client, address, listener.getsockname(), base)
            self.pending_conns.append(conn)
            self.poller.register(client, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))
            if base is not None:
                self.on_pending_socket_readable(conn, client)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Serve whoever is ready; who connects meanwhile, as health checks do, need not wait for all of them."""
        for queue, patience in self._queues():
            timeout = min(timeout, max(0.0, patience - seconds_waited(queue)))
        for turn, (key, _) in enumerate(self.poller.select(timeout)):
            key.data(key.fileobj)
            if turn % ACCEPTED_EVERY == ACCEPTED_EVERY - 1 and self._accepting:
                for listener in self.sockets:
                    self.accept(listener)
        for queue, patience in self._queues():
            self._look_after(queue, patience)
        logs.flush()

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        """Answer the first request of a connection."""
        self._on_readable(conn, client, self.pending_conns, super().on_pending_socket_readable)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Answer a later request of a connection."""
        self._on_readable(conn, client, self.keepalived_conns, super().on_client_socket_readable)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request in a thread; head and body leave together, so that the caller wakes once."""
        together = Together(conn.sock)
        keeps = super().handle_request(req, SimpleNamespace(sock=together, client=conn.client, server=conn.server))
        together.flush()
        return keeps

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Keep a connection or close it; a lingering close waits for the caller, and so is for a thread."""
        if fs.cancelled() or fs.exception() or fs.result():
            super().finish_request(conn, fs)
            return
        self.nr_conns -= 1
        try:
            self.tpool.submit(conn.close, graceful=True)
        except RuntimeError:  # the pool takes nothing any more: the worker ends
            conn.close()

    def _cap_keepalive(self, deadline: float) -> None:
        """Let a stopping worker wait no longer for who has not asked yet than for who may ask again."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def _on_readable(
        self, conn: Any, client: Any, waiting: deque[Any], take_to_thread: Callable[[Any, Any], None]
    ) -> None:
        outcome, left = self._serve(conn)
        if outcome is Outcome.NOTHING_YET:
            return
        if outcome is Outcome.AS_USUAL:
            take_to_thread(conn, client)
            return
        waiting.remove(conn)
        if outcome is Outcome.ANSWERED:
            conn.set_timeout()
            self.keepalived_conns.append(conn)
            if waiting is self.pending_conns:
                self.poller.modify(client, selectors.EVENT_READ, partial(self.on_client_socket_readable, conn))
            return
        self.poller.unregister(client)
        if outcome is Outcome.WAITS or outcome is Outcome.RETURNED:
            queue = self._waiting if outcome is Outcome.WAITS else self._returned
            queue.append(Waiting(conn, left, time.perf_counter()))
        else:
            self._go_on(conn, outcome, left)

    def _go_on(self, conn: Any, outcome: Outcome, left: Any, came_at: float | None = None) -> None:
        """End a connection that nobody watches, or let a thread do what is left to do for it."""
        if outcome is Outcome.ENDED:
            self.nr_conns -= 1
            conn.close()
            return
        work: Callable[..., bool] = self._send_all
        arguments = [conn, left]
        if outcome is Outcome.READ:
            work = self._answer_in_thread
            if left.is_whole:
                self._ahead.append(None)
                work = self._answer_whole
                arguments.append(came_at)
        future = self.tpool.submit(work, *arguments)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    @property
    def _patience_seconds(self) -> float:
        return self._application.patience_seconds if self._application is not None else 0.0

    def _queues(self) -> list[tuple[deque[Waiting], float]]:
        """Return the queues where anybody waits, in their order, with how long one may."""
        return [(queue, self._patience_seconds) for queue in (self._waiting, self._returned) if queue]

    def _look_after(self, queue: deque[Waiting], patience: float) -> None:
        """Give places to who has waited for one, in their order; refuse who has waited too long."""
        while queue:
            conn, request = queue[0].conn, queue[0].request
            is_full = self._is_full(request)
            if is_full and seconds_waited(queue) < patience:
                return
            came_at = queue.popleft().came_at
            if not is_full:
                self._go_on(conn, Outcome.READ, request, came_at)
                continue
            outcome, left = self._refuse(conn, request, {CAME_AT: came_at})
            if outcome is not Outcome.ANSWERED:
                self._go_on(conn, outcome, left)
            elif self.alive:
                conn.set_timeout()
                self.keepalived_conns.append(conn)
                self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_client_socket_readable, conn))
            else:  # the answer said so
                self._go_on(conn, Outcome.ENDED, None)

    def _is_full(self, request: PlainRequest) -> bool:
        application = self._application
        if application is None:
            return False
        return application.foresee(request.path, request.length, len(self._ahead)) is Foresight.FULL

    def _serve(self, conn: Any) -> tuple[Outcome, Any]:
        """Read what lies at `conn` and answer it where that is brief; say what became of it, and what is left to do."""
        if conn.base is None:
            return Outcome.AS_USUAL, None
        before, conn.received = conn.received, b""
        try:
            came = conn.sock.recv(LARGEST_BYTES - len(before))
        except BlockingIOError:
            conn.received = before
            return Outcome.NOTHING_YET, None
        except OSError:
            return Outcome.ENDED, None
        if not came:
            return Outcome.ENDED, None
        data = before + came if before else came
        try:
            request = read_plain(data, self._limits, conn.secure_headers)
        except HeadUnfinishedError:
            return self._wait_for_more(conn, data, LARGEST_BYTES) or self._leave_to_gunicorn(conn, data)
        foresight = self._foresee(request)
        if request is None or foresight is Foresight.UNKNOWN:
            return self._leave_to_gunicorn(conn, data)
        if not request.is_whole:
            whole = len(data) - len(request.body) + request.length
            return self._wait_for_more(conn, data, whole) or (Outcome.READ, request)
        if foresight is Foresight.BRIEF:
            return self._answer_here(conn, request, {})
        if foresight is Foresight.LONG and not self._waiting:
            return Outcome.READ, request
        half = self._patience_seconds / 2
        # Where who is next has waited half as long as anybody may, another would wait too long.
        if seconds_waited(self._waiting) < half:
            return Outcome.WAITS, request
        # To refuse the same callers over and over would take a good part of the time that the others need.
        if time.perf_counter() < conn.refused_at + self._patience_seconds:
            return Outcome.RETURNED, request
        return self._refuse(conn, request, {})

    def _refuse(self, conn: Any, request: PlainRequest, told: dict[str, Any]) -> tuple[Outcome, Any]:
        conn.refused_at = time.perf_counter()
        return self._answer_here(conn, request, {MUST_BE_REFUSED: True, **told})

    def _answer_here(self, conn: Any, request: PlainRequest, told: dict[str, Any]) -> tuple[Outcome, Any]:
        answer = self._answer(request, {**conn.base, **told}, io.BytesIO(request.body))
        return self._send(conn, answer) if answer else (Outcome.ENDED, None)

    def _wait_for_more(self, conn: Any, data: bytes, whole: int) -> tuple[Outcome, Any] | None:
        """Keep what has come until more does; nothing where `whole` bytes are too many to be kept here."""
        if whole > LARGEST_BYTES or len(data) >= LARGEST_BYTES:
            return None
        conn.received = data
        return Outcome.NOTHING_YET, None

    def _leave_to_gunicorn(self, conn: Any, data: bytes) -> tuple[Outcome, Any]:
        conn.init()
        conn.parser.unreader.unread(data)
        conn.data_ready = True
        return Outcome.AS_USUAL, None

    def _foresee(self, request: PlainRequest | None) -> Foresight:
        if (
            request is None
            or self._application is None
            # gunicorn announces the close: to the last requests of a worker, to one connection too many.
            or not self.alive
            or len(self.keepalived_conns) >= self.max_keepalived
            or self.nr + 1 >= self.max_requests
        ):
            return Foresight.UNKNOWN
        return self._application.foresee(request.path, request.length, len(self._ahead))

    def _answer_whole(self, conn: Any, request: PlainRequest, came_at: float | None) -> bool:
        """Answer a request that came whole, and count it no more."""
        try:
            return self._answer_in_thread(conn, request, {CAME_AT: came_at} if came_at else {})
        finally:
            self._ahead.pop()

    def _answer_in_thread(
        self, conn: Any, request: PlainRequest, told: Mapping[str, Any] = MappingProxyType({})
    ) -> bool:
        """Answer a request that was read; say whether the connection stays."""
        body = SocketBody(conn.sock, request.body, request.length)
        answer = self._answer(request, {**conn.base, **told}, body)
        return bool(answer) and self._send_all(conn, answer) and body.is_drained

    def _answer(self, request: PlainRequest, base: dict[str, Any], stream: io.BytesIO | SocketBody) -> bytes:
        """Return the whole response; nothing where the application failed, which is logged."""
        self.nr += 1
        started: list[Any] = []
        try:
            chunks = self.wsgi(
                request.environ(base, stream), lambda status, headers, exc_info=None: started.extend((status, headers))
            )
            try:
                body = b"".join(chunks)
            finally:
                if hasattr(chunks, "close"):
                    chunks.close()
            # What is left of a body that was not wanted is not read for the next request's sake.
            keeps = self.alive and (isinstance(stream, io.BytesIO) or stream.is_drained)
            return response_bytes(started[0], started[1], body, self._http_date(), keeps=keeps)
        except Exception:
            self.log.exception("Error handling request %s %s", request.method, request.path)
            return b""

    def _http_date(self) -> str:
        now = int(time.time())
        if self._date[0] != now:
            self._date = now, email.utils.formatdate(now, usegmt=True)
        return self._date[1]

    def _send(self, conn: Any, answer: bytes) -> tuple[Outcome, Any]:
        """Send what the caller has room for; a small answer, to one that has read the last, is sent whole."""
        try:
            sent = conn.sock.send(answer)
        except BlockingIOError:
            sent = 0
        except OSError:
            return Outcome.ENDED, None
        return (Outcome.ANSWERED, None) if sent == len(answer) else (Outcome.HALF_SENT, answer[sent:])

    def _send_all(self, conn: Any, answer: bytes) -> bool:
        """Send an answer to a caller that may read slowly; a thread's work. Say whether it took it."""
        conn.init()
        conn.sock.settimeout(self.cfg.keepalive)
        try:
            conn.sock.sendall(answer)
        except OSError:
            return False
        return True


def seconds_waited(queue: deque[Waiting]) -> float:
    """Return how long whoever is next has waited for a place."""
    return time.perf_counter() - queue[0].came_at if queue else 0.0


def _is_trusted(address: str, cfg: Any) -> bool:
    """Say whether a peer may tell by which scheme it was asked (gunicorn's forwarded_allow_ips)."""
    if "*" in cfg.forwarded_allow_ips:
        return True
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in cfg.forwarded_allow_networks())
