"""A full queue does not count as a hang; a blocked call does."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from models_registry.inference import model_calls
from models_registry.inference.batching import DynamicBatcher, run_blocking
from models_registry.inference.model_calls import oldest_seconds
from tests.support.waiting import eventually


class HeldModel:
    """A model whose calls wait until they are let go, one by one; `calls` counts those that have begun."""

    def __init__(self) -> None:
        self.calls = 0
        self.turns = threading.Semaphore(0)

    def predict(self, rows):
        self.calls += 1
        assert self.turns.acquire(timeout=20)
        return np.zeros(len(rows))


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The seconds that have passed."""
    passed = [0.0]
    monkeypatch.setattr(model_calls, "time", SimpleNamespace(monotonic=lambda: passed[0]))
    return passed


def ask_in_thread(batcher: DynamicBatcher) -> threading.Thread:
    thread = threading.Thread(target=lambda: run_blocking(batcher.predict(np.zeros((1, 1)), 1)))
    thread.start()
    return thread


def test_what_waits_in_a_queue_is_not_under_way(clock):
    model = HeldModel()
    batcher = DynamicBatcher(model, max_rows=1)
    oldest = []

    async def ask_eight_times() -> None:
        requests = [asyncio.create_task(batcher.predict(np.zeros((1, 1)), 1)) for _ in range(8)]
        # Each task runs until it waits for its call.
        await asyncio.sleep(0)
        for number in range(1, 9):
            await asyncio.to_thread(eventually, lambda number=number: model.calls == number)
            clock[0] += 0.2
            oldest.append(oldest_seconds())
            model.turns.release()
        await asyncio.gather(*requests)

    asyncio.run(ask_eight_times())
    # All together they took eight times as long as any call.
    assert oldest == [pytest.approx(0.2)] * 8
    assert oldest_seconds() == 0


def test_a_call_that_does_not_return_is_noticed(clock):
    model = HeldModel()
    thread = ask_in_thread(DynamicBatcher(model))
    eventually(lambda: model.calls)
    clock[0] = 60.0
    assert oldest_seconds() == 60
    model.turns.release()
    thread.join()
