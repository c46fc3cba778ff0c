"""gunicorn's threaded worker, with a short way for what is answered within a moment.

A request goes from gunicorn's main thread to a thread of its pool and back, which takes longer than most predictions.
Here the main thread, which watches the connections, itself answers what waits for nothing: a few rows for a compiled
model, a health check, a refusal. What waits for a slow model goes to a thread as it was read, and is not read again;
where there is no place for it, it waits here for a little while, which costs no thread, before it is refused.
The application says which those are. All else takes gunicorn's way.

A small request waits here until it is whole, whatever its way. Where a caller is to be waited for otherwise, a thread
does it that does nothing else: however many they are, they keep none from the others.
"""

from __future__ import annotations

import email.utils
import errno
import io
import mmap
import resource
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol

from gunicorn.http.wsgi import base_environ
from gunicorn.workers.gthread import ThreadWorker

from mlapi import logs
from mlapi.connections import LARGEST_BYTES, Asked, Connection, HeadTooSlowError, Together, Unsent
from mlapi.foresight import CALLER_LEFT, CAME_AT, FINDING, HAS_PLACE, MUST_BE_REFUSED, Finding, Foresight
from mlapi.http1 import (
    PATIENCE_SECONDS,
    HeadUnfinishedError,
    Limits,
    PlainRequest,
    SocketBody,
    expected_bytes,
    read_plain,
    response_bytes,
)
from mlapi.lingering import Lingering
from mlapi.waiting import Turn, Waiting, WaitingRoom

ACCEPTED_TOGETHER = 64
SWITCH_SECONDS = 0.0005
# So many answers a new connection may wait for.
ACCEPTED_EVERY = 16
# A little less than the Retry-After of a refusal: who comes again before has not heeded it.
AGAIN_SECONDS = 0.9
# Not again at once: what keeps a worker from starting seldom passes within a moment.
RESTART_SECONDS = 2.0
# A connection is an open file, and so is more besides; Debian lets a process begin with 1,024 of them.
MOST_FILES = 65_536
# Shared by the workers of a server, which are forked: whether any of them has loaded the application.
_has_loaded = mmap.mmap(-1, 1)


