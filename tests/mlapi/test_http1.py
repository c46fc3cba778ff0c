"""The short road from bytes to a request gives what gunicorn's own gives, or leaves the request to it."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from gunicorn.config import Config
from gunicorn.http import get_parser, wsgi
from hypothesis import given
from hypothesis import strategies as st

from mlapi.connections import HeadTooSlowError, PatientParser, PatientSocket
from mlapi.http1 import (
    PATIENCE_SECONDS,
    HeadUnfinishedError,
    Limits,
    Patience,
    SocketBody,
    expected_bytes,
    read_plain,
    response_bytes,
)

LIMITS = Limits(4094, 100, 8190)
SECURE = {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"}
PEER = ("127.0.0.1", 1234)
SERVER = ("127.0.0.1", 8000)
PLAIN = b"POST /models/m/predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
COMPARED_NOT = {"wsgi.errors", "wsgi.input", "gunicorn.socket", "wsgi.early_hints", "wsgi.multithread"}


class Nowhere:
    """A socket that nothing is sent to."""

    def send(self, data):
        raise AssertionError(f"sent {data!r}")


def by_gunicorn(data: bytes):
    """Return gunicorn's environment and body."""
    cfg = Config()
    request = next(get_parser(cfg, iter([data]), PEER))
    _, environ = wsgi.create(request, Nowhere(), PEER, SERVER, cfg)
    return {key: value for key, value in environ.items() if key not in COMPARED_NOT}, request.body.read()


def on_the_short_road(data: bytes):
    """Return our environment and body; None where the request is left to gunicorn."""
    request = read_plain(data, LIMITS, SECURE)
    if request is None:
        return None
    base = {
        **wsgi.base_environ(Config()),
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SCRIPT_NAME": "",
        "REMOTE_ADDR": PEER[0],
        "REMOTE_PORT": str(PEER[1]),
        "SERVER_NAME": SERVER[0],
        "SERVER_PORT": str(SERVER[1]),
    }
    environ = request.environ(base, io.BytesIO(request.body))
    body = environ["wsgi.input"].read()
    return {key: value for key, value in environ.items() if key not in COMPARED_NOT}, body


TAKEN = {
    "a prediction": PLAIN,
    "health, without a body": b"GET /health/ready HTTP/1.1\r\nHost: a\r\n\r\n",
    "kept alive in so many words": PLAIN.replace(b"Host", b"Connection: Keep-Alive\r\nHost"),
    "behind a balancer": PLAIN.replace(
        b"Host", b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nHost"
    ),
    "behind a balancer, plain": PLAIN.replace(b"Host", b"X-Forwarded-Proto: http\r\nHost"),
    "names in any case": PLAIN.replace(b"Host", b"x-ReQuest-iD: 1\r\nhOST"),
    "space around a value": PLAIN.replace(b"Host: a", b"X-A: \t b \t\r\nHost:a"),
    "bytes beyond ASCII": PLAIN.replace(b"Host", "X-A: é\r\nHost".encode("latin-1")),
    "an empty value": PLAIN.replace(b"Host", b"X-A:\r\nHost"),
}


@pytest.mark.parametrize("data", TAKEN.values(), ids=TAKEN.keys())
def test_a_plain_request_is_read_as_gunicorn_reads_it(data):
    assert on_the_short_road(data) == by_gunicorn(data)


