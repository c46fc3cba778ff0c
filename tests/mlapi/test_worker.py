"""The worker on the wire: every way to send a request gets its answer."""

from __future__ import annotations

import gzip
import http.client
import json
import resource
import select
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from mlapi.http.worker import MAX_FILES
from tests.support.databases import execute
from tests.support.estimators import forest, save
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.wire import BODY, receive, request

pytestmark = pytest.mark.any_database

THREADS = 4
MAX_IN_FLIGHT = 30
MANY = 400
TOKEN = "a" * 40
A_PROGRAM = f"""
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token
Token.objects.create(user=User.objects.create_superuser("program"), key="{TOKEN}")
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("worker")
    made = Service(
        directory, WEB_THREADS=str(THREADS), MLAPI_MAX_IN_FLIGHT=str(MAX_IN_FLIGHT), MODELS_ACCELERATION="on"
    )
    artifact = save(forest(seed=1, trees=5), directory / "model.joblib", rows=[[0, 0, 0, 0]])
    made.manage_all(*(["publish_model", name, artifact, "--activate"] for name in ("quick", "slow")))
    execute(
        made.environment["DATABASE_URL"],
        "UPDATE models_registry_registeredmodel SET acceleration = FALSE WHERE name = 'slow'",
    )
    made.manage("shell", "--command", A_PROGRAM)
    try:
        made.start()
        forms = {name: made.get(f"/models/{name}")[1]["runs"]["form"] for name in ("quick", "slow")}
        assert forms == {"quick": "compiled", "slow": "native"}
        yield made
    finally:
        made.kill()


@pytest.fixture
def connection(service) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as made:
        yield made


def test_worker_opens_as_many_files_as_allowed(service):
    (pid,) = service.worker_pids()
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    assert soft == (MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES))


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
        time.sleep(0.05)
        connection.sendall(data[cut:])
        assert receive(connection)[0][0] == 200


LARGE = json.dumps({"instances": [[0, 0, 0, 0]] * 100_000}).encode()


@pytest.mark.parametrize("path", ["/models/quick/predict", "/models/slow/predict"])
def test_large_bodies_and_small_take_turns(connection, path):
    for _ in range(2):
        connection.sendall(request(path, body=LARGE))
        ((status, _, body),) = receive(connection)
        assert (status, len(json.loads(body)["predictions"])) == (200, 100_000)
        connection.sendall(request(path))
        assert receive(connection)[0][0] == 200


def test_a_body_that_is_refused_is_not_waited_for(connection):
    head = request(body=b"").replace(b"Content-Length: 0", b"Content-Length: 99000000")
    connection.sendall(head + b"[")
    ((status, headers, body),) = receive(connection)
    assert (status, headers["connection"], json.loads(body)["code"]) == (413, "close", "body_too_large")
    assert connection.recv(1) == b""


def test_a_caller_that_leaves_amid_its_body_costs_nothing(service):
    for _ in range(8):
        with socket.create_connection(("127.0.0.1", service.port)) as leaving:
            leaving.sendall(request(body=LARGE)[:50_000])
    eventually(lambda: service.post("/models/slow/predict", LARGE)[0] == 200)


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


def large(path: str = "/models/slow/predict", *lines: str) -> bytes:
    """Return a request for the slow model of which all but one byte of a large body is to come."""
    return request(path, *lines, body=b"{").replace(b"Content-Length: 1", b"Content-Length: 20000")


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
        time.sleep(0.2)
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
    time.sleep(0.1)
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
    """Many are refused and stay; who needs a thread gets one, and the connections are closed before long."""
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
        eventually(lambda: len(list(files.iterdir())) < MANY // 2, seconds=2)
        eventually(lambda: len(list(files.iterdir())) < MANY // 8, seconds=5)


def test_unread_part_of_refused_body_resets_no_connection(connection):
    """A socket that is closed with something unread would be reset, and the answer with it."""
    connection.sendall(large("/models/slow/predict").replace(b"application/json", b"text/plain") + b" " * 19_000)
    assert receive(connection)[0][0] == 415
    assert connection.recv(1) == b""


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


def test_who_leaves_is_forgotten(service):
    before = service.get("/health")[0]
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(request()[:-5])
    assert before == 200
    eventually(lambda: service.post("/models/slow/predict", BODY)[0] == 200)


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
                time.sleep(0.0005)
        except BlockingIOError:
            pass
        assert service.get("/health")[0] == 200, "who reads nothing blocks nobody"
        connection.settimeout(20)
        assert {status for status, _, _ in receive(connection, count)} == {200}


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
            time.sleep(0.3)
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


def _peak_mb(pid: int) -> float:
    """Return the most memory that a process has occupied since its peak was reset, in MB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


def test_small_compressed_bodies_do_not_fill_the_memory(service):
    (pid,) = service.worker_pids()
    bomb = gzip.compress(b" " * 31_000_000)
    assert len(bomb) < 40_000
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    before = _peak_mb(pid)
    with ExitStack() as stack:
        many = [stack.enter_context(socket.create_connection(("127.0.0.1", service.port), 60)) for _ in range(140)]
        for connection in many:
            connection.sendall(request("/models/slow/predict", "Content-Encoding: gzip", body=bomb))
        assert {receive(connection)[0][0] for connection in many} <= {400, 503}
    assert _peak_mb(pid) - before < 300
    assert service.post("/models/slow/predict", BODY)[0] == 200


def test_an_artifact_may_be_uploaded_in_chunks(service, tmp_path):
    artifact = save(forest(seed=2, trees=300), tmp_path / "model.joblib")
    content = artifact.read_bytes()
    assert len(content) > 100_000
    about = b'Content-Disposition: form-data; name="artifact"; filename="model.joblib"'
    form = b"--b\r\n" + about + b"\r\n\r\n" + content + b"\r\n--b--\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Authorization": f"Token {TOKEN}"}
    pieces = [form[start : start + 50_000] for start in range(0, len(form), 50_000)]
    connection.request("POST", "/api/models/uploaded/versions", iter(pieces), headers, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["size_bytes"]) == (201, len(content))
    connection.close()


def test_an_upload_without_a_token_is_refused_unread(connection):
    kind = "Content-Type: multipart/form-data; boundary=b"
    head = request("/api/models/m/versions", kind, body=b"{").replace(b"Content-Type: application/json\r\n", b"")
    connection.sendall(head.replace(b"Content-Length: 1", b"Content-Length: 90000000"))
    ((status, headers, _),) = receive(connection)
    assert (status, headers["connection"]) == (401, "close")
