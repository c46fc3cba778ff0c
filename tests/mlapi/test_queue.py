"""At capacity, requests queue in the order of arrival; after the timeout they get a 503."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mlapi.http.admission import HOPELESS_SHARE
from mlapi.http.pipeline import MAX_PARSED_INLINE_BYTES
from tests.support.estimators import SLEEP, forest, save, sleeper
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.wire import BODY, receive, request, until_read

pytestmark = pytest.mark.any_database

PLACES = 2
PATIENCE_SECONDS = 5.0


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("waiting")
    made = Service(
        directory,
        WEB_THREADS="4",
        MLAPI_MAX_IN_FLIGHT=str(PLACES),
        MLAPI_QUEUE_TIMEOUT_SECONDS=str(PATIENCE_SECONDS),
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

    def send(seconds: float, name: str = "r", *, at: Service = service, size: int = 0) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", at.port), timeout=20)
        asking.append(connection)
        connection.sendall(sleep(seconds, name, size=size))
        return connection

    yield send
    for connection in asking:
        connection.close()
    # The next test finds every place free.
    eventually(lambda: service.post("/models/sleeper/predict", {"features": [0]})[0] == 200)


def sleep(seconds: float, name: str = "r", *, size: int = 0) -> bytes:
    body = json.dumps({"features": [seconds]}).encode().ljust(size)
    return request("/models/sleeper/predict", f"X-Request-ID: {name}", body=body)


def take_places(ask: Ask, seconds: float, **where: Any) -> list[socket.socket]:
    """Let the model be busy that long with the first, while the others wait for it in their places."""
    taken = []
    for place in range(PLACES):
        taken.append(ask(0 if place else seconds, **where))
        until_read(taken[-1])
    return taken


def let_others_wait(ask: Ask) -> socket.socket:
    """Let so many wait, and the first of them so long, that whoever comes then is refused at once; return who does."""
    ask(0)
    wait_until_hopeless()
    until_read(*(ask(0) for _ in range(PLACES - 1)))
    return ask(0)


def wait_until_hopeless() -> None:
    """Wait until the first in the queue has used most of its timeout, by the clock of the service's process."""
    time.sleep(HOPELESS_SHARE * PATIENCE_SECONDS + 0.1)


def status(connection: socket.socket) -> int:
    return receive(connection)[0][0]


def is_answered(connection: socket.socket) -> bool:
    """Return whether there is an answer to read now."""
    return bool(select.select([connection], [], [], 0)[0])


def lines_of(service: Service, prefix: str, count: int) -> list[dict[str, Any]]:
    """Return the log lines of `count` requests in the order of their ends."""
    return eventually(
        lambda: (
            (found := [line for line in service.events("request") if line["id"].startswith(prefix)])[count - 1 :]
            and found
        )
    )


def test_request_without_a_slot_gets_the_next_one(service, ask):
    taken = take_places(ask, 1.0)
    waiting = [ask(0, f"wait-{number}") for number in range(5)]
    assert [status(connection) for connection in waiting] == [200] * 5
    assert [status(connection) for connection in taken] == [200] * PLACES
    lines = lines_of(service, "wait-", 5)
    assert min(line["ms"] for line in lines) > 300, "the time in the queue counts"


def test_slots_are_given_in_the_order_of_arrival(service, ask):
    take_places(ask, 0.3)
    waiting = []
    for number in range(6):
        waiting.append(ask(0.02 * (6 - number), f"turn-{number}"))
        until_read(waiting[-1])
    assert [status(connection) for connection in waiting] == [200] * 6
    names = [line["id"] for line in lines_of(service, "turn-", 6)]
    # Two have places at once, and may end in either order.
    assert [abs(int(name[5:]) - place) <= 1 for place, name in enumerate(names)] == [True] * 6


def test_request_that_waited_for_the_timeout_is_refused(service, ask):
    taken = take_places(ask, PATIENCE_SECONDS + 1)
    waiting = ask(0, "late-0")
    ((refused, headers, body),) = receive(waiting)
    assert (refused, headers["retry-after"], json.loads(body)["code"]) == (503, "1", "overloaded")
    assert not is_answered(taken[0]), "the slots are still taken"
    assert lines_of(service, "late-", 1)[0]["ms"] > (PATIENCE_SECONDS - 0.1) * 1000
    assert "connection" not in headers
    assert [status(connection) for connection in taken] == [200] * PLACES
    waiting.sendall(sleep(0))
    assert status(waiting) == 200


