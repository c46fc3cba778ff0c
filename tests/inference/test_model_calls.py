"""A full queue does not count as a hang; a blocked call does."""

from __future__ import annotations

import threading
import time

import numpy as np

from models_registry.inference.batching import DynamicBatcher, run_blocking
from models_registry.inference.model_calls import oldest_seconds
from tests.support.waiting import eventually


class Slow:
    """A model that takes its time for each call."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def predict(self, rows):
        time.sleep(self.seconds)
        return np.zeros(len(rows))


def test_what_waits_in_a_queue_is_not_under_way():
    batcher = DynamicBatcher(Slow(0.2), max_rows=1)
    threads = [threading.Thread(target=lambda: run_blocking(batcher.predict(np.zeros((1, 1)), 1))) for _ in range(8)]
    for thread in threads:
        thread.start()
    oldest = []
    while any(thread.is_alive() for thread in threads):
        oldest.append(oldest_seconds())
        time.sleep(0.02)
    # All together they took eight times as long as any call.
    assert 0.1 < max(oldest) < 0.6
    assert oldest_seconds() == 0


def test_a_call_that_does_not_return_is_noticed():
    batcher = DynamicBatcher(Slow(1.0))
    thread = threading.Thread(target=lambda: run_blocking(batcher.predict(np.zeros((1, 1)), 1)))
    thread.start()
    eventually(lambda: oldest_seconds() > 0.5, seconds=5)
    thread.join()
