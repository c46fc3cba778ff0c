"""Ends a worker in which a prediction never returns, or that is blocked: gunicorn's own timeout detects neither.

The opening and the warm-up of a model count as a call that starts MODELS_CHECK_SECONDS later. So the watchdog also
covers the loads of a worker that starts.

A thread checks the running calls. It needs the interpreter lock, which one call can hold for a long time, for example a
backtracking regular expression. So the thread also resets an alarm of
faulthandler, which runs without the interpreter lock. If the thread cannot reset the alarm in time, the alarm ends the
process.
"""

from __future__ import annotations

import faulthandler
import os
import signal

import structlog

from models_registry.agent.periodic import PeriodicThread
from models_registry.inference.model_calls import oldest_seconds

log = structlog.get_logger(__name__)

# Time for other running calls to end.
GRACE_SECONDS = 2.0
# The alarm fires this much after the limit: later than the thread, which ends the worker gracefully.
ALARM_SECONDS = 3.5
LOOK_SECONDS = 0.5


class Watchdog:
    """Ends the worker within ALARM_SECONDS after a call reaches the limit, even if the interpreter hangs."""

    def __init__(self, *, limit_seconds: float) -> None:
        """Allow a call `limit_seconds`."""
        self._limit_seconds = limit_seconds
        self._thread = PeriodicThread("watchdog", self._look, seconds=min(LOOK_SECONDS, limit_seconds / 4))

    def start(self) -> None:
        """Start."""
        self._set_alarm()
        self._thread.start()

    def stop(self) -> None:
        """Stop."""
        self._thread.stop()
        faulthandler.cancel_dump_traceback_later()

    def is_hung(self) -> bool:
        """Return whether a call has been running for longer than the limit."""
        return oldest_seconds() > self._limit_seconds

    def _look(self) -> None:
        if self.is_hung():
            self._end_worker()
        self._set_alarm()

    def _set_alarm(self) -> None:
        """Set the alarm to the deadline of the oldest call; without one, to that of a call that starts now."""
        left = max(0.0, self._limit_seconds - oldest_seconds())
        faulthandler.dump_traceback_later(left + ALARM_SECONDS, exit=True)

    def _end_worker(self) -> None:
        log.critical("worker_hung", pid=os.getpid(), limit_seconds=self._limit_seconds, next="It is replaced.")
        # The worker takes no new requests, and other running calls end. Then it ends without the blocked thread.
        os.kill(os.getpid(), signal.SIGTERM)
        self._thread.wait_for_stop(GRACE_SECONDS)
        os._exit(1)