def test_long_queue_refuses_another_request_at_once(ask):
    take_places(ask, 0.95 * PATIENCE_SECONDS)
    ask(0)
    wait_until_hopeless()
    waiting = [ask(0) for _ in range(PLACES - 1)]
    until_read(*waiting)
    assert status(ask(0)) == 503
    assert not any(is_answered(connection) for connection in waiting)
    assert [status(connection) for connection in waiting] == [200] * (PLACES - 1), "they go with the next"


def test_slots_of_large_bodies_count_too(ask):
    taken = take_places(ask, 0.5, size=MAX_PARSED_INLINE_BYTES + 1)
    waiting = [ask(0.1) for _ in range(2 * PLACES)]
    assert [status(connection) for connection in (*taken, *waiting)] == [200] * 3 * PLACES


def test_request_refused_by_its_head_does_not_wait(service, ask):
    taken = take_places(ask, 2.0)
    assert service.request("GET", "/models/sleeper/predict", b"x", {})[0] == 405
    assert service.request("POST", "/models/sleeper/predict", b"x", {"Content-Type": "text/plain"})[0] == 415
    assert not is_answered(taken[0])


def test_refused_client_that_returns_at_once_waits(service, ask):
    take_places(ask, 2 * PATIENCE_SECONDS)
    impatient = let_others_wait(ask)
    assert status(impatient) == 503
    impatient.sendall(sleep(0, "again-0"))
    assert status(impatient) == 503
    assert lines_of(service, "again-", 1)[0]["ms"] > (PATIENCE_SECONDS - 0.1) * 1000


def test_refused_client_that_returns_gets_a_free_slot(ask):
    take_places(ask, 0.95 * PATIENCE_SECONDS)
    impatient = let_others_wait(ask)
    assert status(impatient) == 503
    impatient.sendall(sleep(0))
    assert status(impatient) == 200


def test_inline_model_and_health_answer_while_others_wait(service, ask):
    take_places(ask, 1.5)
    waiting = ask(0)
    for _ in range(5):
        assert service.post("/models/quick/predict", BODY)[0] == 200
        assert service.get("/health/ready")[0] == 200
    assert not is_answered(waiting)
    assert status(waiting) == 200


def test_client_that_leaves_the_queue_frees_its_place(service, ask):
    take_places(ask, 0.7)
    for number in range(20):
        ask(PATIENCE_SECONDS, f"gone-{number}").close()
    assert status(ask(0)) == 200
    assert {(line["status"], line["code"]) for line in lines_of(service, "gone-", 20)} == {(499, "client_left")}


@pytest.fixture
def other(service, tmp_path) -> Iterator[Service]:
    """Return another server of the same registry, to be ended."""
    own = {"PORT": "", "MLAPI_VAR": str(tmp_path / "var"), "MODELS_CACHE": str(service.directory / "var/cache")}
    made = Service(tmp_path / "other", **{**service.environment, **own})
    made.environment["PORT"] = str(made.port)
    try:
        yield made.start()
    finally:
        made.kill()


def test_stopping_server_answers_the_queue(ask, other):
    # The model is busy with one after the other; the first of those who wait gets the first's place in time.
    taken = [ask(0.75 * PATIENCE_SECONDS, at=other) for _ in range(PLACES)]
    waiting = []
    for _ in range(PLACES + 1):
        until_read(*taken, *waiting)
        waiting.append(ask(0, at=other))
    until_read(*waiting)
    other.process.terminate()
    statuses = []
    for connection in (*taken, *waiting):
        ((code, headers, _),) = receive(connection)
        assert (headers["connection"], connection.recv(1)) == ("close", b"")
        connection.close()
        statuses.append(code)
    assert statuses == [200] * (PLACES + 1) + [503] * PLACES
    assert other.process.wait(20) == 0
