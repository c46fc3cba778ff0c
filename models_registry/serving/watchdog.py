"""Ends a worker whose prediction never returns: the server's own timeout does not see it."""

from __future__ import annotations

import os
import signal
import threading

import structlog

from models_registry.serving.model_calls import oldest_seconds

log = structlog.get_logger(__name__)

GRACE_SECONDS = 5.0


class Watchdog:
    """Looks at the oldest prediction under way, and has the worker replaced when it is older than the limit."""

    def __init__(self, *, limit_seconds: float) -> None:
        """Allow a prediction `limit_seconds`."""
        self._limit_seconds = limit_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()

    def is_hung(self) -> bool:
        """Say whether a prediction has been under way for longer than the limit."""
        return oldest_seconds() > self._limit_seconds

    def _run(self) -> None:
        while not self._stop.wait(min(1.0, self._limit_seconds / 4)):
            if self.is_hung():
                self._end_worker()

    def _end_worker(self) -> None:
        log.critical("worker_hung", pid=os.getpid(), limit_seconds=self._limit_seconds, next="It is replaced.")
        # No new requests; what else is under way ends. Then without the thread that never will.
        os.kill(os.getpid(), signal.SIGTERM)
        self._stop.wait(GRACE_SECONDS)
        os._exit(1)
