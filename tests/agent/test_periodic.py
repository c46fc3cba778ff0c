"""A background loop continues after a failed step, and ends when it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.db import OperationalError
from structlog.testing import capture_logs

from models_registry.agent.database_thread import DatabaseThread, PauseEvents
from models_registry.agent.periodic import PeriodicThread
from tests.support.waiting import eventually

NEVER = 3600.0


class Steps:
    """Counts its calls; raises what `errors` holds, one after the other."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error


@pytest.fixture
def run() -> Callable[..., PeriodicThread]:
    """Start a thread, and end it with the test."""
    threads = []

    def start(thread: PeriodicThread) -> PeriodicThread:
        threads.append(thread)
        thread.start()
        return thread

    yield start
    for thread in threads:
        thread.stop()


def test_step_is_repeated_until_the_stop(run) -> None:
    step = Steps()
    thread = run(PeriodicThread("loop", step, seconds=0.001))
    eventually(lambda: step.count >= 3)
    thread.stop()
    ended_at = step.count
    assert not [one for one in threading.enumerate() if one.name == "loop"]
    assert step.count == ended_at


def test_eager_thread_does_not_pause_before_its_first_step() -> None:
    step = Steps()
    thread = PeriodicThread("loop", step, seconds=NEVER, is_eager=True)
    thread.start(wait_seconds=20)
    thread.stop()
    assert step.count == 1


def test_stop_ends_the_pause_and_runs_the_last_step() -> None:
    step, last = Steps(), Steps()
    thread = PeriodicThread("loop", step, seconds=NEVER, last_step=last)
    thread.start()
    thread.stop()
    assert (step.count, last.count) == (0, 1)
    assert thread.is_stopping


def test_wake_ends_the_pause(run) -> None:
    step = Steps()
    thread = run(PeriodicThread("loop", step, seconds=NEVER))
    thread.wake()
    eventually(lambda: step.count == 1)
    assert thread.was_woken


def test_wake_does_not_end_a_wait_within_a_step(run) -> None:
    waited = []

    def step() -> None:
        thread.wake()
        waited.append(thread.wait_for_stop(0.001))

    thread = PeriodicThread("loop", step, seconds=0.001)
    run(thread)
    eventually(lambda: len(waited) >= 2)
    assert waited[:2] == [False, False]


def test_stop_ends_a_wait_within_a_step() -> None:
    waited = []
    thread = PeriodicThread("loop", lambda: waited.append(thread.wait_for_stop(NEVER)), seconds=NEVER, is_eager=True)
    thread.start()
    thread.stop()
    assert waited == [True]


def test_pause_may_differ_from_step_to_step(run) -> None:
    step, pauses = Steps(), [0.001, NEVER]
    run(PeriodicThread("loop", step, seconds=lambda: pauses.pop(0)))
    eventually(lambda: not pauses)
    assert step.count == 1


def test_failed_step_is_logged_and_repeated(run) -> None:
    step = Steps(ValueError("broken"))
    with capture_logs() as logs:
        run(PeriodicThread("loop", step, seconds=0.001))
        eventually(lambda: step.count >= 2)
    assert [(line["event"], line["log_level"]) for line in logs] == [("loop_error", "error")]


def test_absent_database_is_logged_once_and_its_return_too(run) -> None:
    away = OperationalError("server closed the connection")
    step = Steps(away, away, None)
    events = PauseEvents("work_paused", "work_resumed", next="It is tried again.")
    with capture_logs() as logs:
        run(DatabaseThread("work", step, seconds=0.001, events=events))
        eventually(lambda: step.count >= 4)
    assert [line["event"] for line in logs] == ["work_paused", "work_resumed"]


def test_thread_that_was_stopped_starts_again() -> None:
    step = Steps()
    thread = PeriodicThread("loop", step, seconds=NEVER, is_eager=True)
    for expected in (1, 2):
        thread.start(wait_seconds=20)
        thread.stop()
        assert step.count == expected
