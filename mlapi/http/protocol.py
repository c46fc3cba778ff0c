"""uvicorn's HTTP/1.1 protocol with the missing limits: head size, timeouts, connections, lingering close.

llhttp is the parser. It refuses bare line feeds, folded headers, and a second body length. This class also refuses
targets that are not a plain path, a missing or second Host, other HTTP versions, and other transfer codings.
"""

from __future__ import annotations

import contextvars
import re
import sys
import time
from functools import partial
from typing import Any

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mlapi.http import eager
from mlapi.http.body import MAX_SILENCE_SECONDS, too_slow
from mlapi.http.messages import HAS_ENDED, HAS_LEFT, RECEIVED_AT, WRITE_RESPONSE, reply_bytes
from mlapi.http.refusals import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_TARGET_BYTES,
    bad_request,
    head_too_large,
    note_refusal,
    refuse_with,
)
from mlapi.http.request import request_id_of
from mlapi.http.turns import Turns
from mlapi.protocols.base import HttpError
from mlapi.protocols.native import error_reply

log = structlog.get_logger(__name__)

# A read returns up to 256 kB. A chunked body may have this many bytes of framing before its content.
MAX_FRAMING_BYTES = 524_288
# A client that does not read its response is disconnected after this time.
MAX_WRITE_SECONDS = 75.0
# A client that has closed its half of the connection gets its responses within this time.
HALF_CLOSED_SECONDS = 5.0
# RFC 9112, section 9.6: a client that still sends gets this long to read its response.
LINGER_SECONDS = 2.0
MAX_LINGER_BYTES = 65_536
# While a worker stops, a connection that sends a request within this time still gets a response.
STOPPING_SECONDS = 2.0
MAX_CONNECTIONS = 1_000
# This many connections beyond the maximum are accepted, so that health checks are answered.
SPARE_CONNECTIONS = 100
OTHER_PROTOCOL = re.compile(rb" (?:RTSP|ICE)/1\.0\r\n")
# Header values with which a client offers another protocol.
OFFERS = frozenset({b"connection", b"upgrade", b"http2-settings"})
HEALTH = frozenset({b"/health", b"/health/live", b"/health/ready", b"/ping", b"/v2/health/live", b"/v2/health/ready"})
# Letters, digits, dots and slashes need no percent-encoding. An encoded one could bypass a balancer's path rules.
NEEDLESS_ESCAPE = re.compile(rb"%(?:[46][1-9a-f]|[57][0-9a]|3[0-9]|2[ef]|5c|7f|[01][0-9a-f])", re.IGNORECASE)