LEFT = {
    "two requests": PLAIN + PLAIN,
    "a byte too many": PLAIN + b"x",
    "a body without a length": PLAIN.replace(b"Content-Length: 2\r\n", b""),
    "chunks": PLAIN.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
    "chunks and a length": PLAIN.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost"),
    "two lengths": PLAIN.replace(b"Host", b"Content-Length: 2\r\nHost"),
    "a length with a sign": PLAIN.replace(b"Length: 2", b"Length: +2"),
    "a length in other digits": PLAIN.replace(b"Length: 2", b"Length: \xb2"),
    "a length of many digits": PLAIN.replace(b"Length: 2", b"Length: 0000000002"),
    "to be closed": PLAIN.replace(b"Host", b"Connection: close\r\nHost"),
    "a packed body": PLAIN.replace(b"Host", b"Content-Encoding: gzip\r\nHost"),
    "an upgrade": PLAIN.replace(b"Host", b"Connection: upgrade\r\nUpgrade: h2c\r\nHost"),
    "an expectation": PLAIN.replace(b"Host", b"Expect: 100-continue\r\nHost"),
    "a header that stands twice": PLAIN.replace(b"Host", b"X-A: 1\r\nX-A: 2\r\nHost"),
    "a header twice in two cases": PLAIN.replace(b"Host", b"X-A: 1\r\nx-a: 2\r\nHost"),
    "an underscore": PLAIN.replace(b"Host", b"X_Forwarded_For: 1\r\nHost"),
    "a script name": PLAIN.replace(b"Host", b"Script-Name: /x\r\nHost"),
    "no host": PLAIN.replace(b"Host: a\r\n", b""),
    "an escaped path": PLAIN.replace(b"/m/", b"/%6d/"),
    "a query": PLAIN.replace(b"predict HTTP", b"predict?a=1 HTTP"),
    "two slashes": PLAIN.replace(b"/models", b"//models"),
    "a whole address": PLAIN.replace(b"/models", b"http://a/models"),
    "an older version": PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "another method": PLAIN.replace(b"POST", b"HEAD"),
    "a fold": PLAIN.replace(b"Host", b"X-A: 1\r\n 2\r\nHost"),
    "a bare line feed": PLAIN.replace(b"\r\nHost", b"\nHost"),
    "a NUL": PLAIN.replace(b"Host", b"X-A: \0\r\nHost"),
    "a space before the colon": PLAIN.replace(b"Host", b"X-A : 1\r\nHost"),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "too many headers": PLAIN.replace(b"Host", b"".join(b"X-%d: 1\r\n" % n for n in range(101)) + b"Host"),
    "too long a line": PLAIN.replace(b"/m/", b"/" + b"m" * 5000 + b"/"),
    "two schemes": PLAIN.replace(b"Host", b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\nHost"),
}


@pytest.mark.parametrize("data", LEFT.values(), ids=LEFT.keys())
def test_what_is_unusual_is_left_to_gunicorn(data):
    assert on_the_short_road(data) is None


@pytest.mark.parametrize("length", range(PLAIN.index(b"\r\n\r\n") + 4))
def test_a_head_may_still_be_coming(length):
    with pytest.raises(HeadUnfinishedError):
        read_plain(PLAIN[:length], LIMITS, SECURE)


def test_a_body_may_still_be_coming():
    request = read_plain(PLAIN[:-1], LIMITS, SECURE)
    assert (request.body, request.length, request.is_whole) == (b"{", 2, False)
    assert read_plain(PLAIN, LIMITS, SECURE).is_whole


@pytest.fixture
def ends():
    ours, callers = socket.socketpair()
    with ours, callers:
        yield ours, callers


def patience(since: float | None = None) -> Patience:
    begun = Patience()
    begun.begin(since)
    return begun


def test_a_body_is_read_as_it_comes_and_no_further(ends):
    ours, caller = ends
    body = SocketBody(ours, b"abc", 200_000, patience())
    sender = threading.Thread(target=caller.sendall, args=(b"d" * 199_997 + b"the next request",))
    sender.start()
    assert body.read(2) == b"ab"
    assert body.read(4) == b"cddd"
    assert not body.is_drained
    assert body.read(1_000_000) == b"d" * 199_994
    assert (body.is_drained, body.read(), body.read(5)) == (True, b"", b"")
    sender.join()
    assert ours.recv(100) == b"the next request"


def test_a_body_that_ends_early_is_as_long_as_it_is(ends):
    ours, caller = ends
    body = SocketBody(ours, b"ab", 10, patience())
    caller.sendall(b"cd")
    caller.close()
    assert body.read(10) == b"abcd"
    assert not body.is_drained


@contextmanager
def trickle(caller: socket.socket, piece: bytes, every: float) -> Iterator[None]:
    """Have `caller` send a piece at a time, meanwhile."""
    ends = threading.Event()

    def send() -> None:
        with suppress(OSError):
            while not ends.wait(every):
                caller.sendall(piece)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        ends.set()
        sender.join()


def by_the_parser(ours: socket.socket, given: Patience, head: bytes):
    """Return gunicorn's body of the request with that head, read from a socket."""
    given.begin(time.monotonic())
    parser = PatientParser(Config(), PatientSocket(ours, given), PEER)
    parser.unreader.unread(head)
    return next(parser).body


LONG_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n"
CHUNKS_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
BODIES = {
    "on the short road": lambda ours, given: SocketBody(ours, b"", 400_000, given),
    "by gunicorn": lambda ours, given: by_the_parser(ours, given, LONG_HEAD),
    "in chunks": lambda ours, given: by_the_parser(ours, given, CHUNKS_HEAD),
}


@pytest.mark.parametrize("make", BODIES.values(), ids=BODIES.keys())
def test_a_body_that_trickles_is_not_waited_for_for_ever(ends, make):
    ours, caller = ends
    given = patience()
    body = make(ours, given)
    given.begin(time.monotonic() - PATIENCE_SECONDS + 1)
    began = time.monotonic()
    with trickle(caller, b"1\r\na\r\n", every=0.1), pytest.raises(TimeoutError):
        body.read(400_000)
    assert 0.8 < time.monotonic() - began < 2
    assert given.is_lost


@pytest.mark.parametrize("make", BODIES.values(), ids=BODIES.keys())
def test_a_large_body_may_take_longer_where_it_comes_at_a_fair_pace(ends, make):
    ours, caller = ends
    given = patience()
    body = make(ours, given)
    given.begin(time.monotonic() - PATIENCE_SECONDS + 1)
    began = time.monotonic()
    piece = b"%x\r\n%s\r\n" % (10_000, b"a" * 10_000)
    with trickle(caller, piece, every=0.2):
        assert len(body.read(100_000)) == 100_000
    assert time.monotonic() - began > 1.5


def test_who_has_sent_much_may_not_be_silent_the_longer_for_it():
    given = patience(time.monotonic() - PATIENCE_SECONDS + 1)
    given.receive(lambda seconds: b"a" * 100_000_000)
    left = []
    given.receive(lambda seconds: left.append(seconds) or b"")
    assert left == [pytest.approx(PATIENCE_SECONDS)]


def test_the_rest_of_a_body_that_nobody_wants_is_read_for_a_moment_in_all(ends):
    ours, caller = ends
    parser = PatientParser(Config(), PatientSocket(ours, patience()), PEER)
    parser.unreader.unread(LONG_HEAD)
    next(parser)
    began = time.monotonic()
    with trickle(caller, b"a", every=0.05):
        assert not parser.finish_body(deadline=began + 0.5)
    assert time.monotonic() - began < 1.5
    assert ours.gettimeout() is None


def test_a_head_that_trickles_is_not_waited_for_for_ever(ends):
    ours, caller = ends
    parser = PatientParser(Config(), PatientSocket(ours, patience(time.monotonic() - PATIENCE_SECONDS)), PEER)
    with trickle(caller, b"a", every=0.1), pytest.raises(HeadTooSlowError):
        next(parser)


def test_a_connection_that_breaks_amid_a_body_says_so(ends):
    ours, caller = ends
    body = SocketBody(ours, b"ab", 10, patience())
    ours.sendall(b"unread by the caller")
    caller.close()
    with pytest.raises(ConnectionError):
        body.read(10)


def test_how_much_is_to_come_is_known_of_unusual_requests_too():
    expected = {name: expected_bytes(data, LIMITS) for name, data in LEFT.items()}
    assert expected["to be closed"] == len(LEFT["to be closed"])
    assert expected_bytes(LEFT["to be closed"][:-1], LIMITS) == len(LEFT["to be closed"])
    assert expected["a query"] == len(LEFT["a query"])
    assert expected["two requests"] == len(PLAIN)
    assert expected["no HTTP"] == 0
    assert expected["a body without a length"] == len(LEFT["a body without a length"]) - 2
    assert [expected[name] for name in ("chunks", "an expectation", "an upgrade")] == [None] * 3
    assert expected_bytes(PLAIN[:20], LIMITS) is None
    assert expected_bytes(PLAIN.replace(b"Length: 2", b"Length: " + b"9" * 15), LIMITS) is None


def test_a_body_is_read_by_lines_where_that_is_asked(ends):
    ours, caller = ends
    body = SocketBody(ours, b"a", 9, patience())
    caller.sendall(b"\nbc\ndef\n")
    assert [body.readline(), body.readline(2), body.readline(), body.readline(), body.readline()] == [
        b"a\n",
        b"bc",
        b"\n",
        b"def\n",
        b"",
    ]


NAMES = st.sampled_from(
    [b"Host", b"X-A", b"x-a", b"Content-Type", b"X-Forwarded-Proto", b"Connection", b"Authorization", b"Cookie", b"X_A"]
)
VALUES = st.one_of(
    st.sampled_from([b"https", b"http", b"close", b"keep-alive", b"", b"a", b" a ", b"a,b"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=12).map(lambda text: text.encode("latin-1")),
)


@given(
    st.sampled_from([b"/", b"/predict", b"/health", b"/a/../b", b"/a;b", b"/a#b", b"/~x", b"*"]),
    st.lists(st.tuples(NAMES, VALUES), max_size=5),
    st.binary(max_size=20),
)
def test_whatever_is_taken_is_taken_as_gunicorn_takes_it(path, headers, body):
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    data = b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n%s\r\n%s" % (path, len(body), lines, body)
    ours = on_the_short_road(data)
    assert ours is None or ours == by_gunicorn(data)


def test_a_peer_that_is_not_trusted_does_not_choose_the_scheme():
    data = TAKEN["behind a balancer"]
    assert read_plain(data, LIMITS, {}).scheme == "http"
    assert read_plain(data, LIMITS, SECURE).scheme == "https"


def test_names_that_callers_make_up_are_not_remembered_for_ever():
    from mlapi import http1

    for number in range(2000):
        assert read_plain(PLAIN.replace(b"Host", b"X-%d: 1\r\nHost" % number), LIMITS, {}) is not None
    assert len(http1._keys) <= http1._MOST_NAMES


def test_a_response_is_whole():
    assert response_bytes("200 OK", [("Content-Type", "a/b"), ("X-A", "é")], b"body", "now") == (
        "HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: now\r\nConnection: keep-alive\r\nContent-Type: a/b\r\nX-A: é\r\n"
        "Content-Length: 4\r\n\r\nbody"
    ).encode("latin-1")


@pytest.mark.parametrize("value", ["a\r\nX-B: 1", "a\nb", "a\rb"])
def test_a_value_does_not_become_a_header(value):
    with pytest.raises(ValueError, match="line break"):
        response_bytes("200 OK", [("X-A", value)], b"", "now")
