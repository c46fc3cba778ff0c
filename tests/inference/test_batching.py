"""Requests that wait together go through the model together; one alone pays nothing; errors stay with their own."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models_registry.artifacts.prediction import call
from models_registry.inference import batching
from models_registry.inference.batching import ENOUGH_ROWS, DynamicBatcher, UnbatchedPredictor, join, run_blocking
from tests.support.estimators import forest
from tests.support.waiting import eventually


class HeldModel:
    """Doubles its rows; each call waits until it is open, and the sizes of all calls are kept."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.sizes: list[int] = []

    def predict(self, rows):
        self.sizes.append(len(rows))
        assert self.is_open.wait(10)
        if (rows < 0).any():
            raise ValueError(f"{int((rows < 0).sum())} negative")
        return rows[:, 0] * 2


def ask(predictor, rows, count: int):
    """Return the answer, waited for in this thread."""
    return run_blocking(predictor.predict(rows, count))


def ask_together(batcher: DynamicBatcher, count: int) -> None:
    """Ask for one row that many times at once."""

    async def work() -> None:
        await asyncio.gather(*(batcher.predict(row(0), 1) for _ in range(count)))

    asyncio.run(work())


def row(value: float) -> np.ndarray:
    return np.array([[value]])


def asked_while_busy(batcher: DynamicBatcher, model: HeldModel, values: list[float], *, rows_each: int = 1):
    """Ask for one row; while the model is at it, for one row of each of `values`; return all that came of it."""

    async def work() -> list[Any]:
        first = asyncio.create_task(batcher.predict(row(1000), 1))
        await asyncio.to_thread(eventually, lambda: model.sizes == [1])
        others = [asyncio.create_task(batcher.predict(np.full((rows_each, 1), value), rows_each)) for value in values]
        # Each task runs until it waits for its batch.
        await asyncio.sleep(0)
        model.is_open.set()
        return await asyncio.wait_for(asyncio.gather(first, *others, return_exceptions=True), 10)

    return asyncio.run(work())


def test_what_waits_together_goes_through_the_model_together():
    model = HeldModel()
    answers = asked_while_busy(DynamicBatcher(model), model, [1, 2, 3, 4, 5])
    assert model.sizes == [1, 5]
    assert [answer.predictions() for answer in answers] == [[2000.0], [2.0], [4.0], [6.0], [8.0], [10.0]]


def test_each_request_knows_its_wait_and_counts_once():
    model = HeldModel()
    first, *others = asked_while_busy(DynamicBatcher(model), model, [1, 2, 3])
    assert (first.waiting_seconds, first.call_rows) == (0, None)
    assert all(answer.waiting_seconds > 0 for answer in others)
    assert sorted(answer.call_rows for answer in others) == [0, 0, 3]


def test_a_batch_has_a_bound():
    model = HeldModel()
    asked_while_busy(DynamicBatcher(model, max_rows=4), model, list(range(10)))
    assert model.sizes[0] == 1
    assert max(model.sizes) == 4
    assert sum(model.sizes) == 11


def test_a_request_larger_than_the_bound_goes_alone():
    model = HeldModel()
    answers = asked_while_busy(DynamicBatcher(model, max_rows=4), model, [1, 2], rows_each=6)
    assert model.sizes == [1, 6, 6]
    assert [len(answer.predictions()) for answer in answers] == [1, 6, 6]


def test_an_error_stays_with_its_own_request():
    model = HeldModel()
    answers = asked_while_busy(DynamicBatcher(model), model, [1, -2, 3, -4])
    assert [answer.predictions() for answer in (answers[0], answers[1], answers[3])] == [[2000.0], [2.0], [6.0]]
    assert [str(answers[2]), str(answers[4])] == ["1 negative", "1 negative"]


def test_a_model_that_failed_serves_on():
    model = HeldModel()
    model.is_open.set()
    batcher = DynamicBatcher(model)
    with pytest.raises(ValueError, match="1 negative"):
        ask(batcher, row(-1), 1)
    assert ask(batcher, row(2), 1).predictions() == [4.0]


