"""Bodies on the wire: large, compressed, in chunks, and refused before they are read."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mlapi.worker.wire_requests import LARGE, TOKEN
from tests.support.estimators import forest, save
from tests.support.wire import BODY, receive, request

pytestmark = pytest.mark.any_database


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
