"""How long a connection lives, and what ends it."""

from __future__ import annotations

import asyncio

import pytest

from mlapi.http import protocol
from tests.mlapi.wires import CHUNKED, GET, PLAIN, Session, exchange, settle, statuses

TAKEN = {
    "a length": (PLAIN, b"{}"),
    "chunks": (CHUNKED + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"{}"),
    "chunks with extensions and trailers": (CHUNKED + b"2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n", b"{}"),
    "an empty line before the request": (b"\r\n" + PLAIN, b"{}"),
    "an offer of HTTP/2": (
        PLAIN.replace(b"Host", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nHost"),
        b"{}",
    ),
    "an offer of a WebSocket": (PLAIN.replace(b"Host", b"Connection: upgrade\r\nUpgrade: websocket\r\nHost"), b"{}"),
    "an offer with chunks": (
        CHUNKED.replace(b"Host", b"Connection: upgrade\r\nUpgrade: h2c\r\nHost") + b"2\r\n{}\r\n0\r\n\r\n",
        b"{}",
    ),
    "an escaped space in the path": (PLAIN.replace(b"/m/", b"/a%20b/"), b"{}"),
    "a letter beyond ASCII in the path": (PLAIN.replace(b"/m/", b"/%C3%A9/"), b"{}"),
    "HTTP/1.0": (PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"), b"{}"),
}


@pytest.mark.parametrize(("data", "body"), TAKEN.values(), ids=TAKEN)
@pytest.mark.parametrize("cut", [None, 1, 30, 60, -1])
def test_a_plain_request_is_read_in_any_pieces(data, body, cut):
    pieces = [data] if cut is None else [data[:cut], data[cut:]]
    found = exchange(*pieces)
    assert [seen[3] for seen in found.seen] == [body], found.sent
    assert statuses(found.sent) == [200]


def test_requests_that_come_together_are_answered_in_order():
    data = [PLAIN.replace(b"/m/", b"/m%d/" % number) for number in range(5)]
    found = exchange(b"".join(data) + GET.replace(b"/health", b"http://a/"))
    assert [path for _, path, *_ in found.seen] == [f"/models/m{number}/predict" for number in range(5)]
    assert statuses(found.sent) == [200] * 5 + [400]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_client_that_ends_its_half_is_answered(count):
    found = exchange(PLAIN * count, ends=True)
    assert statuses(found.sent) == [200] * count
    assert found.has_ended


@pytest.mark.parametrize("count", [1, 2, 3])
def test_running_requests_of_a_half_closed_client_are_answered(count):
    async def work():
        session = Session()
        session.gate.clear()
        connection, wire = session.connect()
        connection.data_received(PLAIN * count)
        connection.eof_received()
        await settle()
        assert (wire.sent, wire.has_ended) == (b"", False)
        session.gate.set()
        await settle()
        return wire

    wire = asyncio.run(work())
    assert statuses(wire.sent) == [200] * count
    assert wire.has_ended


def test_long_request_of_a_half_closed_client_is_abandoned(monkeypatch):
    monkeypatch.setattr(protocol, "HALF_CLOSED_SECONDS", 0.0)

    async def work():
        session = Session()
        session.gate.clear()
        connection, wire = session.connect()
        connection.data_received(PLAIN * 2)
        connection.eof_received()
        await settle()
        return wire

    assert asyncio.run(work()).is_closed


def test_application_learns_of_a_body_that_ends_early():
    found = exchange(PLAIN[:-1], ends=True)
    assert [body for *_, body in found.seen] == [None]


@pytest.mark.parametrize(
    ("pieces", "seconds", "expected"),
    [
        ([], protocol.MAX_SILENCE_SECONDS, []),
        ([GET[:10]], protocol.MAX_SILENCE_SECONDS + 1, [408]),
        ([GET, GET[:10]], protocol.MAX_SILENCE_SECONDS + 1, [200, 408]),
        ([GET], 80, [200]),
        ([], 80, []),
    ],
    ids=["silent", "half a head", "half a second head", "idle", "never asked"],
)
def test_connections_end_when_their_time_is_over(pieces, seconds, expected):
    async def work():
        session = Session()
        connection, wire = session.connect()
        connection.timeout_keep_alive = 75
        for piece in pieces:
            connection.data_received(piece)
            await settle()
        connection.sweep(asyncio.get_running_loop().time() + seconds)
        return statuses(wire.sent), wire.has_ended

    found, has_ended = asyncio.run(work())
    assert found == expected
    assert has_ended is not (seconds == protocol.MAX_SILENCE_SECONDS)


def test_a_client_that_does_not_read_is_disconnected():
    async def work():
        connection, wire = Session().connect()
        connection.pause_writing()
        now = asyncio.get_running_loop().time()
        connection.sweep(now + protocol.MAX_WRITE_SECONDS - 1)
        was_open = not wire.has_ended
        connection.sweep(now + protocol.MAX_WRITE_SECONDS + 1)
        return was_open, wire.has_ended

    assert asyncio.run(work()) == (True, True)


def test_a_stopping_worker_answers_once_more_and_ends():
    async def work():
        connection, wire = Session().connect()
        connection.data_received(GET)
        await settle()
        connection.shutdown()
        connection.data_received(GET)
        await settle()
        return statuses(wire.sent), wire.sent.count(b"connection: close"), wire.has_ended

    assert asyncio.run(work()) == ([200, 200], 1, True)


def test_connections_are_bounded_and_health_is_answered(monkeypatch):
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(protocol, "SPARE_CONNECTIONS", 2)

    async def work():
        session = Session()
        # Heads that are not complete, so that none of them is idle.
        busy = [session.connect() for _ in range(2)]
        for connection, _ in busy:
            connection.data_received(GET[:10])
        (spare, spare_wire), (health, health_wire) = session.connect(), session.connect()
        spare.data_received(PLAIN)
        health.data_received(GET)
        await settle()
        health.data_received(GET[:10])
        _, last_wire = session.connect()
        return statuses(spare_wire.sent), statuses(health_wire.sent), last_wire.has_ended

    assert asyncio.run(work()) == ([503], [200], True)


def test_the_connection_that_is_idle_longest_makes_room(monkeypatch):
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 2)

    async def work():
        session = Session()
        wires = []
        loop, passed = asyncio.get_running_loop(), [0.0]
        now = loop.time
        monkeypatch.setattr(loop, "time", lambda: now() + passed[0])
        for _ in range(2):
            connection, wire = session.connect()
            connection.data_received(GET)
            await settle()
            passed[0] += 0.5
            wires.append(wire)
        newcomer, wire = session.connect()
        newcomer.data_received(GET)
        await settle()
        return [item.has_ended for item in wires], statuses(wire.sent)

    assert asyncio.run(work()) == ([True, False], [200])


@pytest.mark.parametrize("first", [GET, PLAIN], ids=["get", "post"])
@pytest.mark.parametrize("how", ["lost", "half-closed"])
def test_request_with_pipelined_followers_learns_of_a_disconnect(monkeypatch, first, how):
    monkeypatch.setattr(protocol, "HALF_CLOSED_SECONDS", 0.0)

    async def work():
        session, left = Session(), []

        async def answer(scope, receive, send):
            while (await receive())["type"] != "http.disconnect":
                pass
            left.append(scope["method"])

        session.application = answer
        connection, _ = session.connect()
        connection.data_received(first + PLAIN + GET)
        await settle()
        if how == "lost":
            connection.connection_lost(None)
        else:
            connection.eof_received()
            await asyncio.sleep(0)
        await settle()
        return left

    assert asyncio.run(work()) == [first.split()[0].decode()]
