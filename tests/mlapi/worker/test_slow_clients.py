"""Clients that send or read slowly: they occupy no thread and no slot, and reads time out."""

from __future__ import annotations

import json
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.mlapi.worker.wire_requests import MAX_IN_FLIGHT, THREADS, TOKEN, large
from tests.support.waiting import eventually
from tests.support.wire import BODY, receive, request, until_read

pytestmark = pytest.mark.any_database

HALVES = {
    "nothing": b"",
    "half a head": request()[:10],
    "half a body": request()[:-1],
    "half a body, to be closed": request("/models/slow/predict", "Connection: close")[:-1],
    "half a body, to a query": request("/models/slow/predict?x=1")[:-1],
    "half a body, to a page": request("/admin/")[:-1],
    "a large body": large(),
    "a large body, to be closed": large("/models/slow/predict", "Connection: close"),
    "a large body, to a query": large("/models/slow/predict?x=1"),
    "a large body, for the quick": large("/models/quick/predict"),
    "a body that is to be asked for": request("/models/slow/predict", "Expect: 100-continue")[: -len(BODY)],
    "half a chunk, to a page": request("/models?x=1", "Transfer-Encoding: chunked", body=b"").replace(
        b"Content-Length: 0\r\n", b""
    )
    + b"9\r\na",
    "half a request behind another": request("/models?x=1", body=b"", method="GET") + large(),
}


@pytest.mark.parametrize("said", HALVES.values(), ids=HALVES.keys())
def test_slow_callers_keep_nobody_waiting(service, said):
    """Twice as many as there are threads never end what they say; who needs a thread still gets one."""
    slow = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(2 * THREADS)]
    try:
        for connection in slow:
            connection.sendall(said)
        until_read(*slow)
        for path in ("/health", "/health/ready", "/metrics", "/models", "/admin/"):
            assert service.request("GET", path, None, {}, seconds=10)[0] == (302 if path == "/admin/" else 200)
        for path in ("/models/quick/predict", "/models/slow/predict", "/models/slow/predict?x=1"):
            assert service.post(path, BODY, seconds=10)[0] == 200
            assert service.post(path, BODY, seconds=10, Connection="close")[0] == 200
    finally:
        for connection in slow:
            connection.close()


NAMED = "X-Request-ID: {}".format
TOO_SLOW = {
    "half a head": (request()[:10], b""),
    "half-a-body": (request("/models/slow/predict", NAMED("half-a-body"))[:-1], b""),
    "to-be-closed": (request("/models/slow/predict", "Connection: close", NAMED("to-be-closed"))[:-1], b""),
    "to-a-query": (request("/models/slow/predict?x=1", NAMED("to-a-query"))[:-1], b""),
    "large": (large("/models/slow/predict", NAMED("large")), b""),
    "large-trickle": (large("/models/slow/predict", NAMED("large-trickle")), b" "),
    "large-query": (large("/models/slow/predict?x=1", NAMED("large-query")), b" "),
    "to-the-registry": (
        large("/api/models/quick/activate", f"Authorization: Token {TOKEN}", NAMED("to-the-registry")),
        b"",
    ),
    "large-quick": (large("/models/quick/predict", "Connection: close", NAMED("large-quick")), b" "),
}


@pytest.fixture(scope="module")
def late_answers(service) -> dict[str, tuple[int, dict[str, str], bytes]]:
    """Return how callers are answered that are too slow, all at once."""
    answers = {}

    def ask(name: str, connection: socket.socket) -> None:
        said, more = TOO_SLOW[name]
        connection.sendall(said)
        while not select.select([connection], [], [], 2)[0]:
            connection.sendall(more)
        (answers[name],) = receive(connection)
        assert connection.recv(1) == b""

    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(len(TOO_SLOW)))
        asked = [
            pool.submit(ask, name, stack.enter_context(socket.create_connection(("127.0.0.1", service.port), 60)))
            for name in TOO_SLOW
        ]
        for future in asked:
            future.result()
    return answers


@pytest.mark.parametrize("name", TOO_SLOW)
def test_slow_caller_gets_a_408_and_is_disconnected(late_answers, service, name):
    status, headers, body = late_answers[name]
    assert (status, headers["connection"], json.loads(body)["code"]) == (408, "close", "request_timeout")
    if "-" in name:
        (line,) = eventually(lambda: [line for line in service.events("request") if line["id"] == name])
        assert (line["status"], line.get("code", "request_timeout")) == (408, "request_timeout")


def test_slow_caller_is_no_failure_of_the_service(late_answers, service):
    assert service.events("unforeseen_error") == []
    assert not [line for line in service.log().splitlines() if "Traceback" in line]
    counted = eventually(lambda: service.get("/metrics")[1].decode())
    assert 'outcome="refused"' in counted
    assert 'outcome="failed"' not in counted


MANY_ROWS = json.dumps({"instances": [[0, 0, 0, 0]] * 1_200, "probabilities": True}, separators=(",", ":")).encode()


@pytest.mark.parametrize("path", ["/models/slow/predict", "/models/slow/predict?x=1"])
def test_non_reading_caller_takes_no_thread_or_slot(service, path):
    with ExitStack() as stack:
        many = [stack.enter_context(socket.socket()) for _ in range(MAX_IN_FLIGHT + THREADS)]
        for connection in many:
            # Small segments, since the kernel keeps as much as some of them for a caller.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            connection.settimeout(60)  # the kernel tries ever more seldom to send to who has no room
            connection.connect(("127.0.0.1", service.port))
            connection.sendall(request(path, body=MANY_ROWS))
            select.select([connection], [], [], 1)
        for other in ("/models/slow/predict", "/models/slow/predict?x=1"):
            assert service.post(other, BODY, seconds=3)[0] == 200
        for connection in many[1:]:
            connection.close()
        ((status, _, body),) = receive(many[0])
        assert (status, len(json.loads(body)["predictions"])) == (200, 1_200)
        many[0].sendall(request(path))
        assert receive(many[0])[0][0] == 200


def test_non_reading_caller_finally_gets_the_whole_answer(service):
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", service.port))
        connection.settimeout(20)
        count = 0
        connection.setblocking(False)
        try:
            while count < 2000:
                sent = connection.send(request())
                if sent != len(request()):
                    break
                count += 1
                # The server reads many times, not once.
                time.sleep(0.0005)
        except BlockingIOError:
            pass
        assert service.get("/health")[0] == 200, "a client that reads nothing blocks no other"
        connection.settimeout(20)
        assert {status for status, _, _ in receive(connection, count)} == {200}
