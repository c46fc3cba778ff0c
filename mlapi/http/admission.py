"""Admission: slots for the predictions that run, a FIFO queue for those that wait, and memory for their bodies."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Hashable
from contextlib import ExitStack

from mlapi.protocols.base import HttpError

# A body is several times as large once it is parsed: each slot stands for this much of it.
SLOT_BYTES = 250_000
# Less than the Retry-After of a refusal: a client that returns earlier did not respect it.
IMPATIENT_SECONDS = 0.9
MAX_REMEMBERED_CLIENTS = 2_048
# Where the next in the queue has waited this share of its time, a request that comes now would probably time out.
HOPELESS_SHARE = 0.75
# Each connection may hold this much of a body beside the shared memory.
FREE_BODY_BYTES = 65_536


class Slots:
    """What one request holds: `count` slots, which grow with its decompressed body."""

    __slots__ = ("_controller", "count")

    def __init__(self, controller: AdmissionController, count: int) -> None:
        """Hold `count` slots of `controller`."""
        self._controller = controller
        self.count = count

    def grow(self, count: int) -> None:
        """Hold `count` slots in all, from any thread; HttpError 503 where too few are free."""
        if count > self.count:
            self._controller.grow(self, count)

    def release(self) -> None:
        """Give all slots back."""
        self._controller.release(self.count)
        self.count = 0


class _Waiting:
    __slots__ = ("arrived_at", "count", "future", "is_granted", "loop", "timer")

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.count = count
        self.arrived_at = time.monotonic()
        self.loop = loop
        self.future: asyncio.Future[bool] = loop.create_future()
        self.is_granted = False
        self.timer: asyncio.TimerHandle | None = None


class AdmissionController:
    """Limits the predictions that run at once in this process."""

    def __init__(
        self, *, max_in_flight: int, queue_timeout_seconds: float, max_queued: int, max_body_bytes: int
    ) -> None:
        """Let `max_in_flight` run and `max_queued` wait; hold `max_body_bytes` of bodies in all."""
        self.max_in_flight = max_in_flight
        self.queue_timeout_seconds = queue_timeout_seconds
        self.max_queued = max_queued
        self.max_body_bytes = max_body_bytes
        # One slot is given back in a thread, where a body grows: the lock is held for microseconds.
        self._lock = threading.Lock()
        self._in_flight = 0
        self._body_bytes = 0
        self._queue: deque[_Waiting] = deque()
        # Clients that were refused and returned at once: they wait behind the others.
        self._impatient: deque[_Waiting] = deque()
        self._refused_at: OrderedDict[Hashable, float] = OrderedDict()

    @property
    def in_flight(self) -> int:
        """Number of slots that are held."""
        return self._in_flight

    @property
    def queued(self) -> int:
        """Number of requests that wait."""
        return len(self._queue) + len(self._impatient)

    async def acquire(self, count: int = 1, client: Hashable = None) -> Slots:
        """Return `count` slots, after a wait of at most the timeout.

        A request that needs more slots than there are runs alone. HttpError 503: the queue is full, or the wait was
        too long. `client` identifies a connection, so that one which returns at once after a refusal waits longest.
        """
        with self._lock:
            if not self._queue and self._fits(count):
                self._in_flight += count
                return Slots(self, count)
            waiting = self._enqueue(count, client)
        if waiting is None:
            self._remember_refusal(client)
            raise self.overloaded(count)
        try:
            await waiting.future
        except asyncio.CancelledError:
            self._abandon(waiting)
            raise
        finally:
            if waiting.timer is not None:
                waiting.timer.cancel()
        if not waiting.is_granted:
            self._remember_refusal(client)
            raise self.overloaded(count)
        return Slots(self, count)

    def grow(self, slots: Slots, count: int) -> None:
        """Let `slots` hold `count` in all; HttpError 503 where too few are free."""
        with self._lock:
            more = count - slots.count
            is_alone = self._in_flight == slots.count
            if not is_alone and self._in_flight + more > self.max_in_flight:
                raise self.overloaded(count)
            self._in_flight += more
            slots.count = count

    def release(self, count: int) -> None:
        """Give slots back, and let the requests that are next have them."""
        with self._lock:
            self._in_flight -= count
            granted = self._grant()
        for waiting in granted:
            waiting.loop.call_soon_threadsafe(_settle, waiting)

    def reserve_body(self, count: int) -> None:
        """Take memory for `count` bytes of a body; HttpError 503 where too little is left."""
        with self._lock:
            if self._body_bytes + count > self.max_body_bytes:
                raise HttpError(
                    503,
                    "overloaded",
                    f"This worker already holds {self._body_bytes} bytes of large bodies, of at most "
                    f"{self.max_body_bytes}. Try again in a second, or send fewer rows at a time.",
                ).with_header("Retry-After", "1")
            self._body_bytes += count

    def hold(self, count: int) -> ExitStack:
        """Take memory for `count` bytes as long as the block lasts; HttpError 503 where too little is left."""
        self.reserve_body(count)
        stack = ExitStack()
        stack.callback(self.release_body, count)
        return stack

    def release_body(self, count: int) -> None:
        """Give memory back."""
        with self._lock:
            self._body_bytes -= count

    def overloaded(self, count: int = 1) -> HttpError:
        """Return the 503 for a prediction that needs `count` slots."""
        needed = "" if count == 1 else f" A body of this size needs {count} of them."
        return HttpError(
            503,
            "overloaded",
            f"This worker runs {self.max_in_flight} predictions at once (MLAPI_MAX_IN_FLIGHT), and too few slots are "
            f"free.{needed} Try again in a second.",
        ).with_header("Retry-After", "1")

    def _fits(self, count: int) -> bool:
        return not self._in_flight or self._in_flight + count <= self.max_in_flight

    def _enqueue(self, count: int, client: Hashable) -> _Waiting | None:
        """Return a place in the queue; None if the queue is full, or the wait would probably time out."""
        if not self.queue_timeout_seconds or self.queued >= self.max_queued:
            return None
        is_impatient = time.monotonic() < self._refused_at.get(client, 0.0) + IMPATIENT_SECONDS
        if not is_impatient and self._is_hopeless():
            return None
        loop = asyncio.get_running_loop()
        waiting = _Waiting(count, loop)
        waiting.timer = loop.call_later(self.queue_timeout_seconds, self._expire, waiting)
        (self._impatient if is_impatient else self._queue).append(waiting)
        return waiting

    def _is_hopeless(self) -> bool:
        """Return whether the next in the queue has waited most of its time, and as many wait as may run."""
        if len(self._queue) < self.max_in_flight:
            return False
        return time.monotonic() - self._queue[0].arrived_at >= HOPELESS_SHARE * self.queue_timeout_seconds

    def _grant(self) -> list[_Waiting]:
        granted = []
        for queue in (self._queue, self._impatient):
            while queue and self._fits(queue[0].count):
                waiting = queue.popleft()
                waiting.is_granted = True
                self._in_flight += waiting.count
                granted.append(waiting)
            if queue:
                break
        return granted

    def _expire(self, waiting: _Waiting) -> None:
        self._remove(waiting)
        _settle(waiting)

    def _abandon(self, waiting: _Waiting) -> None:
        """Give up a place in the queue, or the slots that were granted meanwhile."""
        if not self._remove(waiting):
            self.release(waiting.count)

    def _remove(self, waiting: _Waiting) -> bool:
        """Take a request out of the queue; False if its slots were granted."""
        with self._lock:
            if waiting.is_granted:
                return False
            for queue in (self._queue, self._impatient):
                if waiting in queue:
                    queue.remove(waiting)
            # A large request may have been in the way of small ones behind it.
            granted = self._grant()
        for item in granted:
            item.loop.call_soon_threadsafe(_settle, item)
        return True

    def _remember_refusal(self, client: Hashable) -> None:
        if client is None:
            return
        self._refused_at[client] = time.monotonic()
        self._refused_at.move_to_end(client)
        if len(self._refused_at) > MAX_REMEMBERED_CLIENTS:
            self._refused_at.popitem(last=False)


def _settle(waiting: _Waiting) -> None:
    if not waiting.future.done():
        waiting.future.set_result(waiting.is_granted)
