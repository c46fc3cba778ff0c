"""This process's fork server: started for the first task, and again after it has ended."""

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from models_registry.artifacts.sandbox import fork_server

PROGRAM = Path(fork_server.__file__)
START_SECONDS = 60.0
# A killed process is reaped within this time.
END_SECONDS = 10.0
# Modules that most tasks import: the packages of small artifacts, and the tasks themselves. The module onnxruntime is
# not one of them, because it starts a thread.
LIBRARIES = (
    "pandas",
    "onnx",
    "skops.io",
    "sklearn.calibration",
    "sklearn.cluster",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.feature_extraction.text",
    "sklearn.impute",
    "sklearn.linear_model",
    "sklearn.naive_bayes",
    "sklearn.neighbors",
    "sklearn.neural_network",
    "sklearn.pipeline",
    "sklearn.svm",
    "models_registry.artifacts.adversarial",
    "models_registry.artifacts.formats.joblib_inspection",
    "models_registry.artifacts.formats.onnx_inspection",
    "models_registry.artifacts.formats.skops_inspection",
    "models_registry.artifacts.inspection_task",
    "models_registry.artifacts.load_test_task",
    "models_registry.artifacts.sandbox.child",
    "models_registry.artifacts.trial",
)


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """The end of a task's process: its exit status, negative for a signal, None after a timeout."""

    status: int | None


class ForkServer:
    """A handle on the server, for use from any thread.

    Without a task for `idle_seconds` the server ends, and frees its memory.
    """

    def __init__(self, idle_seconds: float = 20.0) -> None:
        """Store the settings; the server starts with the first task."""
        self.idle_seconds = idle_seconds
        self._guard = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._is_unable = False

    def execute(
        self,
        files: tuple[IO[bytes], IO[bytes], IO[bytes]],
        *,
        paths: list[str],
        environment: Mapping[str, str],
        wall_seconds: float,
    ) -> TaskEnd | None:
        """Run the task with `files` (question, answer, errors); return None if no server could be started."""
        for _ in range(2):  # the server may have just ended after its idle time
            own, theirs = socket.socketpair()
            with own:
                with theirs:
                    if not self._send([*(file.fileno() for file in files), theirs.fileno()], paths, environment):
                        return None
                if _line(own, START_SECONDS) != fork_server.STARTED:
                    continue
                status = _line(own, wall_seconds)
                if status is not None:
                    return TaskEnd(int(status or -9))
                own.shutdown(socket.SHUT_WR)
                _line(own, END_SECONDS)
                return TaskEnd(None)
        return None

    def _send(self, files: list[int], paths: list[str], environment: Mapping[str, str]) -> bool:
        with self._guard:
            for _ in range(2):
                if self._owner != os.getpid() or self._control is None:
                    self._start(paths, environment)
                if self._control is None:
                    return False
                try:
                    socket.send_fds(self._control, [b"t"], files)
                except OSError:
                    self._drop()
                else:
                    return True
            return False

    def _start(self, paths: list[str], environment: Mapping[str, str]) -> None:
        if self._is_unable:
            return
        control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # -I ignores the environment's and the user's Python paths, -B writes no bytecode.
                [sys.executable, "-I", "-B", str(PROGRAM), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(environment),
                cwd="/",
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._owner = os.getpid()
        self._control = control
        order = {"paths": paths, "libraries": LIBRARIES, "idle_seconds": self.idle_seconds}
        with suppress(OSError):
            control.sendall(json.dumps(order).encode() + b"\n")
        if _line(control, START_SECONDS) != fork_server.STARTED:
            # Each task has its own process group, as without the server.
            self._is_unable = True
            self._drop()

    def _drop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
        self._control = self._process = None


def _line(source: socket.socket, seconds: float) -> bytes | None:
    """Return the next line, empty at the end; None if it does not arrive within `seconds`."""
    deadline = time.monotonic() + seconds
    found = b""
    while not found.endswith(b"\n"):
        if not select.select([source], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return None
        try:
            piece = source.recv(1)
        except OSError:
            piece = b""
        if not piece:
            return b""
        found += piece
    return found