class LimitedProtocol(HttpToolsProtocol):
    """One client connection."""

    def __init__(self, *args: Any, turns: Turns, **given: Any) -> None:
        """Initialize the state before the first request. All connections of a worker share `turns`."""
        super().__init__(*args, **given)
        self._turns = turns
        self._context = contextvars.copy_context()
        # The request being answered. uvicorn's `cycle` is the last of the pipelined requests.
        self._answering: RequestResponseCycle | None = None
        self.access_log = False
        self._application = self.app
        self._socket: Any = None
        self._head_since: float | None = None
        self._head_bytes = 0
        self._is_large_read = False
        self._is_one_head = True
        self._data = b""
        self._defaults: Any = None
        self._default_lines = ""
        # Whether the rest of a request's body is outstanding.
        self._is_receiving = False
        self.is_lost = False
        # Bytes of a body since its last content: chunk sizes, chunk extensions, trailers.
        self._framing_bytes = 0
        self._idle_since = self.loop.time()
        self._write_paused_since: float | None = None
        self._closing_since: float | None = None
        self._stopping_since: float | None = None
        self.lingers_until: float | None = None
        self._lingered_bytes = 0
        # After an error nothing more is read from the connection.
        self._is_broken = False
        self._is_spare = False

    @property
    def is_active(self) -> bool:
        """Whether a response is outstanding."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def idle_since(self) -> float | None:
        """When the connection became idle; None while a request arrives or is answered."""
        return None if self.is_active or self._head_since is not None or self.is_closing() else self._idle_since

    # Called by the transport.

    def connection_made(self, transport: Any) -> None:
        """Register a connection; above the limit, close the one that has been idle longest."""
        super().connection_made(transport)
        self._socket = transport
        self.transport = _LingeringTransport(self, transport)  # type: ignore[assignment]
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()

    def _make_room(self) -> None:
        others: Any = [item for item in self.connections if item is not self and item.idle_since is not None]  # type: ignore[union-attr]
        if others:
            min(others, key=lambda item: item.idle_since).transport.close()
        elif len(self.connections) > MAX_CONNECTIONS + SPARE_CONNECTIONS:
            self._socket.abort()
        else:
            self._is_spare = True

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, or discard them if nothing more is read from this connection."""
        if self.lingers_until is not None or self._is_broken:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > MAX_LINGER_BYTES:
                self._socket.abort()
            return
        was_in_head = self._head_since is not None
        # Whether these bytes are of one head only, and not also of the requests before it.
        self._is_one_head = was_in_head or not self._is_receiving
        self._is_large_read = len(data) > MAX_TARGET_BYTES or (was_in_head and self._is_large_read)
        self._data = data
        super().data_received(data)
        self._data = b""
        if self._head_since is not None:
            if self._is_one_head:
                self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(head_too_large())
        elif self._is_receiving:
            self._framing_bytes += len(data)
            if self._framing_bytes > MAX_FRAMING_BYTES:
                self._refuse(head_too_large())

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the request being answered: uvicorn tells only the last of several pipelined requests."""
        self.is_lost = True
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Handle a client that has closed its sending half.

        The client has left, or still waits for its responses: TCP cannot tell which. So a queued request is cancelled,
        and a running one is answered within HALF_CLOSED_SECONDS.
        """
        if self.lingers_until is not None:
            return False
        if not self.is_active:
            self._socket.close()
            return True
        if self._is_receiving:
            self._cut_short()
        else:
            self.cycle.keep_alive = False
        for cycle in self._outstanding():
            cycle.scope["state"][HAS_ENDED] = True
            cycle.message_event.set()
        self.loop.call_later(HALF_CLOSED_SECONDS, self._leave)
        return True

    def _leave(self) -> None:
        """Cancel the requests that have no response yet."""
        for cycle in self._outstanding():
            cycle.disconnected = True
            cycle.message_event.set()
        self._socket.close()

    def _outstanding(self) -> list[RequestResponseCycle]:
        """Return the request being answered, and the pipelined requests behind it."""
        answering = [] if self._answering is None else [self._answering]
        return [*answering, *(cycle for cycle, _ in self.pipeline)]

    def pause_writing(self) -> None:
        """Record the time at which the client stopped reading."""
        self._write_paused_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        self._write_paused_since = None
        super().resume_writing()

    # Called by the parser.

    def on_message_begin(self) -> None:
        """Start a request head."""
        self._head_since = self.loop.time()
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start to answer a request; refuse it if its head is not acceptable."""
        self._head_since = None
        self._is_one_head = False
        self._is_receiving = True
        if self.parser.should_upgrade():
            # The parser would take no body now: `_unsupported_upgrade_warning` parses the request again.
            return
        error = self._refusal()
        if error is not None:
            self.app = refuse_with(error)
        super().on_headers_complete()
        self.app = self._application
        # Trailers go to a separate list: they are not checked, so they must not count as headers (RFC 9110, 6.5.1).
        self.headers = []
        self._framing_bytes = 0
        if self._stopping_since is not None:
            self.cycle.keep_alive = False
        self.scope["state"][WRITE_RESPONSE] = partial(self._write_response, self.cycle)

    def _write_response(self, cycle: RequestResponseCycle, head: str, body: bytes) -> bool:
        """Write a whole response at once if the client has read the previous responses.

        uvicorn's `send` checks each header with a regular expression, which takes a tenth of a small prediction's time.
        """
        if cycle.response_started or self.flow.write_paused:
            return False
        if cycle.disconnected:
            return True
        defaults = self.server_state.default_headers
        if defaults is not self._defaults:
            self._defaults = defaults
            self._default_lines = "".join(f"{name.decode()}: {value.decode()}\r\n" for name, value in defaults)
        end = "\r\n" if cycle.keep_alive else "connection: close\r\n\r\n"
        data = f"{head}{self._default_lines}{end}".encode("latin-1")
        cycle.response_started = cycle.response_complete = True
        self.transport.write(data if cycle.scope["method"] == "HEAD" else data + body)
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True

    def on_body(self, body: bytes) -> None:
        """Receive a part of the body."""
        self._framing_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a request is complete."""
        if not self.parser.should_upgrade():
            self._is_receiving = False
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Record the time at which the connection becomes idle."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def _refusal(self) -> HttpError | None:
        """Return why the request's head is refused; None for an acceptable one."""
        url = self.url
        version = self.parser.get_http_version()
        hosts = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding" and (value.lower() != b"chunked" or version != "1.1"):
                return bad_request("The only Transfer-Encoding that is accepted is 'chunked', in HTTP/1.1.")
        if url[:1] != b"/" or b"#" in url:
            return bad_request("The request target must be a path like /predict, without a host or a fragment.")
        if b"%" in url and NEEDLESS_ESCAPE.search(url.partition(b"?")[0]):
            return bad_request(
                "The path escapes characters that need no escape. Send letters, digits, '.', '/' as they are."
            )
        # The parser treats other versions as HTTP/1.0.
        if version not in {"1.1", "1.0"} or (version == "1.0" and OTHER_PROTOCOL.search(self._data)):
            return bad_request("The HTTP version must be 1.1 or 1.0.")
        if hosts != 1 and (hosts or version == "1.1"):
            return bad_request(f"The request has {hosts} Host headers; expected one.")
        if len(url) > MAX_TARGET_BYTES or len(self.headers) > MAX_HEADERS or (self._is_large_read and self._is_large()):
            return head_too_large()
        if self._is_spare and url not in HEALTH:
            return HttpError(
                503, "too_many_connections", "This worker has too many connections. Try again in a second."
            ).with_header("Retry-After", "1")
        return None

    def _is_large(self) -> bool:
        return sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start a POST in its turn. Start any other request, for example a health check, at once."""
        self._answering = cycle
        if cycle.scope["method"] != "POST":
            # A pipelined request must not inherit the context before it: Django's names a thread that ends.
            self._context.copy().run(super()._start_asgi_task, cycle, app)
            return
        cycle.scope["state"][RECEIVED_AT] = time.perf_counter()
        self._turns.add(partial(self._start_in_turn, cycle, app))

    def _start_in_turn(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.disconnected and not cycle.more_body:
            cycle.scope["state"][HAS_LEFT] = True
        task = eager.start(cycle.run_asgi(app), self.loop)
        if task is not None:
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    # The ends of requests and connections.

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that the parser rejects; its message may not be safe to repeat."""
        self._refuse(bad_request("The request is not valid HTTP/1.1."))

    def _refuse(self, error: HttpError) -> None:
        """Send an error for a request without a response, and read no further."""
        self._is_broken = True
        if self.is_active:
            # The error is in the body being read, or in a pipelined request behind the one being answered.
            self._cut_short()
            return
        request_id = request_id_of(None)
        note_refusal(error, request_id)
        self._head_since = None
        self._is_receiving = True
        self._socket.write(reply_bytes(error_reply(error, request_id)))
        self.transport.close()

    def _cut_short(self) -> None:
        """Tell the running request that no more of its body arrives."""
        self.cycle.keep_alive = False
        if self._is_receiving:
            self.cycle.scope.setdefault("state", {})["body_cut_short"] = True
            self.cycle.message_event.set()

    def close(self) -> None:
        """Close the connection; a client that still sends first gets LINGER_SECONDS to read the response."""
        if self.is_closing():
            return
        now = self.loop.time()
        if not (self._is_receiving or self._is_broken) or not self._socket.can_write_eof():
            self._closing_since = now
            self._socket.close()
            return
        self.lingers_until = now + LINGER_SECONDS
        self.flow.resume_reading()
        self._socket.write_eof()

    def is_closing(self) -> bool:
        """Return whether writing has ended."""
        return self.lingers_until is not None or bool(self._socket.is_closing())

    def shutdown(self) -> None:
        """Stop: answer running requests, and requests that arrive within the next seconds."""
        self._stopping_since = self.loop.time()
        if self.is_active:
            self.cycle.keep_alive = False

    def sweep(self, now: float) -> None:
        """Enforce the timeouts; called every half second."""
        if self.lingers_until is not None:
            if now > self.lingers_until:
                self._socket.abort()
        elif self._socket.is_closing():
            if self._closing_since is not None and now > self._closing_since + MAX_WRITE_SECONDS:
                self._socket.abort()
        elif self._write_paused_since is not None:
            if now > self._write_paused_since + MAX_WRITE_SECONDS:
                self._socket.abort()
        elif self._head_since is not None:
            if now > self._head_since + MAX_SILENCE_SECONDS:
                self._refuse(too_slow())
            elif self._has_stopped(now):
                self._socket.abort()
        elif self.is_active:
            if self._is_receiving and not self.flow.read_paused:
                # Wakes the application, which waits for the body and checks its own timeout.
                self.cycle.message_event.set()
        elif now > self._idle_since + self.timeout_keep_alive or self._has_stopped(now):
            self.transport.close()

    def _has_stopped(self, now: float) -> bool:
        """Return whether the worker stops and has waited long enough for another request."""
        return self._stopping_since is not None and now > self._stopping_since + STOPPING_SECONDS

    def _unsupported_upgrade_warning(self) -> None:
        """Answer in HTTP/1.1 a client that offers HTTP/2 or a WebSocket.

        The parser stops behind the head, so the request is parsed again without the offer. uvicorn calls this method
        while it handles httptools' HttpParserUpgrade, which gives the position at which the parser stopped.
        """
        upgrade = sys.exc_info()[1]
        method = self.parser.get_method()
        if method == b"CONNECT" or not isinstance(upgrade, httptools.HttpParserUpgrade):
            self._refuse(bad_request("The method CONNECT is not supported."))
            return
        lines = [b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % (name, value) for name, value in self.headers if name not in OFFERS]
        rest = self._data[upgrade.args[0] :]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([*lines, b"", rest]))


class _LingeringTransport:
    """A transport whose `close` lets a client that still sends read the response first."""

    __slots__ = ("_protocol", "_transport", "close", "is_closing")

    def __init__(self, protocol: LimitedProtocol, transport: Any) -> None:
        self._protocol = protocol
        self._transport = transport
        self.close = protocol.close
        self.is_closing = protocol.is_closing

    def write(self, data: bytes) -> None:
        """Write unless the connection is lost: uvicorn tells only the last of several pipelined requests."""
        if not self._protocol.is_lost:
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
