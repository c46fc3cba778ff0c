"""Requests that wait for a model together go through it together.

Whoever comes alone runs at once; who comes while the model is busy waits, and the first of those takes all of them
along next, as databases commit in groups. Callers who are answered together come again together: a moment is left for
that, as long as one after the other does, or the next call would set out with the first of them alone.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np

from models_registry.artifacts.calling import Answer
from models_registry.artifacts.features import EXACT_INTEGER
from models_registry.serving.model_calls import timed_call

# How long the next caller is waited for: so much of what a call takes, and never longer than so many seconds.
GAP_SHARE = 0.2
MOST_GAP_SECONDS = 0.0008
# So many share the cost of a call well enough.
CROWD = 64


class Direct:
    """Each request by itself: for a compiled model, whose call costs less than a hand-over."""

    def __init__(self, model: Any) -> None:
        """Call `model`."""
        self._model = model

    def predict(self, rows: Any, count: int) -> Answer:
        """Return the answer to `rows`."""
        return timed_call(self._model, rows)


class _Ticket:
    """A waiting request: its rows, and in the end its answer or its error, or the turn to lead."""

    __slots__ = ("answer", "came_at", "count", "done", "error", "rows")

    def __init__(self, rows: Any, count: int) -> None:
        self.rows = rows
        self.count = count
        self.came_at = time.perf_counter()
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()


class Coalescer:
    """One call of the model at a time, with up to `max_rows` rows of those that wait."""

    def __init__(self, model: Any, *, max_rows: int = 1024) -> None:
        """Call `model`."""
        self._model = model
        self._max_rows = max_rows
        self._guard = threading.Lock()
        self._busy = False
        self._waiting: deque[_Ticket] = deque()
        self._arrival = threading.Condition(self._guard)
        # So many in line wake the leader who waits for them.
        self._awaited = 0
        # Of the last call: how many it answered or kept waiting, what it took, and when it ended.
        self._callers = 0
        self._call_seconds = 0.0
        self._ended_at = 0.0

    def predict(self, rows: Any, count: int) -> Answer:
        """Return the answer to these `count` rows, alone or together with others'."""
        ticket = None
        with self._guard:
            is_first = not self._busy
            if is_first:
                self._busy = True
            if not is_first:
                ticket = self._wait_in_line(rows, count)
            elif self._expects_company():
                ticket = _Ticket(rows, count)
        if ticket is None:
            return self._call_alone(rows)
        if not is_first:
            ticket.done.acquire()
        if ticket.answer is None and ticket.error is None:
            self._lead(ticket)
        if ticket.error is not None:
            raise ticket.error
        if ticket.answer is None:  # a leader answers itself, or sets its error
            raise RuntimeError("a coalesced prediction ended without an answer")
        return ticket.answer

    def _call_alone(self, rows: Any) -> Answer:
        began = time.perf_counter()
        try:
            return timed_call(self._model, rows)
        finally:
            self._hand_over(answered=1, began=began)

    def _expects_company(self) -> bool:
        """Say whether those whom the last call answered may be about to come again."""
        return self._callers > 1 and time.perf_counter() < self._ended_at + self._call_seconds

    def _wait_in_line(self, rows: Any, count: int) -> _Ticket:
        ticket = _Ticket(rows, count)
        self._waiting.append(ticket)
        if len(self._waiting) == self._awaited:
            self._arrival.notify()
        return ticket

    def _wait_for_company(self, own: _Ticket) -> None:
        """Let those come again whom the last call answered, as long as they do; with the guard, which is let go."""
        if not self._expects_company() or own.count >= CROWD:
            return
        gap = min(GAP_SHARE * self._call_seconds, MOST_GAP_SECONDS)
        until = time.perf_counter() + self._call_seconds
        self._awaited = min(self._callers, CROWD) - 1
        come = -1
        while come < len(self._waiting) < self._awaited and time.perf_counter() < until:
            come = len(self._waiting)
            self._arrival.wait(gap)
        self._awaited = 0

    def _lead(self, own: _Ticket) -> None:
        batch: list[_Ticket] = [own]
        began = time.perf_counter()
        try:
            with self._guard:
                self._wait_for_company(own)
                total = own.count
                while self._waiting and total + self._waiting[0].count <= self._max_rows:
                    ticket = self._waiting.popleft()
                    batch.append(ticket)
                    total += ticket.count
            began = time.perf_counter()
            self._answer(batch)
        finally:
            self._hand_over(answered=len(batch), began=began)
        for ticket in batch[1:]:
            ticket.done.release()

    def _answer(self, batch: list[_Ticket]) -> None:
        if len(batch) == 1:
            self._answer_alone(batch[0])
            return
        began = time.perf_counter()
        try:
            answer = timed_call(self._model, join([ticket.rows for ticket in batch]))
        except Exception:  # noqa: BLE001 - one bad row fails the batch: each then stands for itself
            for ticket in batch:
                self._answer_alone(ticket)
            return
        start, total = 0, sum(ticket.count for ticket in batch)
        for ticket in batch:
            ticket.answer = answer.part(
                start,
                start + ticket.count,
                waiting_seconds=began - ticket.came_at,
                call_rows=0 if start else total,
            )
            start += ticket.count

    def _answer_alone(self, ticket: _Ticket) -> None:
        waited = time.perf_counter() - ticket.came_at
        try:
            ticket.answer = replace(timed_call(self._model, ticket.rows), waiting_seconds=waited)
        except Exception as error:  # noqa: BLE001 - raised in the thread whose request it is
            ticket.error = error

    def _hand_over(self, *, answered: int, began: float) -> None:
        """Give the turn to whoever has waited longest, or leave the model idle."""
        with self._guard:
            self._ended_at = time.perf_counter()
            self._call_seconds = self._ended_at - began
            self._callers = answered + len(self._waiting)
            if self._waiting:
                self._waiting.popleft().done.release()
            else:
                self._busy = False


def join(parts: list[Any]) -> Any:
    """Return rows of several requests as one, in the same container."""
    first = parts[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    if isinstance(first, list):
        return [row for part in parts for row in part]
    import pandas as pd

    for name in first.columns:
        columns = [part[name] for part in parts]
        if len({column.dtype for column in columns}) > 1 and any(map(_is_beyond_floats, columns)):
            # pandas would make them floats, and whole numbers beyond 2**53 others.
            parts = [part.assign(**{name: part[name].astype(object)}) for part in parts]
    return pd.concat(parts, ignore_index=True)


def _is_beyond_floats(column: Any) -> bool:
    return column.dtype.kind in "iu" and bool((column > EXACT_INTEGER).any() or (column < -EXACT_INTEGER).any())
