"""Dynamic batching: requests that wait for a model share one call.

A request that finds the model idle runs at once. Requests that arrive during a call wait, and the next call takes
all of them, like group commit in databases. Clients that are answered together often send their next requests
together, so the next call waits briefly for them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from models_registry.artifacts.features import EXACT_INTEGER
from models_registry.artifacts.prediction import Prediction
from models_registry.inference.model_calls import timed_call

# The wait of a call for the next arrival: this share of the last call's duration, at most the maximum.
GAP_SHARE = 0.2
MAX_GAP_SECONDS = 0.0008
# A batch of this many rows does not wait for more: its fixed cost for each row is already small.
ENOUGH_ROWS = 64
# Each busy model takes one thread; further models wait for a thread.
MAX_BUSY_MODELS = 64

Result = TypeVar("Result")
# Threads start with the first batch.
_threads = ThreadPoolExecutor(MAX_BUSY_MODELS, thread_name_prefix="model")


class UnbatchedPredictor:
    """Calls the model for each request separately: for a compiled model, whose call costs less than a thread switch."""

    def __init__(self, model: Any, *, version_id: int = 0) -> None:
        """Call `model`; each call is recorded under `version_id`."""
        self._model = model
        self._version_id = version_id

    async def predict(self, rows: Any, count: int) -> Prediction:
        """Return the prediction for `rows`, without suspending."""
        return timed_call(self._model, rows, self._version_id)


class PendingPrediction:
    """A request that waits for its batch: its rows, and later its prediction or exception.

    Awaitable on an event loop; in a thread without one, `await` blocks the thread.
    """

    __slots__ = (
        "_done",
        "_future",
        "_loop",
        "answer",
        "arrived_at",
        "count",
        "error",
        "found_idle",
        "is_abandoned",
        "rows",
    )

    def __init__(self, rows: Any, count: int) -> None:
        """Store the event loop that waits, if there is one."""
        self.rows = rows
        self.count = count
        self.arrived_at = time.perf_counter()
        self.found_idle = False
        self.is_abandoned = False
        self.answer: Prediction | None = None
        self.error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None
        self._future: asyncio.Future[None] | None = None
        self._done: threading.Event | None = None
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
            self._done = threading.Event()
        else:
            self._future = self._loop.create_future()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that waits for the prediction; None if a thread waits."""
        return self._loop

    def finish(self) -> None:
        """Wake the waiting request, on its event loop if it has one."""
        if self._done is not None:
            self._done.set()
        elif self._future is not None and not self._future.done():
            self._future.set_result(None)

    def __await__(self) -> Generator[Any, None, Prediction]:
        """Wait for the batch, then return the prediction or raise the exception."""
        if self._done is not None:
            self._done.wait()
        elif self._future is not None:
            try:
                yield from self._future
            except asyncio.CancelledError:
                # The client has disconnected: a batch that has not started drops these rows.
                self.is_abandoned = True
                raise
        if self.error is not None:
            raise self.error
        if self.answer is None:
            raise RuntimeError("a batched prediction ended without an answer")
        return self.answer


