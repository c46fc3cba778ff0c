"""What a worker was calling when it ended, told to the server's master."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from models_registry.inference import call_board, model_calls
from models_registry.inference.batching import DynamicBatcher, UnbatchedPredictor, run_blocking
from models_registry.inference.call_board import CALLS, WORKERS, CallBoard
from tests.support.waiting import eventually


class Held:
    """A model whose calls last until they are let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def predict(self, rows):
        self.go.wait(10)
        return np.zeros(len(rows))


@pytest.fixture
def board() -> CallBoard:
    """Return the board on which this process marks its calls, as worker 7."""
    board = call_board.shared()
    board.join(7)
    return board


@pytest.mark.parametrize("predictor", [DynamicBatcher, UnbatchedPredictor])
def test_call_is_marked_until_it_returns(board, predictor):
    model = Held()
    asked = predictor(model, version_id=42)
    thread = threading.Thread(target=lambda: run_blocking(asked.predict(np.zeros((1, 1)), 1)))
    thread.start()
    eventually(lambda: board.take(7) == [42], seconds=5)
    model.go.set()
    thread.join()
    assert board.take(7) == []


def test_call_that_raises_leaves_no_mark(board):
    with pytest.raises(ZeroDivisionError), model_calls.under_way(version_id=42):
        raise ZeroDivisionError
    assert board.take(7) == []


def test_marks_outlive_their_process():
    board = CallBoard()
    child = os.fork()
    if not child:
        board.join(WORKERS + 1)
        board.mark(1, 42)
        board.mark(2, 43)
        board.mark(1, 0)
        os._exit(1)
    os.waitpid(child, 0)
    assert board.take(1) == [43]
    assert board.take(1) == []


def test_threads_beyond_the_places_are_not_marked():
    board = CallBoard()
    board.join(0)
    for thread in range(2 * CALLS):
        board.mark(thread + 1, 42)
    assert len(board.take(0)) == CALLS - 1
    assert board.take(1) == []


def test_process_without_a_place_marks_nothing():
    board = CallBoard()
    board.mark(1, 42)
    assert board.take(0) == []
    assert call_board.shared() is call_board.shared()
