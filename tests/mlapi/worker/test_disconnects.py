"""Clients that leave, before, amid or after their answer: nothing of theirs stays."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mlapi.worker.wire_requests import LARGE, MAX_IN_FLIGHT, large
from tests.support.waiting import eventually
from tests.support.wire import BODY, receive, request, until_read

pytestmark = pytest.mark.any_database

MANY = 400


def test_answered_and_gone_callers_count_no_more(service, connection):
    bad = request("/models/slow/predict", body=b"{")
    for _ in range(MAX_IN_FLIGHT + 5):
        connection.sendall(bad)
        assert receive(connection)[0][0] == 400
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as leaving:
            leaving.sendall(request("/models/slow/predict"))
    eventually(lambda: _is_served(service), seconds=10)


def _is_served(service) -> bool:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as again:
        again.sendall(request("/models/slow/predict"))
        return receive(again)[0][0] == 200


def test_a_caller_that_leaves_amid_its_body_costs_nothing(service):
    for _ in range(8):
        with socket.create_connection(("127.0.0.1", service.port)) as leaving:
            leaving.sendall(request(body=LARGE)[:50_000])
    eventually(lambda: service.post("/models/slow/predict", LARGE)[0] == 200)


BROKEN = {
    "small": ("/models/slow/predict", "X-A: b", 20),
    "small-quick": ("/models/quick/predict", "X-A: b", 20),
    "small-close": ("/models/slow/predict", "Connection: close", 20),
    "large": ("/models/slow/predict", "X-A: b", 20_000),
    "large-quick": ("/models/quick/predict", "X-A: b", 20_000),
    "large-close": ("/models/slow/predict", "Connection: close", 20_000),
    "large-query": ("/models/slow/predict?x=1", "X-A: b", 20_000),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("how", ["half-closed", "reset"])
def test_truncated_body_is_the_callers_error(service, connection, name, how):
    path, line, length = BROKEN[name]
    said = request(path, line, f"X-Request-ID: {how}-{name}", body=b"{")
    connection.sendall(said.replace(b"Content-Length: 1", f"Content-Length: {length}".encode()))
    until_read(connection)
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    else:
        connection.shutdown(socket.SHUT_WR)
        ((status, _, body),) = receive(connection)
        assert (status, json.loads(body)["code"]) == (400, "incomplete_body")
        assert connection.recv(1) == b""
    (line,) = eventually(lambda: [line for line in service.events("request") if line["id"] == f"{how}-{name}"])
    assert (line["status"], line["code"]) == (400, "incomplete_body")
    assert service.events("unforeseen_error") == []


def test_disconnected_callers_cost_no_thread_and_few_files(service):
    """Many are refused and stay; who needs a thread gets one, and the connections close before reads time out."""
    files = Path(f"/proc/{service.worker_pids()[0]}/fd")
    refused = large("/models/slow/predict").replace(b"application/json", b"text/plain")
    with ExitStack() as stack:
        many = [
            stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=10)) for _ in range(MANY)
        ]
        for number, connection in enumerate(many):
            connection.sendall(refused if number % 2 else b"NONSENSE\r\n\r\n")
        assert {int(connection.recv(20).split()[1]) for connection in many} == {400, 415}
        for path in ("/models/slow/predict", "/models/slow/predict?x=1"):
            assert service.post(path, BODY, seconds=10)[0] == 200
        eventually(lambda: len(list(files.iterdir())) < MANY // 2)
        eventually(lambda: len(list(files.iterdir())) < MANY // 8)


def test_unread_part_of_refused_body_resets_no_connection(connection):
    """A socket that is closed with something unread would be reset, and the answer with it."""
    connection.sendall(large("/models/slow/predict").replace(b"application/json", b"text/plain") + b" " * 19_000)
    assert receive(connection)[0][0] == 415
    assert connection.recv(1) == b""


def test_who_leaves_is_forgotten(service):
    before = service.get("/health")[0]
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(request()[:-5])
    assert before == 200
    eventually(lambda: service.post("/models/slow/predict", BODY)[0] == 200)
