"""A worker that cannot start: the first ends the server with its reason, a later one costs nobody else anything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.service import free_port
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
APPLICATION = """
import asyncio, os
from pathlib import Path

if Path("broken").exists():
    raise RuntimeError("the disk is gone")


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        for _ in range(2):
            message = await receive()
            await send({"type": message["type"] + ".complete"})
        return
    if scope["path"] == "/until-ports-stop":
        Path("begun").write_text("")
        await asyncio.wait_for(ports_have_stopped.wait(), 20)
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


ports_have_stopped = asyncio.Event()


async def stop_ports():
    ports_have_stopped.set()


application.stop_ports = stop_ports
"""


@pytest.fixture
def start(tmp_path):
    (tmp_path / "answers.py").write_text(APPLICATION)
    started = []

    def begin(port: int) -> subprocess.Popen[bytes]:
        (tmp_path / "empty.py").write_text("")
        options = ["-c", "empty.py", "--worker-class", "mlapi.http.worker.ServingWorker", "-w", "2"]
        command = [sys.executable, "-m", "gunicorn", *options, "-b", f"127.0.0.1:{port}", "answers:application"]
        log = (tmp_path / "log").open("w")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def ask(port: int, path: str = "/") -> int | None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return int(connection.getresponse().read())
    except OSError:
        return None
    finally:
        connection.close()


def test_a_worker_that_cannot_start_ends_no_other(start, tmp_path):
    port = free_port()
    server = start(port)
    first = eventually(lambda: ask(port))
    others = eventually(lambda: {ask(port) for _ in range(40)} - {first, None})
    (tmp_path / "broken").write_text("")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: "the disk is gone" in (tmp_path / "log").read_text())
    for _ in range(20):
        assert ask(port) in others
    assert server.poll() is None
    (tmp_path / "broken").unlink()
    eventually(lambda: len({ask(port) for _ in range(40)} - {None}) == 2, seconds=20)


def test_a_first_worker_that_cannot_start_ends_the_server(start, tmp_path):
    (tmp_path / "broken").write_text("")
    server = start(free_port())
    assert server.wait(timeout=30) != 0
    assert "the disk is gone" in (tmp_path / "log").read_text()


def test_other_ports_stop_while_requests_finish(start, tmp_path):
    port = free_port()
    server = start(port)
    eventually(lambda: ask(port))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, port, "/until-ports-stop")
        eventually((tmp_path / "begun").exists)
        server.terminate()
        assert answer.result() is not None
    assert server.wait(timeout=30) == 0


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_workers_end_in_order_on_each_signal(start, tmp_path, sent):
    server, log = start(free_port()), tmp_path / "log"
    eventually(lambda: log.read_text().count("Application startup complete") == 2)
    server.send_signal(sent)
    assert server.wait(timeout=60) == 0
    assert log.read_text().count("Finished server process") == 2


def test_workers_end_with_a_master_that_is_killed(start):
    port = free_port()
    server = start(port)
    first = eventually(lambda: ask(port))
    server.kill()
    server.wait()
    eventually(lambda: not Path(f"/proc/{first}").exists())
    eventually(lambda: ask(port) is None)