def test_a_lone_request_waits_for_no_other():
    model = HeldModel()
    model.is_open.set()
    answer = ask(DynamicBatcher(model), row(0), 1)
    assert (answer.call_rows, answer.waiting_seconds) == (None, 0)


def test_a_cancelled_request_takes_no_part_in_a_call():
    model = HeldModel()
    batcher = DynamicBatcher(model)

    async def cancel_one_of_three() -> list[float]:
        first = asyncio.create_task(batcher.predict(row(1000), 1))
        await asyncio.to_thread(eventually, lambda: model.sizes == [1])
        gone, stays = (asyncio.create_task(batcher.predict(row(value), 1)) for value in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        model.is_open.set()
        return [*(await first).predictions(), *(await stays).predictions()]

    assert asyncio.run(cancel_one_of_three()) == [2000.0, 4.0]
    assert model.sizes == [1, 1]


class SleepingModel:
    """Answers after a while, and keeps the sizes of all calls."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.sizes: list[int] = []

    def predict(self, rows):
        self.sizes.append(len(rows))
        time.sleep(self.seconds)
        return rows[:, 0]


def test_callers_who_are_answered_together_come_again_together():
    model, callers, times = SleepingModel(0.03), 8, 10
    batcher = DynamicBatcher(model)

    def ask_again_and_again(_: int) -> None:
        for _ in range(times):
            ask(batcher, row(0), 1)

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(ask_again_and_again, range(callers)))
    assert sum(model.sizes) == callers * times
    # If the first who comes again went alone, each round would take two calls.
    assert len(model.sizes) < 1.5 * times


def test_lone_request_after_others_waits_only_at_first(monkeypatch):
    model = SleepingModel(0.1)
    batcher = DynamicBatcher(model)
    ask_together(batcher, 4)
    assert ask(batcher, row(0), 1).waiting_seconds > 0
    assert ask(batcher, row(0), 1).waiting_seconds == 0, "there was one caller alone"
    ask_together(batcher, 4)
    later = time.perf_counter() + 0.15
    monkeypatch.setattr(time, "perf_counter", lambda: later)
    assert ask(batcher, row(0), 1).waiting_seconds == 0, "they would have come by now"


def test_many_rows_wait_for_nobody(monkeypatch):
    monkeypatch.setattr(batching, "MAX_GAP_SECONDS", 10)
    call_seconds = 0.5
    batcher = DynamicBatcher(SleepingModel(call_seconds))
    for count, waits in ((1, True), (ENOUGH_ROWS, False)):
        ask_together(batcher, 4)
        waiting_seconds = ask(batcher, np.zeros((count, 1)), count).waiting_seconds
        assert (waiting_seconds >= batching.GAP_SHARE * call_seconds) is waits


def test_thousand_concurrent_requests_get_the_models_answers():
    model = forest(seed=0)
    rows = np.random.default_rng(1).normal(size=(1000, 4))
    batcher = DynamicBatcher(model)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda index: ask(batcher, rows[index : index + 1], 1), range(1000)))
    assert [answer.predictions()[0] for answer in answers] == model.predict(rows).tolist()
    assert np.array_equal(np.concatenate([answer.probabilities for answer in answers]), model.predict_proba(rows))
    assert sum(answer.call_rows is None or answer.call_rows > 0 for answer in answers) < 1000


def test_rows_are_joined_as_the_model_takes_them():
    assert join([["a"], ["b", "c"]]) == ["a", "b", "c"]
    frame = join([pd.DataFrame({"a": [1], "b": ["x"]}), pd.DataFrame({"a": [2], "b": ["y"]})])
    assert frame.to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}
    assert list(frame.index) == [0, 1]


def test_a_compiled_model_is_called_by_whoever_asks():
    model = forest(seed=0)
    rows = np.zeros((1, 4))
    assert ask(UnbatchedPredictor(model), rows, 1).predictions() == call(model, rows).predictions()
