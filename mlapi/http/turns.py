"""Short rounds of the event loop, however many clients ask at once: health is answered between them."""

from __future__ import annotations

import asyncio
from collections import deque

# What begins in one round of the loop takes some milliseconds together.
MAX_PER_ROUND = 32


class Turns:
    """Lets at most `max_per_round` predictions begin in one round of the event loop, first come, first served.

    The loop reads every connection that has something to say, and runs all that came of it before it reads again. With
    hundreds of clients a round would take a tenth of a second, and a health check takes three.
    """

    def __init__(self, *, max_per_round: int = MAX_PER_ROUND) -> None:
        """Let the first ones begin at once."""
        self._max_per_round = max_per_round
        self._left = max_per_round
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def take(self) -> None:
        """Return at once while this round has a turn left, else in the first later round that has one."""
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
