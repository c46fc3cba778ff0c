"""Ends a worker in which a prediction never returns, or in which nothing runs: the server's own timeout sees neither.

A thread looks at the calls in progress. It needs the interpreter, which a backtracking regular expression, or any other
long call that does not release it, keeps from all threads. So the thread also winds up an alarm of faulthandler's,
which waits outside the interpreter: where the thread comes too late to wind it up again, the process ends.
"""

from __future__ import annotations

import faulthandler
import os
import signal

import structlog

from models_registry.agent.periodic import PeriodicThread
from models_registry.inference.model_calls import oldest_seconds

log = structlog.get_logger(__name__)

# What else is in progress may end in that time.
GRACE_SECONDS = 2.0
# The alarm comes that much after the limit: later than the thread, which ends the worker more gently.
ALARM_SECONDS = 3.5
LOOK_SECONDS = 0.5


class Watchdog:
    """Has the worker replaced within ALARM_SECONDS after a call reaches the limit, whatever holds the interpreter."""

    def __init__(self, *, limit_seconds: float) -> None:
        """Allow a call `limit_seconds`."""
        self._limit_seconds = limit_seconds
        self._thread = PeriodicThread("watchdog", self._look, seconds=min(LOOK_SECONDS, limit_seconds / 4))

    def start(self) -> None:
        """Begin."""
        self._wind_up()
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._thread.stop()
        faulthandler.cancel_dump_traceback_later()

    def is_hung(self) -> bool:
        """Return whether a call has been in progress for longer than the limit."""
        return oldest_seconds() > self._limit_seconds

    def _look(self) -> None:
        if self.is_hung():
            self._end_worker()
        self._wind_up()

    def _wind_up(self) -> None:
        """Set the alarm for when the oldest call is due; for a call that begins now if none is in progress."""
        left = max(0.0, self._limit_seconds - oldest_seconds())
        faulthandler.dump_traceback_later(left + ALARM_SECONDS, exit=True)

    def _end_worker(self) -> None:
        log.critical("worker_hung", pid=os.getpid(), limit_seconds=self._limit_seconds, next="It is replaced.")
        # No new requests; what else is in progress ends. Then without the thread that never will.
        os.kill(os.getpid(), signal.SIGTERM)
        self._thread.wait_for_stop(GRACE_SECONDS)
        os._exit(1)
