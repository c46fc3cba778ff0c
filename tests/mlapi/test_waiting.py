"""Who finds no place waits a little for one, at no thread's cost, in the order of coming, and is refused after that."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.estimators import SLEEP, forest, save, sleeper
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.wire import BODY, receive, request

pytestmark = pytest.mark.any_database

PLACES = 2
PATIENCE_SECONDS = 2.0


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("waiting")
    made = Service(
        directory,
        WEB_THREADS="4",
        MLAPI_MAX_WAITING=str(PLACES),
        MLAPI_MAX_WAIT_SECONDS=str(PATIENCE_SECONDS),
        MODELS_TRUSTED_GLOBALS=SLEEP,
        MODELS_ACCELERATION="on",
    )
    slow = save(sleeper(), directory / "slow.joblib")
    quick = save(forest(seed=1, trees=5), directory / "quick.joblib", rows=[[0, 0, 0, 0]])
    made.manage_all(["publish_model", "sleeper", slow, "--activate"], ["publish_model", "quick", quick, "--activate"])
    try:
        made.start()
        yield made
    finally:
        made.kill()


Ask = Callable[..., socket.socket]


@pytest.fixture
def ask(service) -> Iterator[Ask]:
    """Return a way to ask the sleeper, on a connection of its own, for so many seconds of its time."""
    asking: list[socket.socket] = []

    def send(seconds: float, name: str = "r", *, at: Service = service) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", at.port), timeout=20)
        asking.append(connection)
        connection.sendall(sleep(seconds, name))
        return connection

    yield send
    for connection in asking:
        connection.close()
    # The next test finds every place free.
    eventually(lambda: service.post("/models/sleeper/predict", {"features": [0]})[0] == 200)


def sleep(seconds: float, name: str = "r") -> bytes:
    body = json.dumps({"features": [seconds]}).encode()
    return request("/models/sleeper/predict", f"X-Request-ID: {name}", body=body)


def take_places(ask: Ask, seconds: float, **where: Service) -> list[socket.socket]:
    """Let the model be busy that long with the first, while the others wait for it in their places."""
    taken = []
    for place in range(PLACES):
        taken.append(ask(0 if place else seconds, **where))
        time.sleep(0.1)
    return taken


def status(connection: socket.socket) -> int:
    return receive(connection)[0][0]


def lines_of(service: Service, prefix: str, count: int) -> list[dict[str, Any]]:
    """Return the log lines of `count` requests in the order of their ends."""
    return eventually(
        lambda: (
            (found := [line for line in service.events("request") if line["id"].startswith(prefix)])[count - 1 :]
            and found
        )
    )


def test_who_finds_no_place_gets_the_next_one(service, ask):
    taken = take_places(ask, 0.5)
    began = time.monotonic()
    waiting = [ask(0, f"wait-{number}") for number in range(5)]
    assert [status(connection) for connection in waiting] == [200] * 5
    assert 0.3 < time.monotonic() - began < PATIENCE_SECONDS
    assert [status(connection) for connection in taken] == [200] * PLACES
    lines = lines_of(service, "wait-", 5)
    assert min(line["ms"] for line in lines) > 300, "the wait is part of what the caller waited"


def test_places_are_given_in_the_order_of_coming(service, ask):
    take_places(ask, 0.3)
    waiting = []
    for number in range(6):
        waiting.append(ask(0.02 * (6 - number), f"turn-{number}"))
        time.sleep(0.02)
    assert [status(connection) for connection in waiting] == [200] * 6
    names = [line["id"] for line in lines_of(service, "turn-", 6)]
    # Two have places at once, and may end in either order.
    assert [abs(int(name[5:]) - place) <= 1 for place, name in enumerate(names)] == [True] * 6


def test_who_has_waited_long_enough_is_refused_and_may_ask_again(ask):
    taken = take_places(ask, PATIENCE_SECONDS + 1)
    began = time.monotonic()
    waiting = ask(0)
    ((refused, headers, body),) = receive(waiting)
    assert (refused, headers["retry-after"], json.loads(body)["code"]) == (503, "1", "overloaded")
    assert PATIENCE_SECONDS - 0.1 < time.monotonic() - began < PATIENCE_SECONDS + 0.8
    assert headers["connection"] == "keep-alive"
    assert [status(connection) for connection in taken] == [200] * PLACES
    waiting.sendall(sleep(0))
    assert status(waiting) == 200


def test_where_the_next_has_waited_half_as_long_another_is_refused_at_once(ask):
    take_places(ask, 1.5)
    ask(0)
    time.sleep(PATIENCE_SECONDS / 2 + 0.1)
    began = time.monotonic()
    assert status(ask(0)) == 503
    assert time.monotonic() - began < 0.3


def test_who_was_refused_and_comes_again_at_once_is_not_refused_at_once_again(ask):
    take_places(ask, 2 * PATIENCE_SECONDS)
    ask(0)
    time.sleep(PATIENCE_SECONDS / 2 + 0.1)
    impatient = ask(0)
    assert status(impatient) == 503
    began = time.monotonic()
    impatient.sendall(sleep(0))
    assert status(impatient) == 503
    assert PATIENCE_SECONDS - 0.1 < time.monotonic() - began < PATIENCE_SECONDS + 0.8


def test_who_was_refused_and_comes_again_gets_a_place_when_nobody_waits_for_it(ask):
    take_places(ask, 0.75 * PATIENCE_SECONDS)
    waiting = ask(0)
    time.sleep(PATIENCE_SECONDS / 2 + 0.1)
    impatient = ask(0)
    assert status(impatient) == 503
    impatient.sendall(sleep(0))
    assert [status(waiting), status(impatient)] == [200, 200]


def test_a_quick_model_and_health_answer_meanwhile(service, ask):
    take_places(ask, 1.5)
    waiting = ask(0)
    began = time.monotonic()
    for _ in range(5):
        assert service.post("/models/quick/predict", BODY)[0] == 200
        assert service.get("/health/ready")[0] == 200
    assert time.monotonic() - began < 1.2
    assert status(waiting) == 200


def test_who_leaves_while_waiting_costs_nothing(ask):
    take_places(ask, 0.3)
    for _ in range(20):
        ask(0).close()
    assert status(ask(0)) == 200


@pytest.fixture
def other(service, tmp_path) -> Iterator[Service]:
    """Return another server of the same registry, to be ended."""
    made = Service(tmp_path / "other", **{**service.environment, "PORT": "", "MLAPI_VAR": str(tmp_path / "var")})
    made.environment["PORT"] = str(made.port)
    try:
        yield made.start()
    finally:
        made.kill()


def test_the_end_answers_who_waits_and_lets_nobody_wait_longer(ask, other):
    taken = take_places(ask, 0.75 * PATIENCE_SECONDS, at=other)
    waiting = [ask(PATIENCE_SECONDS, at=other), *(ask(0, at=other) for _ in range(PLACES))]
    # The first of them keeps the model busy, and the last waits in vain.
    time.sleep(0.1)
    began = time.monotonic()
    assert other.stop() == 0
    assert time.monotonic() - began < 10, "who has been answered is not waited for"
    answers = [receive(connection)[0] for connection in (*taken, *waiting)]
    assert {headers["connection"] for _, headers, _ in answers} == {"close"}
    assert [code for code, _, _ in answers] == [200] * (PLACES + 2) + [503]
