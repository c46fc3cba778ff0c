"""Bodies are read within limits of size, time and memory, in one piece or in many."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Sequence

import pytest

from mlapi.http import body as bodies
from mlapi.http.admission import FREE_BODY_BYTES, SLOT_BYTES, AdmissionController
from mlapi.http.body import Body, Patience, decode, slots_for
from mlapi.http.request import Headers, Request
from mlapi.protocols.base import HttpError

LIMIT = 200_000
CHUNKED = [(b"transfer-encoding", b"chunked")]


def admission(**given) -> AdmissionController:
    values = {"max_in_flight": 2, "queue_timeout_seconds": 0, "max_queued": 0, "max_body_bytes": 1_000_000}
    return AdmissionController(**values | given)


def reading(pieces: Sequence[bytes | None], headers=CHUNKED, *, state=None, control=None) -> Body:
    """Return a body that arrives in pieces; None is the client's leaving."""
    left = list(pieces)

    async def receive():
        piece = left.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    request = Request("POST", "/predict", Headers(headers))
    return Body(receive, control or admission(), request, state)


def read(body: Body, limit: int = LIMIT) -> bytes:
    return asyncio.run(body.read(limit))


@pytest.mark.parametrize("pieces", [[b"abc"], [b"a", b"bc"], [b"", b"a", b"", b"bc", b""]])
def test_a_body_is_read_whole(pieces):
    body = reading(pieces)
    assert read(body) == b"abc"
    assert body.is_complete


@pytest.mark.parametrize("pieces", [[b"a" * (LIMIT + 1)], [b"a" * LIMIT, b"a"], [b"a" * LIMIT, b"a", b"a"]])
def test_a_body_over_the_limit_gets_413(pieces):
    with pytest.raises(HttpError) as error:
        read(reading(pieces))
    assert (error.value.status, error.value.code) == (413, "body_too_large")


def test_a_declared_length_over_the_limit_is_refused_unread():
    with pytest.raises(HttpError, match="has 200001 bytes"):
        read(reading([], [(b"content-length", b"200001")]))


@pytest.mark.parametrize(("pieces", "state"), [([b"a", None], None), ([b"a", b"", b"x"], {"body_cut_short": True})])
def test_a_body_that_ends_early_gets_400(pieces, state):
    with pytest.raises(HttpError) as error:
        read(reading(pieces, state=state))
    assert (error.value.status, error.value.code) == (400, "incomplete_body")


def test_a_large_body_takes_memory_until_it_is_released():
    control = admission(max_body_bytes=100_000)
    first = reading([b"a" * 100_000, b"a" * 60_000], control=control)
    read(first)
    with pytest.raises(HttpError) as error:
        read(reading([b"a" * 60_000, b"a" * 60_000], control=control))
    assert error.value.status == 503
    assert len(read(reading([b"a", b"a" * (FREE_BODY_BYTES - 1)], control=control))) == FREE_BODY_BYTES
    first.release()
    assert len(read(reading([b"a" * 60_000, b"a" * 60_000], control=control))) == 120_000


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(bodies, "time", made)
    return made


def test_a_client_that_sends_nothing_gets_408(clock):
    patience = Patience()
    clock.now = 29
    patience.received(0)
    clock.now = 31
    with pytest.raises(HttpError) as error:
        patience.received(0)
    assert (error.value.status, error.value.code) == (408, "request_timeout")


def test_a_body_that_trickles_gets_408(clock):
    patience = Patience()
    with pytest.raises(HttpError):
        for clock.now in range(1, 40):
            patience.received(1)
    assert 30 <= clock.now <= 32


def test_large_body_may_take_long_at_sufficient_speed(clock):
    patience = Patience()
    for clock.now in range(1, 600):
        patience.received(20_000)


def test_earlier_speed_earns_no_longer_silence(clock):
    patience = Patience()
    patience.received(100_000_000)
    clock.now = 31
    with pytest.raises(HttpError):
        patience.received(0)


def test_a_pause_of_the_server_is_not_the_clients(clock):
    patience = Patience()
    clock.now = 100
    patience.resume()
    patience.received(0)


CONTENT = b'{"features": [1]}' * 5_000


@pytest.mark.parametrize(
    ("encoding", "packed"), [("gzip", gzip.compress(CONTENT)), ("deflate", zlib.compress(CONTENT))]
)
def test_a_compressed_body_is_decompressed(encoding, packed):
    assert decode(packed, encoding, limit=LIMIT) == CONTENT


@pytest.mark.parametrize(
    ("encoding", "packed", "status", "code"),
    [
        ("gzip", gzip.compress(b"a" * 1_000_000), 413, "body_too_large"),
        ("gzip", gzip.compress(CONTENT)[:-20], 400, "invalid_encoding"),
        ("gzip", b"no gzip at all", 400, "invalid_encoding"),
        ("gzip", b"", 400, "invalid_encoding"),
        ("deflate", gzip.compress(CONTENT), 400, "invalid_encoding"),
        ("br", CONTENT, 415, "unsupported_encoding"),
    ],
)
def test_a_body_that_cannot_be_decompressed_is_refused(encoding, packed, status, code):
    with pytest.raises(HttpError) as error:
        decode(packed, encoding, limit=LIMIT)
    assert (error.value.status, error.value.code) == (status, code)


@pytest.mark.parametrize(
    ("body", "encoding", "slots"),
    [
        (b"", "", 1),
        (b"a" * (2 * SLOT_BYTES), "", 3),
        (gzip.compress(b"a" * (3 * SLOT_BYTES)), "gzip", 4),
        (b"\xff" * 100, "gzip", 1),
        (b"\xff" * 1_000_000, "gzip", 1 + 32_000_000 // SLOT_BYTES),
        (b"\xff" * SLOT_BYTES, "deflate", 5),
    ],
)
def test_a_body_takes_slots_for_what_it_may_become(body, encoding, slots):
    assert slots_for(body, encoding, limit=32_000_000) == slots


def test_slots_grow_while_a_body_is_decompressed():
    control = admission(max_in_flight=3)

    async def work():
        slots, other = await control.acquire(), await control.acquire()
        with pytest.raises(HttpError) as error:
            decode(gzip.compress(b"a" * 3 * SLOT_BYTES), "gzip", limit=32_000_000, slots=slots)
        assert (error.value.status, slots.count) == (503, 2)
        other.release()
        slots.release()

    asyncio.run(work())
    assert control.in_flight == 0