class DynamicBatcher:
    """Runs one call of the model at a time, with up to `max_rows` rows of the waiting requests."""

    def __init__(self, model: Any, *, max_rows: int = 1024, version_id: int = 0) -> None:
        """Call `model`; each call is recorded under `version_id`."""
        self._model = model
        self._version_id = version_id
        self._max_rows = max_rows
        self._guard = threading.Lock()
        self._is_busy = False
        self._waiting: deque[PendingPrediction] = deque()
        self._arrival = threading.Condition(self._guard)
        # The queue length that wakes a call which waits for arrivals.
        self._awaited = 0
        # Of the last call: the number of requests that it answered or delayed, its duration, and its end.
        self._callers = 0
        self._call_seconds = 0.0
        self._ended_at = 0.0

    async def predict(self, rows: Any, count: int) -> Prediction:
        """Return the prediction for these `count` rows, alone or batched with other requests."""
        pending = PendingPrediction(rows, count)
        with self._guard:
            self._waiting.append(pending)
            starts = not self._is_busy
            if starts:
                self._is_busy = True
                pending.found_idle = not self._expects_arrivals()
            elif len(self._waiting) == self._awaited:
                self._arrival.notify()
        if starts:
            _threads.submit(self._run)
        return await pending

    def _run(self) -> None:
        """Run batches until no request waits."""
        while True:
            with self._guard:
                self._wait_for_arrivals()
                batch = self._take_batch()
                if not batch:
                    self._is_busy = False
                    return
            began = time.perf_counter()
            try:
                self._answer(batch)
            except BaseException as error:  # noqa: BLE001 - raised where the requests wait
                for pending in batch:
                    if pending.answer is None and pending.error is None:
                        pending.error = error
            with self._guard:
                self._ended_at = time.perf_counter()
                self._call_seconds = self._ended_at - began
                self._callers = len(batch) + len(self._waiting)
            _finish(batch)

    def _take_batch(self) -> list[PendingPrediction]:
        batch: list[PendingPrediction] = []
        total = 0
        while self._waiting and (not batch or total + self._waiting[0].count <= self._max_rows):
            pending = self._waiting.popleft()
            if not pending.is_abandoned:
                batch.append(pending)
                total += pending.count
        return batch

    def _expects_arrivals(self) -> bool:
        """Return whether the clients of the last call may soon send further requests."""
        return self._callers > 1 and time.perf_counter() < self._ended_at + self._call_seconds

    def _wait_for_arrivals(self) -> None:
        """Wait for the clients of the last call, as long as requests keep arriving. Releases the guard."""
        if not self._waiting or self._waiting[0].found_idle or not self._expects_arrivals():
            return
        if self._waiting[0].count >= ENOUGH_ROWS:
            return
        gap = min(GAP_SHARE * self._call_seconds, MAX_GAP_SECONDS)
        until = time.perf_counter() + self._call_seconds
        self._awaited = min(self._callers, ENOUGH_ROWS)
        seen = 0
        while seen < len(self._waiting) < self._awaited and time.perf_counter() < until:
            seen = len(self._waiting)
            self._arrival.wait(gap)
        self._awaited = 0

    def _answer(self, batch: list[PendingPrediction]) -> None:
        if len(batch) == 1:
            self._answer_alone(batch[0])
            return
        began = time.perf_counter()
        try:
            answer = timed_call(self._model, join([pending.rows for pending in batch]), self._version_id)
        except Exception:  # noqa: BLE001 - one bad row fails the batch: each request is then predicted alone
            for pending in batch:
                self._answer_alone(pending)
            return
        start, total = 0, sum(pending.count for pending in batch)
        for pending in batch:
            pending.answer = answer.part(
                start,
                start + pending.count,
                waiting_seconds=began - pending.arrived_at,
                call_rows=0 if start else total,
            )
            start += pending.count

    def _answer_alone(self, pending: PendingPrediction) -> None:
        waited = 0.0 if pending.found_idle else time.perf_counter() - pending.arrived_at
        try:
            pending.answer = replace(timed_call(self._model, pending.rows, self._version_id), waiting_seconds=waited)
        except Exception as error:  # noqa: BLE001 - raised where the request waits
            pending.error = error


def _finish(batch: Sequence[PendingPrediction]) -> None:
    """Wake all requests of a batch; requests of one event loop by one callback."""
    by_loop: dict[asyncio.AbstractEventLoop, list[PendingPrediction]] = {}
    for pending in batch:
        if pending.loop is None:
            pending.finish()
        else:
            by_loop.setdefault(pending.loop, []).append(pending)
    for loop, found in by_loop.items():
        try:
            loop.call_soon_threadsafe(_finish_each, found)
        except RuntimeError:  # the loop is closed: the worker is ending, and no request waits there
            continue


def _finish_each(batch: Sequence[PendingPrediction]) -> None:
    for pending in batch:
        pending.finish()


def run_blocking(answer: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in this thread, which has no event loop; each await blocks the thread."""
    try:
        answer.send(None)
    except StopIteration as finished:
        result: Result = finished.value
        return result
    answer.close()
    raise RuntimeError("a coroutine that runs in a thread waited for an event loop")


async def in_thread(work: Callable[[], Result]) -> Result:
    """Return the result of `work`, called in another thread if an event loop runs here, else in this thread."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return work()
    waiting: Awaitable[Result] = loop.run_in_executor(None, work)
    return await waiting


def join(parts: list[Any]) -> Any:
    """Return rows of several requests as one batch, in the same container."""
    first = parts[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    if isinstance(first, list):
        return [row for part in parts for row in part]
    import pandas as pd

    for name in first.columns:
        columns = [part[name] for part in parts]
        if len({column.dtype for column in columns}) > 1 and any(map(_is_beyond_floats, columns)):
            # pandas would convert them to floats, which changes integers above 2**53.
            parts = [part.assign(**{name: part[name].astype(object)}) for part in parts]
    return pd.concat(parts, ignore_index=True)


def _is_beyond_floats(column: Any) -> bool:
    return column.dtype.kind in "iu" and bool((column > EXACT_INTEGER).any() or (column < -EXACT_INTEGER).any())
