"""The worker on the wire: requests in pieces, in a row and at its end, on one connection."""

from __future__ import annotations

import json
import resource
import socket
from contextlib import ExitStack

import pytest

from mlapi.http.worker import MAX_FILES
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.wire import BODY, receive, request, until_read

pytestmark = pytest.mark.any_database


def test_worker_opens_as_many_files_as_allowed(service):
    (pid,) = service.worker_pids()
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    assert soft == (MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES))


@pytest.mark.parametrize("path", ["/models/quick/predict", "/models/slow/predict"])
def test_a_connection_serves_many_requests(connection, path):
    for _ in range(20):
        connection.sendall(request(path))
        ((status, headers, body),) = receive(connection)
        assert status == 200
        assert "connection" not in headers
        assert headers["x-request-id"] == json.loads(body)["request_id"]


def test_routes_of_the_pipeline_and_of_django_take_turns(connection):
    for path in ("/models/quick/predict", "/models/slow/predict", "/admin/", "/models", "/health") * 3:
        body = b"" if path in {"/models", "/health", "/admin/"} else BODY
        connection.sendall(request(path, body=body, method="POST" if body else "GET"))
        assert receive(connection)[0][0] == (302 if path == "/admin/" else 200)


@pytest.mark.parametrize("cut", [1, 20, 60, -1], ids=["method", "head", "headers", "body"])
@pytest.mark.parametrize("path", ["/models/quick/predict", "/models/slow/predict"])
def test_a_request_may_come_in_pieces(connection, path, cut):
    data = request(path)
    for _ in range(2):
        connection.sendall(data[:cut])
        until_read(connection)
        connection.sendall(data[cut:])
        assert receive(connection)[0][0] == 200


@pytest.mark.parametrize("path", ["/models/quick/predict", "/models/slow/predict"])
def test_requests_may_come_before_the_answers_are_taken(connection, path):
    connection.sendall(b"".join(request(path, f"X-Request-ID: r{number}") for number in range(10)))
    answers = receive(connection, 10)
    assert [headers["x-request-id"] for _, headers, _ in answers] == [f"r{number}" for number in range(10)]


@pytest.mark.parametrize("path", ["/models/quick/predict", "/models/slow/predict"])
def test_connection_closes_on_the_callers_request(connection, path):
    connection.sendall(request(path, "Connection: close"))
    ((status, headers, _),) = receive(connection)
    assert (status, headers["connection"]) == (200, "close")
    assert connection.recv(1) == b""


def test_expected_100_continue_is_sent_for_the_body(connection):
    data = request("/models/quick/predict", "Expect: 100-continue")
    head, _, body = data.partition(b"\r\n\r\n")
    connection.sendall(head + b"\r\n\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")
    connection.sendall(body)
    assert receive(connection)[0][0] == 200


def test_nonsense_is_refused_and_hung_up_on(connection):
    connection.sendall(b"NONSENSE\r\n\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_half_a_head_is_no_request(service, connection):
    connection.sendall(request()[:20])
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(1) == b""


def test_a_slow_caller_is_answered_in_the_end(service):
    data = request("/models/slow/predict")
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        for place in range(len(data)):
            connection.sendall(data[place : place + 1])
        assert receive(connection)[0][0] == 200


def test_the_end_answers_what_is_under_way(service, tmp_path):
    other = Service(tmp_path / "other", **{**service.environment, "PORT": "", "MLAPI_VAR": str(tmp_path / "var")})
    other.environment["PORT"] = str(other.port)
    try:
        other.start()
        with ExitStack() as stack:
            connection, slow, slower, silent = (
                stack.enter_context(socket.create_connection(("127.0.0.1", other.port), timeout=10)) for _ in range(4)
            )
            connection.sendall(request())
            slow.sendall(request()[:10])
            assert receive(connection)[0][0] == 200
            assert other.process is not None
            other.process.terminate()
            eventually(lambda: "Shutting down" in other.log())
            slower.sendall(request()[:10])
            connection.sendall(request())
            ((status, headers, _),) = receive(connection)
            assert (status, headers["connection"]) == (200, "close")
            assert other.stop() == 0
            assert "timeout graceful shutdown exceeded" not in other.log(), f"{silent} and {slow} ask for nothing"
    finally:
        other.kill()


def test_every_request_has_its_line(service):
    ids = {f"line-{number}" for number in range(20)}
    for number, request_id in enumerate(sorted(ids)):
        path = ("/models/quick/predict", "/models/slow/predict")[number % 2]
        assert service.post(path, BODY, **{"X-Request-ID": request_id})[0] == 200
    eventually(lambda: ids <= {event["id"] for event in service.events("request")})
