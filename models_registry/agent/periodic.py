"""A background loop of a worker: a step, a pause, the next step."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

JOIN_SECONDS = 5.0


class PeriodicThread:
    """Calls a step repeatedly in a daemon thread, until it is stopped.

    An exception of a step is logged as `<name>_error`, and the loop continues.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], None],
        *,
        seconds: float | Callable[[], float],
        is_eager: bool = False,
        last_step: Callable[[], None] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            name: the thread's name, in snake_case.
            step: the function that is repeated.
            seconds: the pause before a step, or a function that returns it.
            is_eager: whether the first step has no pause before it.
            last_step: a function that the thread calls once after it was stopped.
        """
        self.name = name
        # Whether `wake` or `stop` ended the last pause.
        self.was_woken = False
        self._step = step
        self._seconds = seconds
        self._is_eager = is_eager
        self._last_step = last_step
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._has_stepped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called, so that a long step can end early."""
        return self._stopping.is_set()

    def start(self, *, wait_seconds: float = 0.0) -> None:
        """Start, and wait at most `wait_seconds` for the end of the first step."""
        self._stopping.clear()
        self._wake.clear()
        self._has_stepped.clear()
        self._thread = threading.Thread(target=self._run, name=self.name.replace("_", "-"), daemon=True)
        self._thread.start()
        if wait_seconds:
            self._has_stepped.wait(wait_seconds)

    def stop(self, *, join_seconds: float = JOIN_SECONDS) -> bool:
        """Stop after the current step; wait at most `join_seconds` for it. Return whether the thread has ended."""
        self._stopping.set()
        self._wake.set()
        if self._thread is None:
            return True
        if join_seconds:
            self._thread.join(join_seconds)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """End the current pause, or skip the next one."""
        self._wake.set()

    def wait_for_stop(self, seconds: float) -> bool:
        """Wait within a step until `seconds` have passed or `stop` is called; return whether it was called."""
        return self._stopping.wait(seconds)

    def _run(self) -> None:
        if self._is_eager:
            self._attempt(self._step)
        while self._goes_on_after_pause():
            self._attempt(self._step)
        if self._last_step is not None:
            self._attempt(self._last_step)

    def _next_pause(self) -> float:
        return self._seconds() if callable(self._seconds) else self._seconds

    def _goes_on_after_pause(self) -> bool:
        self.was_woken = self._wake.wait(self._next_pause())
        # `stop` sets its flag before the event, so that clearing the event loses no call.
        self._wake.clear()
        return not self.is_stopping

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:
            log.exception(f"{self.name}_error")
        self._has_stepped.set()
