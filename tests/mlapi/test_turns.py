"""Predictions begin a bounded number in each round of the event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from mlapi import replica
from mlapi.http import process
from mlapi.http.application import Application
from mlapi.http.turns import Turns
from tests.monitoring.test_replay import classifier
from tests.support.asgi import AsgiClient


async def _rounds_of(turns: Turns, count: int) -> list[int]:
    """Return in which round of the loop each of `count` predictions began that arrived together."""
    loop = asyncio.get_running_loop()
    current = 0
    began: list[int] = []

    def next_round() -> None:
        nonlocal current
        current += 1
        if len(began) < count:
            loop.call_soon(next_round)

    async def predict() -> None:
        await turns.take()
        began.append(current)

    loop.call_soon(next_round)
    await asyncio.gather(*(predict() for _ in range(count)))
    return began


def test_no_round_begins_more_than_its_share():
    began = asyncio.run(_rounds_of(Turns(max_per_round=4), 18))

    assert max(began.count(number) for number in set(began)) == 4
    assert len(began) == 18


def test_a_few_predictions_begin_at_once():
    assert set(asyncio.run(_rounds_of(Turns(max_per_round=4), 4))) == {1}


def test_predictions_begin_in_the_order_of_arrival():
    async def order() -> list[int]:
        turns, began = Turns(max_per_round=2), list[int]()

        async def predict(number: int) -> None:
            await turns.take()
            began.append(number)

        await asyncio.gather(*(predict(number) for number in range(9)))
        return began

    assert asyncio.run(order()) == list(range(9))


def test_a_prediction_that_is_given_up_takes_no_turn():
    async def begun() -> int:
        turns = Turns(max_per_round=1)
        tasks = [asyncio.create_task(turns.take()) for _ in range(4)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        return sum(result is None for result in done)

    assert asyncio.run(begun()) == 3


def test_turns_come_back_after_a_pause():
    async def later() -> list[int]:
        turns = Turns(max_per_round=2)
        await _rounds_of(turns, 7)
        await asyncio.sleep(0.01)
        return await _rounds_of(turns, 2)

    assert set(asyncio.run(later())) == {1}


def test_the_wait_for_a_turn_counts(load, monkeypatch):
    records: list[Any] = []
    monkeypatch.setattr(replica.recorder, "record", records.append)
    monkeypatch.setattr(Turns, "take", lambda self: asyncio.sleep(0.05))
    replica.runtime.swap(load(classifier(0), number=1))
    assert AsgiClient(Application(process.pipeline, None)).post("/predict", {"features": [0, 0]}).status == 200
    (record,) = records
    assert record.seconds >= 0.05
