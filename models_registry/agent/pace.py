"""The interval of a task whose cost grows with the number of models."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

# Share of a core: an idle worker uses at most this share with ten models and with ten thousand.
MAX_SHARE = 0.0005
MAX_SECONDS = 600.0


class Pace:
    """Tells when a task is due: every `seconds`, less often if it takes more than MAX_SHARE of the time."""

    def __init__(self, seconds: float) -> None:
        """Make it due at once."""
        self._seconds = seconds
        self._due_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the task should run now."""
        return time.monotonic() >= self._due_at

    def hasten(self) -> None:
        """Make it due now; callable from any thread."""
        self._due_at = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure the task, which runs in this block; after a failure it stays due."""
        began = time.thread_time()
        self._due_at = time.monotonic() + self._seconds
        try:
            yield
        except BaseException:
            self.hasten()
            raise
        pause = min(MAX_SECONDS, (time.thread_time() - began) / MAX_SHARE)
        if self._due_at:
            self._due_at = time.monotonic() + max(self._seconds, pause)