def _allow_files() -> None:
    """Let this process have as many files open as its system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class KnowingApplication(Protocol):
    """A WSGI application that knows beforehand what its answers take; for one of its places one may wait so long."""

    places: int
    patience_seconds: float

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""

    def foresee(self, path: str, length: int) -> Foresight:
        """Say what a request to `path` with a body of `length` bytes will take."""

    def examine(self, environ: dict[str, Any]) -> Finding:
        """Say what the head of a LONG request says."""

    def take_place(self) -> bool:
        """Take a place for a LONG request; False where none is free."""

    def give_place_back(self) -> None:
        """Give a place back."""


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


class ServingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Answers at once what the application says it can, and everything else in threads."""

    def __init__(self, *given: Any) -> None:
        """Begin as gunicorn does, without an application."""
        super().__init__(*given)
        self._date = (0, "")
        self._application: KnowingApplication | None = None
        self._newcomers: list[Connection] = []
        self._room = WaitingRoom(places=0, patience_seconds=0)
        # Whose requests have come in part, and since when; the longest first.
        self._unfinished: dict[Connection, float] = {}
        self._lingering = Lingering(self._end_lingering)
        self._has_too_many_files = False

    def init_process(self) -> None:
        """Prepare what every request needs, then serve."""
        # The main thread gives the interpreter up at every read and write; with Python's own 5 ms it would wait as long
        # for a thread that prepares a model, each time.
        sys.setswitchinterval(SWITCH_SECONDS)
        _allow_files()
        cfg = self.cfg
        self._limits = Limits(cfg.limit_request_line, cfg.limit_request_fields, cfg.limit_request_field_size)
        self._base = {
            **base_environ(cfg),
            "wsgi.multithread": True,
            "QUERY_STRING": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SCRIPT_NAME": "",
        }
        super().init_process()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Have as many threads again, which wait for slow callers, so that the others need not."""
        self._patient = ThreadPoolExecutor(self.cfg.threads)
        pool: ThreadPoolExecutor = super().get_thread_pool()
        return pool

    def run(self) -> None:
        """Serve until the worker is to end; who waits for a thread then waits in vain."""
        try:
            super().run()
        finally:
            self._patient.shutdown(wait=False, cancel_futures=True)

    def load_wsgi(self) -> None:
        """Load the application; where it foresees nothing, or callers may speak more than HTTP/1.1, all is as usual."""
        self._load_or_end()
        logs.gather()
        cfg = self.cfg
        is_plain = not cfg.is_ssl and (cfg.proxy_protocol, cfg.protocol, cfg.http2_cleartext) == ("off", "http", "off")
        if is_plain and hasattr(self.wsgi, "foresee"):
            self._application = self.wsgi
            self._room = WaitingRoom(self.wsgi.places, self.wsgi.patience_seconds)

    def _load_or_end(self) -> None:
        """Load the application; gunicorn ends with a first worker that cannot, and must not with a later one."""
        try:
            super().load_wsgi()
        except Exception:
            if not _has_loaded[0]:
                raise
            self.log.exception("A worker cannot start. The others serve; another is started in a moment.")
            time.sleep(RESTART_SECONDS)
            raise SystemExit(1) from None
        _has_loaded[0] = True

    def accept(self, listener: Any) -> None:
        """Accept who has come, and answer who has asked; no thread waits for the first bytes of a slow caller."""
        for _ in range(ACCEPTED_TOGETHER):
            if self.nr_conns >= self.worker_connections:
                return
            try:
                client, address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                self._note_too_many_files(error)
                return
            self.nr_conns += 1
            base = self._base if self._application is not None and isinstance(address, tuple) else None
            conn = Connection(self.cfg, client, address, listener.getsockname(), base)
            self.pending_conns.append(conn)
            self.poller.register(client, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))
            if base is not None:
                self.on_pending_socket_readable(conn, client)
                if not conn.has_asked:
                    self._newcomers.append(conn)

    def _note_too_many_files(self, error: OSError) -> None:
        """Let callers wait for those who are served to leave; to end the worker would cut these off."""
        if not self._has_too_many_files:
            self._has_too_many_files = True
            self.log.error("No caller can be accepted: %s. Let the service open more (ulimit -n).", error.strerror)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Serve whoever is ready; who connects meanwhile, as health checks do, need not wait for all of them."""
        ready = self.poller.select(min(timeout, self._room.seconds_left()))
        # Before anybody comes: whoever waits has what was given back meanwhile, and has not waited as long as it looks.
        self._look_after_waiting()
        self._newcomers.clear()
        for turn, (key, _) in enumerate(ready):
            key.data(key.fileobj)
            if turn % ACCEPTED_EVERY == ACCEPTED_EVERY - 1 and self._accepting:
                self._look_after_newcomers()
                for listener in self.sockets:
                    self.accept(listener)
        self._look_after_waiting()
        if self._unfinished:
            self._look_after_unfinished()
        self._lingering.look_after()
        logs.flush()

    def _look_after_newcomers(self) -> None:
        """Answer who came in this round and has asked since: the poller tells of them only in the next."""
        for conn in self._newcomers:
            self.on_pending_socket_readable(conn, conn.sock)
        self._newcomers = [conn for conn in self._newcomers if not conn.has_asked]

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        """Answer the first request of a connection."""
        self._on_readable(conn, client, self.pending_conns, super().on_pending_socket_readable)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Answer a later request of a connection."""
        self._on_readable(conn, client, self.keepalived_conns, super().on_client_socket_readable)

    def enqueue_req(self, conn: Any, since: float | None = None) -> None:
        """Let a thread answer gunicorn's way: one of the patient where the caller is to be waited for."""
        conn.patience.begin(since)
        self._submit(self.tpool if self._has_come(conn) else self._patient, self.handle, conn)

    def _submit(self, pool: ThreadPoolExecutor, work: Callable[..., bool], conn: Any, *given: Any) -> None:
        """Let a thread do some work for a connection, and say whether that stays."""
        conn.may_be_waited_for = pool is self._patient
        future = pool.submit(work, conn, *given)
        future.add_done_callback(
            lambda done: done.cancelled() or self.method_queue.defer(self.finish_request, conn, done)
        )

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request in a thread; head and body leave together, so that the caller wakes once."""
        together = Together(conn)
        keeps = super().handle_request(req, SimpleNamespace(sock=together, client=conn.client, server=conn.server))
        together.flush()
        return self._send_rest(conn, keeps=keeps)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what cannot be read; nobody asks a second time for a head that does not come."""
        if not isinstance(exc, HeadTooSlowError):
            super().handle_error(req, client, addr, exc)
            return
        # gunicorn's master loads this module, and no more than it must.
        from mlapi.errors import native_reply
        from mlapi.gate import status_line
        from mlapi.protocols.bodies import too_slow

        self.log.info("A request from %s did not come in time.", addr)
        reply = native_reply(too_slow(), "")
        headers = [("Content-Type", reply.content_type)]
        client.setblocking(False)
        with suppress(OSError):
            client.send(response_bytes(status_line(reply.status), headers, reply.body, self._http_date(), keeps=False))

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Send what the caller had no room for, or keep the connection, or hang up."""
        if fs.exception():
            super().finish_request(conn, fs)
        elif conn.unsent:
            self._submit(self._patient, self._send_all, conn, Unsent(conn.take_unsent(), fs.result()))
        elif fs.result():
            super().finish_request(conn, fs)
        else:
            self._hang_up(conn)

    def _hang_up(self, conn: Any) -> None:
        """Say that there is no more; the connection is one until its caller has read that, or a moment is over."""
        if not conn.base:  # nobody but a thread may wait for a caller by TLS
            self.nr_conns -= 1
            self.tpool.submit(conn.close, graceful=True)
            return
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the caller has gone, or gunicorn has closed it
            self._go_on(conn, Outcome.ENDED, None)
            return
        self._lingering.enter(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._lingering.take, conn))

    def _end_lingering(self, conn: Any) -> None:
        self.poller.unregister(conn.sock)
        self._go_on(conn, Outcome.ENDED, None)

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
        if self._unfinished:
            self._unfinished.pop(conn, None)
        conn.has_asked = True
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
            self._room.enter(Waiting(conn, left), again=outcome is Outcome.RETURNED)
        else:
            self._go_on(conn, outcome, left)

    def _go_on(self, conn: Any, outcome: Outcome, left: Any, since: float | None = None) -> None:
        """End a connection that nobody watches, or let a thread do what is left to do for it."""
        if outcome is Outcome.ENDED:
            self.nr_conns -= 1
            conn.close()
            return
        work: Callable[..., bool] = self._send_all
        pool = self._patient
        if outcome is Outcome.READ:
            work = self._answer_placed if HAS_PLACE in left.told else self._answer_in_thread
            if left.request.is_whole:
                pool = self.tpool
            else:
                conn.patience.begin(since)
        self._submit(pool, work, conn, left)

    def _look_after_waiting(self) -> None:
        """Give places to who has waited for one, in their order; refuse who has waited too long."""
        if self._application is None:
            return
        for turn, waited in self._room.turns(self._application.take_place):
            if turn is Turn.PLACED:
                asked = waited.asked.also({HAS_PLACE: True, CAME_AT: waited.came_at})
                self._go_on(waited.conn, Outcome.READ, asked)
            elif turn is Turn.REFUSED:
                self._refuse_waiting(waited)
            else:
                self._forget(waited)

    def _refuse_waiting(self, waited: Waiting) -> None:
        conn = waited.conn
        outcome, left = self._refuse(conn, waited.asked, {CAME_AT: waited.came_at})
        if outcome is not Outcome.ANSWERED:
            self._go_on(conn, outcome, left)
            return
        conn.set_timeout()
        self.keepalived_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_client_socket_readable, conn))

    def _forget(self, waited: Waiting) -> None:
        """End the connection of a caller who has left; the application notes it."""
        self._answer(waited.asked.also({CAME_AT: waited.came_at, CALLER_LEFT: True}), waited.conn.base, io.BytesIO())
        self._go_on(waited.conn, Outcome.ENDED, None)

    def _look_after_unfinished(self) -> None:
        """Have whoever takes too long to ask told so, by a thread that waits a last moment for him."""
        latest = time.monotonic() - PATIENCE_SECONDS
        while self._unfinished:
            conn, since = next(iter(self._unfinished.items()))
            if since > latest:
                return
            del self._unfinished[conn]
            if conn.sock.fileno() >= 0:  # else it has ended as idle ones do
                self._give_up(conn, since)

    def _give_up(self, conn: Any, since: float) -> None:
        (self.pending_conns if conn in self.pending_conns else self.keepalived_conns).remove(conn)
        self.poller.unregister(conn.sock)
        conn.has_asked = True
        data, conn.received = conn.received, b""
        request = self._read_plain(conn, data)
        if request is None:
            self._leave_to_gunicorn(conn, data)
            self.enqueue_req(conn, since)
        else:
            self._go_on(conn, Outcome.READ, Asked(request, {}), since)

    def _end(self, conn: Any, data: bytes) -> tuple[Outcome, Any]:
        """Answer what its caller has cut short, if that is a request at all."""
        if not data:
            return Outcome.ENDED, None
        request = self._read_plain(conn, data)
        return self._leave_to_gunicorn(conn, data) if request is None else self._answer_here(conn, Asked(request, {}))

    def _read_plain(self, conn: Any, data: bytes) -> PlainRequest | None:
        """Return the request that the application foresees; None for what is left to gunicorn."""
        if self._application is None:
            return None
        try:
            request = read_plain(data, self._limits, conn.secure_headers)
        except HeadUnfinishedError:
            return None
        return None if self._foresee(request, self._application) is Foresight.UNKNOWN else request

    def _has_come(self, conn: Any) -> bool:
        """Say whether nothing is left to come of the request that gunicorn is to read, or nothing is known of it."""
        if not conn.base or conn.parser is None:
            return True
        data = conn.parser.unreader.buf.getvalue()
        whole = expected_bytes(data, self._limits)
        return whole is not None and whole <= len(data)

    def _serve(self, conn: Any) -> tuple[Outcome, Any]:
        """Read what lies at `conn` and answer it where that is brief; say what became of it, and what is left to do."""
        application = self._application
        if not conn.base or application is None:
            return Outcome.AS_USUAL, None
        before, conn.received = conn.received, b""
        try:
            came = conn.sock.recv(LARGEST_BYTES - len(before))
        except BlockingIOError:
            conn.received = before
            return Outcome.NOTHING_YET, None
        except OSError:
            return self._end(conn, before)
        if not came:
            return self._end(conn, before)
        data = before + came if before else came
        try:
            request = read_plain(data, self._limits, conn.secure_headers)
        except HeadUnfinishedError:
            return self._wait_for_more(conn, data, LARGEST_BYTES) or self._leave_to_gunicorn(conn, data)
        foresight = self._foresee(request, application)
        if request is None or foresight is Foresight.UNKNOWN:
            whole = len(data) if request is not None and request.is_whole else expected_bytes(data, self._limits)
            waits = whole is not None and whole > len(data) and self._wait_for_more(conn, data, whole)
            return waits or self._leave_to_gunicorn(conn, data)
        if not request.is_whole:
            whole = len(data) - len(request.body) + request.length
            return self._wait_for_more(conn, data, whole) or (Outcome.READ, Asked(request, {}))
        if foresight is Foresight.BRIEF:
            return self._answer_here(conn, Asked(request, {}))
        return self._find_place(conn, request, application)

    def _find_place(self, conn: Any, request: PlainRequest, application: KnowingApplication) -> tuple[Outcome, Any]:
        """Find a place for a request, or let it wait for one; whom a glance at the head refuses needs none."""
        finding = application.examine(request.environ(conn.base, None))
        asked = Asked(request, {FINDING: finding})
        if finding.refusal is not None:
            return self._answer_here(conn, asked)
        if self._room.is_empty and application.take_place():
            return Outcome.READ, asked.also({HAS_PLACE: True})
        if self._room.has_room():
            return Outcome.WAITS, asked
        # To refuse the same callers over and over would take a good part of the time that the others need.
        if self._room.patience_seconds and time.perf_counter() < conn.refused_at + AGAIN_SECONDS:
            return Outcome.RETURNED, asked
        return self._refuse(conn, asked, {})

    def _refuse(self, conn: Any, asked: Asked, told: Mapping[str, Any]) -> tuple[Outcome, Any]:
        conn.refused_at = time.perf_counter()
        return self._answer_here(conn, asked.also({MUST_BE_REFUSED: True, **told}))

    def _answer_here(self, conn: Any, asked: Asked) -> tuple[Outcome, Any]:
        return self._send(conn, self._answer(asked, conn.base, io.BytesIO(asked.request.body)))

    def _wait_for_more(self, conn: Any, data: bytes, whole: int) -> tuple[Outcome, Any] | None:
        """Keep what has come until more does; nothing where `whole` bytes are too many to be kept here."""
        if whole > LARGEST_BYTES or len(data) >= LARGEST_BYTES:
            return None
        conn.received = data
        if conn not in self._unfinished:
            self._unfinished[conn] = time.monotonic()
        return Outcome.NOTHING_YET, None

    def _leave_to_gunicorn(self, conn: Any, data: bytes) -> tuple[Outcome, Any]:
        conn.init()
        conn.parser.unreader.unread(data)
        conn.data_ready = True
        return Outcome.AS_USUAL, None

    def _foresee(self, request: PlainRequest | None, application: KnowingApplication) -> Foresight:
        if (
            request is None
            # gunicorn announces the close: to the last requests of a worker, to one connection too many.
            or not self.alive
            or len(self.keepalived_conns) >= self.max_keepalived
            or self.nr + 1 >= self.max_requests
        ):
            return Foresight.UNKNOWN
        return application.foresee(request.path, request.length)

    def _answer_placed(self, conn: Any, asked: Asked) -> bool:
        """Answer a request that has a place, which is kept as long as it takes one of the threads that answer."""
        try:
            return self._answer_in_thread(conn, asked)
        finally:
            if self._application is not None:
                self._application.give_place_back()

    def _answer_in_thread(self, conn: Any, asked: Asked) -> bool:
        """Answer a request whose body may be still coming; say whether the connection stays."""
        body = SocketBody(conn.sock, asked.request.body, asked.request.length, conn.patience)
        answer = self._answer(asked, conn.base, body)
        conn.init()
        try:
            conn.send(answer.data)
        except OSError:
            return False
        return self._send_rest(conn, keeps=answer.keeps)

    def _answer(self, asked: Asked, base: Mapping[str, Any], stream: io.BytesIO | SocketBody) -> Unsent:
        """Return the whole response; nothing where the application failed, which is logged."""
        self.nr += 1
        request = asked.request
        started: list[Any] = []
        try:
            environ = request.environ(base, stream)
            environ.update(asked.told)
            chunks = self.wsgi(environ, lambda status, headers, exc_info=None: started.extend((status, headers)))
            try:
                body = b"".join(chunks)
            finally:
                if hasattr(chunks, "close"):
                    chunks.close()
            # What is left of a body that was not wanted is not read for the next request's sake.
            keeps = self.alive and (request.is_whole or (isinstance(stream, SocketBody) and stream.is_drained))
            return Unsent(response_bytes(started[0], started[1], body, self._http_date(), keeps=keeps), keeps)
        except Exception:
            self.log.exception("Error handling request %s %s", request.method, request.path)
            return Unsent(b"", keeps=False)

    def _http_date(self) -> str:
        now = int(time.time())
        if self._date[0] != now:
            self._date = now, email.utils.formatdate(now, usegmt=True)
        return self._date[1]

    def _send(self, conn: Any, answer: Unsent) -> tuple[Outcome, Any]:
        """Send what the caller has room for; a small answer, to one that has read the last, is sent whole."""
        try:
            sent = conn.sock.send(answer.data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return Outcome.ENDED, None
        if sent < len(answer.data):
            return Outcome.HALF_SENT, Unsent(answer.data[sent:], answer.keeps)
        return Outcome.ANSWERED if answer.keeps else Outcome.ENDED, None

    def _send_rest(self, conn: Any, *, keeps: bool) -> bool:
        """Send what the caller had no room for, if this is a thread that waits; say whether the connection stays.

        A large body's answer is large, too: as many are kept in memory as there are such threads.
        """
        if conn.unsent and conn.may_be_waited_for:
            return self._send_all(conn, Unsent(conn.take_unsent(), keeps))
        return keeps

    def _send_all(self, conn: Any, answer: Unsent) -> bool:
        """Send an answer to a caller that may read slowly; a thread's work. Say whether the connection stays."""
        conn.init()
        conn.sock.settimeout(self.cfg.keepalive)
        try:
            conn.sock.sendall(answer.data)
        except OSError:
            return False
        return answer.keeps
