"""The container's health check against a server that lives and is not ready."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[2] / "docker/healthcheck.py"


class Starting(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/live" else 503)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        del format, arguments


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Starting)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("path", "status"), [((), 0), (("/health/live",), 0), (("/health",), 1)])
def test_health_check_asks_the_path_it_is_given(port: int, path: tuple[str, ...], status: int) -> None:
    done = subprocess.run([sys.executable, CHECK, *path], env={"PORT": str(port)}, check=False, timeout=30)
    assert done.returncode == status
