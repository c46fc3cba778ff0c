"""The form that answers, by the number of rows."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from models_registry.inference.batching import run_blocking
from models_registry.inference.form_by_rows import FormByRows

MANY = 100


class Answers:
    """Predicts its own number."""

    def __init__(self, number: int) -> None:
        self._number = number

    def predict(self, rows: Any) -> Any:
        return np.full(len(rows), self._number)


COMPILED, NATIVE = Answers(1), Answers(2)


def forms(open_native: Any) -> FormByRows:
    return FormByRows(
        COMPILED, version_id=1, native_from_rows=MANY, open_native=open_native, as_native=lambda rows: rows
    )


def answer(predictor: FormByRows, count: int) -> int:
    return int(run_blocking(predictor.predict(np.zeros((count, 2)), count)).labels[0])


def test_native_form_is_opened_by_the_first_large_request() -> None:
    opened = []
    predictor = forms(lambda: opened.append(1) or NATIVE)
    assert answer(predictor, MANY - 1) == 1
    assert (opened, predictor.native) == ([], None)
    answer(predictor, MANY)
    predictor.wait_until_opened()
    assert [answer(predictor, count) for count in (1, MANY - 1, MANY, 10 * MANY)] == [1, 1, 2, 2]
    assert len(opened) == 1


def test_compiled_form_answers_while_the_native_one_is_opened() -> None:
    gate, opened = threading.Event(), []

    def open_native() -> Answers:
        opened.append(1)
        gate.wait()
        return NATIVE

    predictor = forms(open_native)
    assert [answer(predictor, MANY) for _ in range(3)] == [1, 1, 1]
    gate.set()
    predictor.wait_until_opened()
    assert (answer(predictor, MANY), len(opened)) == (2, 1)


@pytest.mark.parametrize("error", [MemoryError("no memory"), RuntimeError("broken"), OSError("gone")])
def test_compiled_form_continues_without_the_native_one(error: Exception) -> None:
    attempts = []

    def refuse() -> Any:
        attempts.append(1)
        raise error

    predictor = forms(refuse)
    for _ in range(3):
        assert answer(predictor, MANY) == 1
        predictor.wait_until_opened()
    assert len(attempts) == 1


def test_large_request_on_event_loop_runs_in_thread() -> None:
    threads = []

    class Noting(Answers):
        def predict(self, rows: Any) -> Any:
            threads.append(threading.get_ident())
            return super().predict(rows)

    predictor = forms(lambda: Noting(2))
    answer(predictor, MANY)
    predictor.wait_until_opened()
    asyncio.run(predictor.predict(np.zeros((MANY, 2)), MANY))
    assert threads[-1] != threading.get_ident()
