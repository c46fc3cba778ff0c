"""Keeps the rounds of the event loop short under load, so that health checks are answered in between."""

from __future__ import annotations

import asyncio
from collections import deque

# Predictions that start in one round of the loop take some milliseconds together.
MAX_PER_ROUND = 32


class Turns:
    """Lets at most `max_per_round` predictions start in one round of the event loop, in FIFO order.

    The loop reads all ready connections, and runs all resulting callbacks before it reads again. With hundreds of
    clients a round would take a tenth of a second. A health check takes three rounds.
    """

    def __init__(self, *, max_per_round: int = MAX_PER_ROUND) -> None:
        """Start with a full round."""
        self._max_per_round = max_per_round
        self._left = max_per_round
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def take(self) -> None:
        """Return at once while this round has a turn left, else in the first later round with a free turn."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._left = loop, self._max_per_round
            self._waiting.clear()
            loop.call_soon(self._begin_round)
        if self._left and not self._waiting:
            self._left -= 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _begin_round(self) -> None:
        self._left = self._max_per_round
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
        if self._left == self._max_per_round:
            self._loop = None
        elif self._loop is not None:
            self._loop.call_soon(self._begin_round)
