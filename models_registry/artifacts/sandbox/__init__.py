"""Runs a task on an artifact in its own process, with limits: inspection, load test, compilation.

A task is a module with `run(question, answer)`, which returns a report as JSON values. The task affects nothing else: a
crash, a hang or too much memory becomes an `Outcome`.
"""

import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from models_registry.artifacts.sandbox.forking import ForkServer

CHILD = Path(__file__).with_name("child.py")
MAX_REPORT_BYTES = 32 << 20
_SHOWN_ERROR_BYTES = 4_096
CRASH_ADVICE = "The artifact is damaged, crafted, or needs other versions; publish it again from its training script."


class FailureAdvice(NamedTuple):
    """The next steps after a task that reached its limit of time or memory, or crashed.

    `slow_cpu` is the step after the limit of CPU time, if another setting than for `slow` sets it.
    """

    slow: str
    large: str
    crash: str
    slow_cpu: str = ""


OF_MODELS = FailureAdvice(
    "Publish a faster model, or raise MODELS_CHECK_SECONDS.",
    "Publish a smaller model, or give the task more memory.",
    CRASH_ADVICE,
)
_SMALLER_TABLE = "Use a table with fewer rows or columns."
OF_TABLES = FailureAdvice(_SMALLER_TABLE, _SMALLER_TABLE, "The file is damaged or crafted; write it again.")
_LIMIT_SIGNALS = (signal.SIGXCPU, signal.SIGKILL)
# The process gets no other environment variables of the parent, so no credentials.
_KEPT_ENVIRONMENT = ("LANG", "LC_ALL", "LOCPATH", "TZ", "LD_LIBRARY_PATH")
_THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

# Importing the libraries takes seconds of CPU time, which the fork server saves for every task.
server = ForkServer()


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """The limits of a task; `memory_bytes` is in addition to the process's memory when the limits start."""

    memory_bytes: int
    cpu_seconds: float
    wall_seconds: float
    file_size_bytes: int = MAX_REPORT_BYTES
    # The `nice` value of a task, so that serving has priority.
    niceness: int = 10


def file_size_for(artifact: Path) -> int:
    """Return the size limit of files that a task on `artifact` may write: its report, or an in-memory part."""
    return max(MAX_REPORT_BYTES, artifact.stat().st_size)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a task, and its result.

    `status` is the exit status, negative for a signal, None after a timeout. `stage` is the last stage. `report` is the
    result of a task that finished. `errors` is the end of its error output, and `warnings` are its warnings.
    """

    status: int | None
    stage: str
    report: Mapping[str, Any] | None
    errors: str
    warnings: tuple[str, ...] = ()

    @property
    def is_crash(self) -> bool:
        """Whether a signal ended the process that no limit sends."""
        return self.status is not None and self.status < 0 and -self.status not in _LIMIT_SIGNALS

    @property
    def signal_name(self) -> str:
        """The name of the signal that ended the process."""
        number = -(self.status or 0)
        return signal.Signals(number).name if number in set(signal.Signals) else "unknown"


def run(task: str, question: Mapping[str, Any], limits: SandboxLimits, *, writable: Path | None = None) -> Outcome:
    """Run the module `task` and return its outcome; no artifact can make this raise or this process grow.

    The task may write files only below `writable`.
    """
    whole = {
        "paths": _paths(),
        "task": task,
        "question": dict(question),
        "memory_bytes": limits.memory_bytes,
        "cpu_seconds": max(1, math.ceil(limits.cpu_seconds)),
        "file_size_bytes": limits.file_size_bytes,
        "niceness": limits.niceness,
        "writable": None if writable is None else str(writable.absolute()),
    }
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as errors:
        asked.write(json.dumps(whole).encode())
        asked.seek(0)
        status = _execute(task, asked, answer, errors, wall_seconds=limits.wall_seconds)
        stage, entry = _read_answer(answer)
        report = entry.get("report")
        return Outcome(
            status,
            stage,
            report if isinstance(report, dict) else None,
            _tail(errors),
            tuple(map(str, entry.get("warnings") or ())),
        )


def _paths() -> list[str]:
    return [entry for entry in sys.path if Path(entry).is_absolute()] + [str(CHILD.parents[3])]


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    return {**kept, **dict.fromkeys(_THREAD_COUNTS, "1"), "HOME": "/nonexistent", "PYTHONHASHSEED": "0"}


def _execute(
    task: str, question: IO[bytes], answer: IO[bytes], errors: IO[bytes], *, wall_seconds: float
) -> int | None:
    """Return the process's exit status, or None if it was killed after its timeout."""
    environment = _environment()
    forked = server.execute(
        (question, answer, errors), paths=_paths(), environment=environment, wall_seconds=wall_seconds
    )
    if forked is not None:
        return forked.status
    process = subprocess.Popen(
        # -I ignores the environment's and the user's Python paths, -B writes no bytecode.
        [sys.executable, "-I", "-B", str(CHILD), task.replace(".", "/") + ".py"],
        stdin=question,
        stdout=answer,
        # To the disk, not into this process's memory: an artifact's output has no limit.
        stderr=errors,
        env=environment,
        cwd="/",
        # Its own process group, so that its children end with it.
        start_new_session=True,
    )
    with process:
        ended = _wait(process, wall_seconds)
        # Kill the whole group. The process is not reaped yet, so its id cannot belong to another process.
        os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
    return status if ended else None


def _wait(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Return whether the process ends within `seconds`; it is left unreaped."""
    handle = os.pidfd_open(process.pid)
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def _read_answer(answer: IO[bytes]) -> tuple[str, Mapping[str, Any]]:
    """Return the last stage of the task, and the line with its report if it wrote one."""
    answer.seek(0)
    stage = "while it started"
    last: Mapping[str, Any] = {}
    for line in answer.read(MAX_REPORT_BYTES).splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            # The line was incomplete when the process ended.
            continue
        if isinstance(entry, dict):
            stage = str(entry.get("stage", stage))[:100]
            last = entry if "report" in entry else last
    return stage, last


def _tail(errors: IO[bytes]) -> str:
    end = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, end - _SHOWN_ERROR_BYTES))
    return errors.read(_SHOWN_ERROR_BYTES).decode("utf-8", "replace").strip()


def describe_failure(outcome: Outcome, limits: SandboxLimits, *, what: str, advice: FailureAdvice = OF_MODELS) -> str:
    """Return sentences for an outcome without a report: the limit that was reached, and the next step.

    `what` is the subject, e.g. "The load test".
    """
    status, stage = outcome.status, outcome.stage
    if status is None:
        return f"{what} timed out: it was still busy after {limits.wall_seconds:g} s, {stage}. {advice.slow}"
    if status >= 0:
        return f"{what} ended with status {status}, {stage}. {outcome.errors[-600:]}".strip()
    named = f"signal {-status} ({outcome.signal_name})"
    if -status == signal.SIGXCPU:
        return (
            f"{what} was ended by {named}: it took more than {limits.cpu_seconds:g} s of CPU time, {stage}. "
            f"{advice.slow_cpu or advice.slow}"
        )
    if -status == signal.SIGKILL:
        return f"{what} was ended by {named}, {stage}, probably because this machine ran out of memory. {advice.large}"
    return f"{what} crashed with {named}, {stage}. {advice.crash}"
