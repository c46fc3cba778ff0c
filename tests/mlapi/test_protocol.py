"""One parser decides where a request ends, and what is not plain HTTP/1.1 is refused."""

from __future__ import annotations

import asyncio
import json

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlapi.http.protocol import MAX_FRAMING_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES
from tests.mlapi.wires import CHUNKED, GET, PLAIN, Session, exchange, statuses


def by_h11(data: bytes) -> tuple[str, bytes] | None:
    """Return the target and body that h11 reads; None where it refuses."""
    connection = h11.Connection(h11.SERVER)
    try:
        connection.receive_data(data)
        head = connection.next_event()
        if not isinstance(head, h11.Request):
            return None
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += bytes(event.data)
        return (head.target.decode(), body) if isinstance(event, h11.EndOfMessage) else None
    except h11.RemoteProtocolError:
        return None


REFUSED = {
    "an absolute target": GET.replace(b"/health", b"http://localhost/admin/login/"),
    "an absolute target of another scheme": GET.replace(b"/health", b"https://a/health"),
    "a fragment": GET.replace(b"/health", b"/metrics#x"),
    "no path": GET.replace(b"/health", b"health"),
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel": b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "an escaped letter": GET.replace(b"/health", b"/%61dmin/login/"),
    "an escaped slash": GET.replace(b"/health", b"/admin%2flogin/"),
    "an escaped dot": GET.replace(b"/health", b"/%2e%2e/admin/"),
    "an escaped NUL": GET.replace(b"/health", b"/admin%00"),
    "bytes beyond ASCII in the target": GET.replace(b"/health", "/é".encode()),
    "a bare line feed behind the target": GET.replace(b"1.1\r\n", b"1.1\n"),
    "a bare line feed behind a header": GET.replace(b"a\r\n\r\n", b"a\nX: b\r\n\r\n"),
    "a bare line feed at the end": GET.replace(b"a\r\n\r\n", b"a\r\n\n"),
    "a bare carriage return": GET.replace(b"a\r\n", b"a\rX: b\r\n"),
    "a folded header": GET.replace(b"Host: a", b"X: 1\r\n 2\r\nHost: a"),
    "a folded header by a tab": GET.replace(b"Host: a", b"X: 1\r\n\t2\r\nHost: a"),
    "a space before the colon": GET.replace(b"Host:", b"Host :"),
    "a NUL in a header": GET.replace(b"Host: a", b"X: \0\r\nHost: a"),
    "a header without a name": GET.replace(b"Host: a", b": x\r\nHost: a"),
    "a header without a colon": GET.replace(b"Host: a", b"nonsense\r\nHost: a"),
    "no Host": GET.replace(b"Host: a\r\n", b""),
    "two Hosts": GET.replace(b"Host: a", b"Host: a\r\nHost: b"),
    "an old version": GET.replace(b"HTTP/1.1", b"HTTP/0.9"),
    "no version": b"GET /health\r\n\r\n",
    "a new version": GET.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "another protocol": GET.replace(b"HTTP/1.1", b"RTSP/1.0"),
    "a method that nobody knows": GET.replace(b"GET", b"G@T"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "nonsense": b"NONSENSE\r\n\r\n",
    "two lengths": PLAIN.replace(b"Host", b"Content-Length: 2\r\nHost"),
    "two lengths that differ": PLAIN.replace(b"Host", b"Content-Length: 3\r\nHost"),
    "a list of lengths": PLAIN.replace(b"Length: 2", b"Length: 2, 2"),
    "a length with a sign": PLAIN.replace(b"Length: 2", b"Length: +2"),
    "a length below nothing": PLAIN.replace(b"Length: 2", b"Length: -2"),
    "a length in hexadecimal": PLAIN.replace(b"Length: 2", b"Length: 0x2"),
    "a length in other digits": PLAIN.replace(b"Length: 2", b"Length: \xb2"),
    "an empty length": PLAIN.replace(b"Length: 2", b"Length:"),
    "a length beyond all": PLAIN.replace(b"Length: 2", b"Length: " + b"9" * 30),
    "a length and chunks": CHUNKED.replace(b"Host", b"Content-Length: 2\r\nHost") + b"0\r\n\r\n",
    "chunks and a length": CHUNKED.replace(b"chunked\r\n", b"chunked\r\nContent-Length: 2\r\n") + b"0\r\n\r\n",
    "chunks twice": CHUNKED.replace(b"chunked", b"chunked, chunked") + b"0\r\n\r\n",
    "chunks in two headers": CHUNKED.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost") + b"0\r\n\r\n",
    "another coding": CHUNKED.replace(b"chunked", b"gzip"),
    "another coding, then chunks": CHUNKED.replace(b"chunked", b"gzip, chunked") + b"0\r\n\r\n",
    "chunks, then another coding": CHUNKED.replace(b"chunked", b"chunked, identity") + b"0\r\n\r\n",
    "nearly chunks": CHUNKED.replace(b"chunked", b"xchunked") + b"0\r\n\r\n",
    "chunks in HTTP/1.0": CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_not_plain_http_is_refused(data):
    found = exchange(data)
    assert found.seen == []
    assert statuses(found.sent) == [400], found.sent
    assert found.has_ended
    assert json.loads(found.sent.partition(b"\r\n\r\n")[2])["code"] == "bad_request"


BAD_CHUNKS = {
    "no size": b"\r\nab\r\n0\r\n\r\n",
    "a size that is not a number": b"x\r\nab\r\n0\r\n\r\n",
    "a size with a sign": b"+2\r\nab\r\n0\r\n\r\n",
    "a size with a prefix": b"0x2\r\nab\r\n0\r\n\r\n",
    "too large a size": b"fffffffffffffffff\r\nab\r\n0\r\n\r\n",
    "too small a size": b"1\r\nab\r\n0\r\n\r\n",
    "a bare line feed behind the size": b"2\nab\r\n0\r\n\r\n",
    "a bare line feed behind the data": b"2\r\nab\n0\r\n\r\n",
    "a bare line feed in an extension": b"2;a=\nb\r\nab\r\n0\r\n\r\n",
    "no line end behind the data": b"2\r\nabX0\r\n\r\n",
}


@pytest.mark.parametrize("chunks", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_a_bad_chunk_ends_the_connection(chunks):
    found = exchange(CHUNKED + chunks + GET)
    assert [body for *_, body in found.seen] in ([None], [])
    assert len(statuses(found.sent)) == 1
    assert found.has_ended


def test_trailers_never_pass_for_headers():
    trailers = b"Host: b\r\nX-API-Key: k\r\nX-Forwarded-For: 10.0.0.1\r\nContent-Encoding: gzip\r\n"
    found = exchange(CHUNKED + b"2\r\n{}\r\n0\r\n" + trailers + b"\r\n" + GET)
    assert [sorted(headers) for _, _, headers, _ in found.seen] == [
        ["content-type", "host", "transfer-encoding"],
        ["host"],
    ]
    assert (found.seen[0][2]["host"], statuses(found.sent)) == ("a", [200, 200])


ENDLESS = {
    "an extension": b"2;" + b"a" * 60_000,
    "a trailer": b"2\r\n{}\r\n0\r\nX: " + b"a" * 60_000,
    "trailers": b"2\r\n{}\r\n0\r\n" + b"X: aaaaaaaa\r\n" * 5_000,
}


@pytest.mark.parametrize("begin", ENDLESS.values(), ids=ENDLESS)
def test_endless_framing_of_a_body_ends_the_connection(begin):
    more = b"X: aaaaaaaa\r\n" * 5_000 if begin.endswith(b"\n") else b"a" * 60_000
    found = exchange(CHUNKED + begin, *[more] * (MAX_FRAMING_BYTES // 60_000))
    assert ([body for *_, body in found.seen], found.has_ended) == ([None], True)


def test_a_large_body_in_small_chunks_is_read():
    found = exchange(CHUNKED, *[b"1\r\na\r\n" * 10_000] * 30, b"0\r\n\r\n")
    assert [len(body) for *_, body in found.seen] == [300_000]


def test_a_head_without_an_end_gets_431():
    found = exchange(GET[:-2] + b"X: ", *[b"a" * 10_000] * (MAX_HEAD_BYTES // 10_000 + 1))
    assert (statuses(found.sent), found.has_ended) == ([431], True)


@pytest.mark.parametrize(
    "data",
    [
        GET.replace(b"/health", b"/" + b"a" * MAX_TARGET_BYTES),
        GET.replace(b"Host", b"".join(b"X-%d: 1\r\n" % number for number in range(MAX_HEADERS)) + b"Host"),
        GET.replace(b"Host", b"X: " + b"a" * MAX_HEAD_BYTES + b"\r\nHost"),
    ],
    ids=["target", "headers", "bytes"],
)
def test_too_large_a_head_gets_431(data):
    found = exchange(data)
    assert (found.seen, statuses(found.sent), found.has_ended) == ([], [431], True)


def test_requests_that_arrive_in_one_burst_are_all_answered():
    burst, count = GET * 3_000, 3_000

    async def work() -> bytes:
        connection, wire = Session().connect()
        # A read ends anywhere, here within a head.
        for piece in (burst[:-10], burst[-10:]):
            connection.data_received(piece)
        async with asyncio.timeout(60):
            while wire.sent.count(b"HTTP/1.1 ") < count and not wire.has_ended:
                await asyncio.sleep(0)
        return wire.sent

    assert statuses(asyncio.run(work())) == [200] * count


def test_head_behind_a_long_body_counts_alone():
    body = b"a" * 200_000
    head = PLAIN.replace(b"Length: 2\r\n\r\n{}", b"Length: %d\r\n\r\n" % len(body))
    found = exchange(head + body[:100_000], body[100_000:] + GET[:10], GET[10:])
    assert [(path, len(sent)) for _, path, _, sent in found.seen] == [("/models/m/predict", 200_000), ("/health", 0)]
    assert statuses(found.sent) == [200, 200]


@pytest.mark.parametrize("first", [MAX_HEAD_BYTES + 1, MAX_HEAD_BYTES - 10, 10])
def test_too_large_a_head_behind_others_gets_431(first):
    large = GET[:-2] + b"X: " + b"a" * (MAX_HEAD_BYTES + 10) + b"\r\n\r\n"
    found = exchange(GET * 3 + large[:first], large[first:])
    assert (len(found.seen), statuses(found.sent), found.has_ended) == (3, [200, 200, 200, 431], True)


SIZES = st.sampled_from([b"0", b"1", b"2", b"3", b"02", b"+2", b"-1", b"2 ", b"a", b"0x2", b"", b"2,2", b"99"])
LINES = st.one_of(
    st.sampled_from(
        [
            b"Host: a",
            b"Host : a",
            b"Host:a",
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: Chunked",
            b"Transfer-Encoding : chunked",
            b"Transfer-Encoding:\tchunked",
            b"Transfer-Encoding: chunked ",
            b"Transfer-Encoding: identity",
            b"Transfer-Encoding: gzip, chunked",
            b"transfer-encoding: \x0bchunked",
            b"Connection: close",
            b"Connection: upgrade",
            b"Upgrade: h2c",
            b"Expect: 100-continue",
            b" folded",
            b"X: \xff",
            b"X: \0",
            b"X",
            b"",
        ]
    ),
    SIZES.map(lambda size: b"Content-Length: " + size),
)
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n"])
BODIES = st.sampled_from(
    [
        b"",
        b"{}",
        b"{}x",
        b"0\r\n\r\n",
        b"2\r\n{}\r\n0\r\n\r\n",
        b"2\n{}\n0\n\n",
        b"02\r\n{}\r\n0\r\n\r\n",
        b"2;x\r\n{}\r\n0\r\nX: y\r\n\r\n",
        b"2 \r\n{}\r\n0\r\n\r\n",
        b"+2\r\n{}\r\n0\r\n\r\n",
    ]
)
TARGETS = st.sampled_from([b"/", b"/predict", b"/a?b=c", b"/a#b", b"http://a/", b"*", b"//a", b"/%61", b"/a b", b""])


@settings(max_examples=600, deadline=None)
@given(TARGETS, st.lists(st.tuples(LINES, ENDS), max_size=5), ENDS, BODIES)
def test_where_a_request_is_taken_h11_reads_the_same(target, lines, end, body):
    """h11 is the strict reference: what it refuses, or reads otherwise, must not reach the application."""
    data = b"POST " + target + b" HTTP/1.1" + end + b"".join(line + stop for line, stop in lines) + b"\r\n" + body
    found = exchange(data)
    if not found.seen or found.seen[0][3] is None:
        return
    _, path, _, read = found.seen[0]
    reference = by_h11(data)
    assert reference is not None, data
    assert (reference[0].partition("?")[0], reference[1]) == (path, read), data

    def __init__(self, monkeypatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(asyncio.BaseEventLoop, "time", lambda loop: self.now)
