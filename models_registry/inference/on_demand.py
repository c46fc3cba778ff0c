"""Requests that wait for a model to be loaded on demand, and the last use of each model."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable


class OnDemand:
    """Connects the event loop's requests with the loading thread: all requests for a model wait for one load."""

    def __init__(self, *, wait_seconds: float) -> None:
        """Let a request wait up to `wait_seconds`."""
        self.wait_seconds = wait_seconds
        # Wakes the loading thread.
        self.wake: Callable[[], None] = lambda: None
        self._used_at: dict[str, float] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._guard = threading.Lock()

    def note_use(self, name: str) -> None:
        """Record that a model is used now."""
        self._used_at[name] = time.monotonic()

    def used_at(self, name: str) -> float:
        """Return the time of a model's last use; 0 if it was never used."""
        return self._used_at.get(name, 0.0)

    async def wait(self, name: str) -> bool:
        """Request a model and wait until its load ends; return False after the timeout."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._guard:
            self._waiting.setdefault(name, []).append(future)
        self.wake()
        try:
            async with asyncio.timeout(self.wait_seconds):
                await future
        except TimeoutError:
            return False
        else:
            return True
        finally:
            self._leave(name, future)

    def asked(self) -> list[str]:
        """Return the models that requests wait for, in the order of their first request."""
        with self._guard:
            return list(self._waiting)

    def end_wait(self, name: str) -> None:
        """Wake the requests for a model: it is loaded, or its load failed."""
        with self._guard:
            futures = self._waiting.pop(name, [])
        for future in futures:
            loop = future.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, future)

    def _leave(self, name: str, future: asyncio.Future[None]) -> None:
        with self._guard:
            futures = self._waiting.get(name, [])
            if future in futures:
                futures.remove(future)
                if not futures:
                    del self._waiting[name]


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
