"""Admission control: slots for running predictions, a FIFO queue, and a memory limit for request bodies."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Hashable
from contextlib import ExitStack

from mlapi.protocols.base import HttpError

# A parsed body takes several times its size in memory: each slot stands for this many bytes. So all admitted bodies
# together have at most this size times MLAPI_MAX_IN_FLIGHT, 28 MB by default. A larger body runs alone.
SLOT_BYTES = 250_000
# Shorter than the Retry-After of a refusal, 1 s: a client that comes back within this time ignored the header.
IMPATIENT_SECONDS = 0.9
MAX_REMEMBERED_CLIENTS = 2_048
# If the first request in the queue has waited this share of the timeout, a new request would probably time out.
HOPELESS_SHARE = 0.75
# Bytes of a body that each connection may hold in addition to the shared memory.
FREE_BODY_BYTES = 65_536


class Slots:
    """The slots that one request holds; `count` grows with the decompressed body."""

    __slots__ = ("_controller", "count")

    def __init__(self, controller: AdmissionController, count: int) -> None:
        """Hold `count` slots of `controller`."""
        self._controller = controller
        self.count = count

    def grow(self, count: int) -> None:
        """Raise the number of held slots to `count`, from any thread; HttpError 503 if too few are free."""
        if count > self.count:
            self._controller.grow(self, count)

    def release(self) -> None:
        """Release all slots."""
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
    """Limits how many predictions run at the same time in this process."""

    def __init__(
        self, *, max_in_flight: int, queue_timeout_seconds: float, max_queued: int, max_body_bytes: int
    ) -> None:
        """Run at most `max_in_flight` predictions, queue at most `max_queued`; `max_body_bytes` bounds all bodies."""
        self.max_in_flight = max_in_flight
        self.queue_timeout_seconds = queue_timeout_seconds
        self.max_queued = max_queued
        self.max_body_bytes = max_body_bytes
        # A body may grow in another thread, which then takes the lock; it is held for microseconds.
        self._lock = threading.Lock()
        self._in_flight = 0
        self._body_bytes = 0
        self._queue: deque[_Waiting] = deque()
        # Clients that came back at once after a refusal: they wait behind the other clients.
        self._impatient: deque[_Waiting] = deque()
        self._refused_at: OrderedDict[Hashable, float] = OrderedDict()

    @property
    def in_flight(self) -> int:
        """Number of slots in use."""
        return self._in_flight

    @property
    def queued(self) -> int:
        """Number of requests in the queue."""
        return len(self._queue) + len(self._impatient)

    async def acquire(self, count: int = 1, client: Hashable = None) -> Slots:
        """Wait for `count` slots, at most for the timeout, and return them.

        A request that needs more slots than exist runs alone. `client` identifies a connection: a client that repeats a
        refused request at once waits behind the others. Raises HttpError 503 if the queue is full or the wait times
        out.
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
        """Raise the number of `slots` to `count`; HttpError 503 if too few are free."""
        with self._lock:
            more = count - slots.count
            is_alone = self._in_flight == slots.count
            if not is_alone and self._in_flight + more > self.max_in_flight:
                raise self.overloaded(count)
            self._in_flight += more
            slots.count = count

    def release(self, count: int) -> None:
        """Release slots, and grant them to the next requests in the queue."""
        with self._lock:
            self._in_flight -= count
            granted = self._grant()
        for waiting in granted:
            waiting.loop.call_soon_threadsafe(_settle, waiting)

    def reserve_body(self, count: int) -> None:
        """Reserve memory for `count` bytes of a body; HttpError 503 if too little is left."""
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
        """Reserve memory for `count` bytes within a `with` block; HttpError 503 if too little is left."""
        self.reserve_body(count)
        stack = ExitStack()
        stack.callback(self.release_body, count)
        return stack

    def release_body(self, count: int) -> None:
        """Release memory."""
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
        """Return a place in the queue; None if the queue is full or the wait would probably time out."""
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
        """Return whether at least `max_in_flight` requests wait and the first has used most of its timeout."""
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
        """Leave the queue, or release the slots if they were granted meanwhile."""
        if not self._remove(waiting):
            self.release(waiting.count)

    def _remove(self, waiting: _Waiting) -> bool:
        """Remove a request from the queue; return False if its slots were granted."""
        with self._lock:
            if waiting.is_granted:
                return False
            for queue in (self._queue, self._impatient):
                if waiting in queue:
                    queue.remove(waiting)
            # The removed request may have been a large one that blocked small requests behind it.
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
