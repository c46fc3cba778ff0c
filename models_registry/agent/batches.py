"""Runs the registry's batch scoring jobs, in each worker one at a time, each in its own process."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import structlog

from models_registry import services
from models_registry.agent.database_thread import DatabaseThread
from models_registry.agent.fleet import Fleet
from models_registry.agent.lookout import Lookout
from models_registry.models import BatchJob

log = structlog.get_logger(__name__)

LOOK_SECONDS = 2.0
# Long, because the lookout wakes the loop for a new job.
IDLE_SECONDS = 60.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.2


class BatchRunner:
    """Takes the next job of the queue, runs `run_batch`, and waits until it ends."""

    def __init__(self, *, holder: str, lookout: Lookout | None = None, fleet: Fleet | None = None) -> None:
        """Let `lookout` check for a job every LOOK_SECONDS, less often in a large `fleet`."""
        self._holder = holder
        self._thread = DatabaseThread("batches", self.run_next, seconds=IDLE_SECONDS)
        if lookout is not None:
            seconds = partial((fleet or Fleet()).pause_seconds, LOOK_SECONDS)
            lookout.add(services.has_batch_to_run, seconds=seconds, then=self._thread.wake)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the running job; it returns to the queue, and its parts stay."""
        self._thread.stop(join_seconds=STOP_SECONDS)

    def run_next(self) -> None:
        """Run the next job, if there is one."""
        job = services.claim_batch(self._holder)
        if job is None:
            return
        log.info("batch_started", batch=job.pk, version=str(job.version), attempt=job.attempts)
        # In its own process: a large file does not slow down predictions, and a crash does not end the worker.
        process = subprocess.Popen(
            [sys.executable, "-m", "django", "run_batch", str(job.pk)],
            stdout=subprocess.DEVNULL,
        )
        while process.poll() is None:
            # Not ended by `wake`: while another job waits, the lookout wakes this thread again and again.
            if self._thread.wait_for_stop(POLL_SECONDS):
                self._end(process, job)
                return
        log.info("batch_ended", batch=job.pk, status=process.returncode)

    def _end(self, process: subprocess.Popen[bytes], job: BatchJob) -> None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        services.release_batch(job)
