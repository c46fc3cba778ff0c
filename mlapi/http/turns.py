"""Keeps the rounds of the event loop short under load, so that health checks are answered in between."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable

# Predictions that start in one round of the loop take some milliseconds together. `python -m benchmarks overload`
# measures how long a health check takes with 512 clients.
MAX_PER_ROUND = 32


class Turns:
    """Starts at most `max_per_round` requests in one round of the event loop, in FIFO order.

    The loop reads all ready connections, and runs all resulting callbacks before it reads again. With hundreds of
    clients a round would take a tenth of a second. A health check takes three rounds.
    """

    def __init__(self, *, max_per_round: int = MAX_PER_ROUND) -> None:
        """Start with an empty queue."""
        self._max_per_round = max_per_round
        self._queue: deque[Callable[[], None]] = deque()
        self._has_next_round = False
        # A pipelined request arrives in the context of the request before it, and must not pass it to other clients.
        self._context = contextvars.copy_context()

    def add(self, start: Callable[[], None]) -> None:
        """Call `start` in the first later round with a free turn."""
        self._queue.append(start)
        if not self._has_next_round:
            self._has_next_round = True
            asyncio.get_running_loop().call_soon(self._run_round, context=self._context)

    def _run_round(self) -> None:
        try:
            for _ in range(min(len(self._queue), self._max_per_round)):
                self._queue.popleft()()
        finally:
            self._has_next_round = bool(self._queue)
            if self._has_next_round:
                asyncio.get_running_loop().call_soon(self._run_round, context=self._context)
