"""A bounded number of predictions starts in each round of the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from mlapi import replica
from mlapi.http import process
from mlapi.http.application import Application
from mlapi.http.turns import Turns
from tests.mlapi.wires import Session, settle
from tests.monitoring.test_replay import classifier
from tests.support.waiting import eventually

POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLIENT: contextvars.ContextVar[str] = contextvars.ContextVar("client", default="no client")


def _rounds(act: Callable[[Callable[[], None]], None]) -> list[int]:
    """Return the number of the loop's round in which each call of the given function took place."""
    called: list[int] = []

    async def count() -> None:
        rounds: list[None] = []
        act(lambda: called.append(len(rounds)))
        for _ in range(12):
            await asyncio.sleep(0)
            rounds.append(None)

    asyncio.run(count())
    return called


def test_no_round_starts_more_than_its_share():
    turns = Turns(max_per_round=4)

    def arrive(start: Callable[[], None]) -> None:
        for _ in range(18):
            turns.add(start)

    started = _rounds(arrive)

    assert [started.count(number) for number in sorted(set(started))] == [4, 4, 4, 4, 2]


def test_a_few_requests_start_in_one_round():
    turns = Turns(max_per_round=4)

    assert len(set(_rounds(lambda start: [turns.add(start) for _ in range(4)]))) == 1


def test_requests_start_in_the_order_of_arrival():
    turns, started = Turns(max_per_round=2), list[int]()

    _rounds(lambda _: [turns.add(partial(started.append, number)) for number in range(9)])

    assert started == list(range(9))


def test_a_failed_start_leaves_the_others_their_turns():
    turns, started = Turns(max_per_round=2), list[int]()

    def fail() -> None:
        raise ValueError("a start that fails")

    async def work() -> list[Any]:
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
        for start in (fail, *(partial(started.append, number) for number in range(4))):
            turns.add(start)
        await settle()
        return errors

    (error,) = asyncio.run(work())

    assert (str(error), started) == ("a start that fails", [0, 1, 2, 3])


def test_turns_come_back_after_a_pause():
    turns = Turns(max_per_round=2)
    _rounds(lambda start: [turns.add(start) for _ in range(7)])

    assert len(set(_rounds(lambda start: [turns.add(start) for _ in range(2)]))) == 1


def test_health_check_passes_waiting_predictions():
    async def work() -> list[str]:
        session = Session()
        session.turns = Turns(max_per_round=1)
        for _ in range(6):
            connection, _ = session.connect()
            connection.data_received(POST % (2, b"{}"))
        connection, _ = session.connect()
        connection.data_received(GET)
        await settle()
        return [path for _, path, *_ in session.seen]

    paths = asyncio.run(work())

    assert len(paths) == 7
    assert paths.index("/health") < 3


def test_the_wait_for_a_turn_counts(load, monkeypatch):
    records: list[Any] = []
    real, passed = time.perf_counter, [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: real() + passed[0])
    monkeypatch.setattr(replica.recorder, "record", records.append)
    replica.runtime.swap(load(classifier(0), number=1))

    async def work() -> bytes:
        session = Session()
        session.application = Application(process.pipeline, None)
        connection, wire = session.connect()
        session.turns.add(lambda: passed.__setitem__(0, 60.0))
        connection.data_received(POST % (22, b'{"features": [0.0, 0]}'))
        return await asyncio.to_thread(eventually, lambda: wire.sent)

    assert asyncio.run(work()).startswith(b"HTTP/1.1 200")
    (record,) = records
    assert record.seconds >= 60


def test_django_answers_a_post_in_a_task():
    async def django(scope: Any, receive: Any, send: Any) -> None:
        async with asyncio.timeout(10):
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    async def work() -> bytes:
        session = Session()
        session.application = Application(process.pipeline, django)
        connection, wire = session.connect()
        connection.data_received(POST.replace(b"/predict", b"/admin/login/") % (2, b"{}"))
        await settle()
        return wire.sent

    assert asyncio.run(work()).startswith(b"HTTP/1.1 204")


@pytest.mark.parametrize("first", [GET, POST % (2, b"{}")], ids=["after-get", "after-post"])
@pytest.mark.parametrize("second", [GET, POST % (2, b"{}")], ids=["get", "post"])
def test_pipelined_request_shares_no_context(first, second):
    seen: list[str] = []

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        seen.append(CLIENT.get())
        CLIENT.set("the client before")
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def work() -> None:
        session = Session()
        session.application = answer
        connection, _ = session.connect()
        other, _ = session.connect()
        connection.data_received(first + second)
        other.data_received(POST % (2, b"{}"))
        await settle()

    asyncio.run(work())

    assert seen == ["no client"] * 3


def test_client_that_leaves_before_its_turn_counts_as_left(load, monkeypatch):
    records: list[Any] = []
    monkeypatch.setattr(replica.recorder, "record", records.append)
    replica.runtime.swap(load(classifier(0), number=1))

    async def work() -> None:
        session = Session()
        session.application = Application(process.pipeline, None)
        for body in (b'{"features": [0.0, 0]}', b'{"features":'):
            connection, _ = session.connect()
            connection.data_received(POST % (22, body))
            connection.connection_lost(None)
        await settle()

    asyncio.run(work())

    assert [record.outcome for record in records] == ["left", "refused"]
