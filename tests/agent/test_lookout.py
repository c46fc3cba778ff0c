"""One thread looks for work, and the loops share their connections to the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from django.db import OperationalError, connection, connections

from models_registry.agent.database_thread import DatabaseThread
from models_registry.agent.idle_connections import MAX_IDLE, TRUSTED_SECONDS, IdleConnections, OfProcess
from models_registry.agent.lookout import Lookout
from models_registry.services import read_revision
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)

NEVER = 3600.0
SOON = 0.001


@pytest.fixture
def lookout() -> Iterator[Lookout]:
    made = Lookout()
    yield made
    made.stop()


def raise_away() -> bool:
    raise OperationalError("server closed the connection")


@pytest.mark.parametrize("found", [True, False])
def test_a_loop_is_woken_where_there_is_work_alone(lookout, found):
    asked, woken = [], []
    lookout.add(lambda: bool(asked.append(1)) or found, seconds=SOON, then=lambda: woken.append(1))
    lookout.start()
    eventually(lambda: len(asked) >= 3)
    assert bool(woken) is found


def test_each_look_has_its_own_interval(lookout):
    often, seldom = [], []
    lookout.add(lambda: bool(often.append(1)), seconds=SOON)
    lookout.add(lambda: bool(seldom.append(1)), seconds=lambda: NEVER)
    lookout.start()
    eventually(lambda: len(often) >= 3)
    assert not seldom


def test_an_absent_database_is_told_to_the_loops(lookout):
    told, asked = [], []
    lookout.add(raise_away, seconds=SOON, on_error=lambda: told.append("first"))
    lookout.add(lambda: bool(asked.append(1)), seconds=SOON, on_error=lambda: told.append("second"))
    lookout.start()
    eventually(lambda: told.count("second") >= 2)
    assert told[:2] == ["first", "second"]
    assert not asked


def raise_other() -> bool:
    raise ValueError("a look with a fault")


def ask_wrongly() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT no_such_column FROM models_registry_registeredmodel")
    return False


@pytest.mark.parametrize("fail", [raise_other, ask_wrongly])
def test_a_failing_look_does_not_end_the_others(lookout, fail):
    asked, woken = [], []
    lookout.add(fail, seconds=SOON)
    lookout.add(lambda: asked.append(read_revision()) or True, seconds=SOON, then=lambda: woken.append(1))
    lookout.start()
    eventually(lambda: len(woken) >= 3)
    assert asked


@pytest.fixture
def kept_connections(monkeypatch) -> IdleConnections:
    """Connections that are kept for ten minutes, as PostgreSQL's are."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 600)
    return IdleConnections()


def used_by(idle: IdleConnections) -> object:
    with idle.lend():
        read_revision()
        return connection.connection


def in_thread(action) -> object:
    found = []
    thread = threading.Thread(target=lambda: found.append(action()))
    thread.start()
    thread.join()
    return found[0]


def test_threads_that_step_in_turn_share_one_connection(kept_connections):
    with kept_connections.kept():
        used = [in_thread(lambda: used_by(kept_connections)) for _ in range(3)]
    assert used[0] is used[1] is used[2]


def test_steps_at_once_have_connections_of_their_own(kept_connections):
    def inner() -> tuple[object, object]:
        with kept_connections.lend():
            read_revision()
            own = connection.connection
            return own, in_thread(lambda: used_by(kept_connections))

    with kept_connections.kept():
        first, second = in_thread(inner)
    assert first is not second


@pytest.fixture
def tested(monkeypatch) -> list[int]:
    """One entry for each test of a connection before its use."""
    calls: list[int] = []
    monkeypatch.setitem(connections.settings["default"], "CONN_HEALTH_CHECKS", True)
    monkeypatch.setattr(type(connections["default"]), "is_usable", lambda _: not calls.append(1))
    return calls


@pytest.mark.parametrize(("pause_seconds", "tests"), [(0.0, 0), (TRUSTED_SECONDS + 1, 1)])
def test_only_a_connection_after_a_pause_is_tested(kept_connections, tested, monkeypatch, pause_seconds, tests):
    with kept_connections.kept():
        used_by(kept_connections)
        later = time.monotonic() + pause_seconds
        monkeypatch.setattr(time, "monotonic", lambda: later)
        used_by(kept_connections)
    assert len(tested) == tests


def test_all_connections_are_tested_after_a_failure(kept_connections, tested):
    with kept_connections.kept():
        used_by(kept_connections)
        kept_connections.distrust()
        used_by(kept_connections)
    assert len(tested) == 1


def test_a_step_that_fails_has_other_connections_tested(monkeypatch):
    told = threading.Event()
    monkeypatch.setattr(OfProcess.connections, "distrust", told.set)
    thread = DatabaseThread("work", raise_away, seconds=SOON)
    thread.start()
    assert told.wait(20)
    thread.stop()


def test_the_last_step_has_a_tested_connection(kept_connections, tested, monkeypatch):
    monkeypatch.setattr(OfProcess, "connections", kept_connections)
    counts: list[int] = []

    def use() -> None:
        read_revision()
        counts.append(len(tested))

    thread = DatabaseThread("work", use, seconds=60, is_eager=True, last_step=use)
    thread.start(wait_seconds=20)
    thread.stop()
    assert counts == [0, 1]


def test_no_connection_outlives_the_last_loop(kept_connections):
    with kept_connections.kept():
        before = in_thread(lambda: used_by(kept_connections))
    with kept_connections.kept():
        assert in_thread(lambda: used_by(kept_connections)) is not before


def test_a_few_idle_connections_are_kept(kept_connections):
    """Of more steps at once, the connections of all but MAX_IDLE are closed."""
    together, count = threading.Barrier(MAX_IDLE + 2), MAX_IDLE + 2
    closed = []

    def step() -> None:
        with kept_connections.lend():
            read_revision()
            wrapper = connections["default"]
            together.wait(20)
        closed.append(wrapper.connection is None)

    with kept_connections.kept():
        threads = [threading.Thread(target=step) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert closed.count(False) == MAX_IDLE


def test_a_broken_connection_is_replaced(kept_connections):
    def broken() -> object:
        with kept_connections.lend():
            read_revision()
            used = connection.connection
            connection.errors_occurred = True
            connection.is_usable = lambda: False
            return used

    with kept_connections.kept():
        before = in_thread(broken)
        assert in_thread(lambda: used_by(kept_connections)) is not before


def test_a_loop_that_steps_leaves_its_thread_no_connection():
    seen = []

    def step() -> None:
        read_revision()
        seen.append(connections["default"])

    thread = DatabaseThread("work", step, seconds=SOON)
    thread.start()
    eventually(lambda: len(seen) >= 3)
    thread.stop()
    assert all(wrapper.connection is None for wrapper in seen)
