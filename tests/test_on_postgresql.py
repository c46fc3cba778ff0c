"""The tests on PostgreSQL leave nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil

from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[1]
REPORT = (
    "import json, os, time; print(json.dumps([os.getpid(), os.environ['DATABASE_URL']]), flush=True); time.sleep(900)"
)


def test_ended_run_stops_its_command_and_its_server():
    words = [sys.executable, "-m", "tests.on_postgresql", sys.executable, "-c", REPORT]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid, url = json.loads(process.stdout.readline())
        (directory,) = parse_qs(urlsplit(url).query)["host"]
        (server, *_) = (Path(directory) / "postmaster.pid").read_text().splitlines()
        process.terminate()
        assert process.wait() != 0
    assert not psutil.pid_exists(pid)
    assert not Path(directory).exists()
    eventually(lambda: not psutil.pid_exists(int(server)))
