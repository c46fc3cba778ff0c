"""Requests that wait in the worker for a place among the predictions under way."""

from __future__ import annotations

import math
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from mlapi.connections import Asked, Connection

# So many refusals whoever is ready may wait for.
ENDED_TOGETHER = 32


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request without a place, whose connection nobody watches meanwhile."""

    conn: Connection
    asked: Asked
    came_at: float = field(default_factory=time.perf_counter)

    def has_left(self) -> bool:
        """Say whether the caller has closed the connection, or its half of it."""
        try:
            return not self.conn.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True


class Turn(Enum):
    """What becomes of whoever is next."""

    LEFT = auto()
    PLACED = auto()
    REFUSED = auto()


class WaitingRoom:
    """Where requests wait in the order of coming, each for so long; they cost no thread. For one thread."""

    def __init__(self, places: int, patience_seconds: float) -> None:
        """Let each wait up to `patience_seconds` for one of `places`."""
        self.patience_seconds = patience_seconds
        self._places = places
        self._first: deque[Waiting] = deque()
        # Who has been refused a moment ago and has come again, as if there had been no Retry-After.
        self._again: deque[Waiting] = deque()

    @property
    def is_empty(self) -> bool:
        """Say whether nobody waits whom a newcomer would overtake."""
        return not self._first

    def has_room(self) -> bool:
        """Say whether one more would hardly wait in vain.

        He would where who is next has waited half as long as anybody may, and more wait than have places at once: a
        native model answers all who have places together, and then all who wait.
        """
        if _seconds_waited(self._first) < self.patience_seconds / 2:
            return True
        return self.patience_seconds > 0 and len(self._first) < self._places

    def enter(self, waiting: Waiting, *, again: bool) -> None:
        """Let a request wait behind all others, or behind all who have come `again`, whose turn is after theirs."""
        (self._again if again else self._first).append(waiting)

    def seconds_left(self) -> float:
        """Return how soon somebody will have waited long enough; infinity where nobody waits."""
        left = [self.patience_seconds - _seconds_waited(queue) for queue in (self._first, self._again) if queue]
        return max(0.0, min(left, default=math.inf))

    def turns(self, take_place: Callable[[], bool]) -> Iterator[tuple[Turn, Waiting]]:
        """Give whose turn it is, and what becomes of them, while `take_place` finds places; of refusals only some."""
        for queue in (self._first, self._again):
            ended = 0
            while queue and ended < ENDED_TOGETHER:
                if queue[0].has_left():
                    ended += 1
                    yield Turn.LEFT, queue.popleft()
                elif (queue is self._first or not self._first) and take_place():
                    yield Turn.PLACED, queue.popleft()
                elif _seconds_waited(queue) >= self.patience_seconds:
                    ended += 1
                    yield Turn.REFUSED, queue.popleft()
                else:
                    break


def _seconds_waited(queue: deque[Waiting]) -> float:
    """Return how long whoever is next has waited for a place."""
    return time.perf_counter() - queue[0].came_at if queue else 0.0
