"""A process that imports the libraries, loads no artifact, and forks one process for each task.

It is run by its path, with a socket as argument. The first message lists the imports. Each further message has the
files of one task: question, answer, errors, and the socket for its status. It ends with its parent, or after an idle
time. It never reads untrusted data, so that no task can affect the state of later forks.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STARTED = b"started\n"
FILES = 4
# jemalloc, which some libraries contain, stops its threads during a fork.
SAFE_THREADS = {"jemalloc_bg_thd"}


@dataclass(frozen=True, slots=True)
class Task:
    """A forked process, and the socket to which its exit is reported."""

    pid: int
    handle: int
    status: socket.socket

    def kill(self) -> None:
        """Kill the process and its children; it is reaped later, so its id still belongs to it."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def tell_end(self) -> None:
        """Reap the process and report its status."""
        self.kill()
        _, status = os.waitpid(self.pid, 0)
        os.close(self.handle)
        with suppress(OSError):
            self.status.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        self.status.close()


def serve(control: socket.socket, idle_seconds: float) -> None:
    """Fork for each message, until the parent ends or `idle_seconds` pass without a message."""
    tasks: dict[int, Task] = {}
    while True:
        waits: list[Any] = [
            control,
            *(task.handle for task in tasks.values()),
            *(task.status for task in tasks.values()),
        ]
        ready, _, _ = select.select(waits, [], [], None if tasks else idle_seconds)
        if not ready:
            return
        for task in list(tasks.values()):
            if task.handle in ready:
                tasks.pop(task.pid).tell_end()
            elif task.status in ready:
                task.kill()  # its time is up, or its caller is gone
        if control in ready:
            _, files, _, _ = socket.recv_fds(control, 1, FILES)
            if len(files) < FILES:
                for task in tasks.values():
                    task.kill()
                return
            task = fork(control, files)
            tasks[task.pid] = task


def fork(control: socket.socket, files: list[int]) -> Task:
    """Start a process for the task whose question is in the first of `files`."""
    pid = os.fork()
    if pid == 0:
        try:
            become_task(files)
        except BaseException:  # noqa: BLE001 - it must not go on as a second server
            traceback.print_exc()
        finally:
            os._exit(1)
    status = socket.socket(fileno=files[3])
    for file in files[:3]:
        os.close(file)
    with suppress(OSError):
        status.sendall(STARTED)
    return Task(pid, os.pidfd_open(pid), status)


def become_task(files: list[int]) -> None:
    """Run the task in this process, which was just forked."""
    # Its own process group, so that its children end with it.
    os.setsid()
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    from models_registry.artifacts.sandbox import child

    child.main()


def main() -> None:
    """Import the modules in the first message, then serve."""
    control = socket.socket(fileno=int(sys.argv[1]))
    with control.makefile("r") as lines:
        order = json.loads(lines.readline())
    sys.path[:] = list(dict.fromkeys([*sys.path, *order["paths"]]))
    for name in order["libraries"]:
        # The tasks that need a missing module report it.
        with suppress(ImportError):
            importlib.import_module(name)
    if _thread_count() > 1:
        raise SystemExit("A library started a thread, and a process with threads must not fork.")
    # Freeze the existing objects: a garbage collection in a task then does not touch, and so copy, their pages.
    gc.collect()
    gc.freeze()
    control.sendall(STARTED)
    serve(control, order["idle_seconds"])


def _thread_count() -> int:
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return sum(name not in SAFE_THREADS for name in names)


if __name__ == "__main__":
    main()
