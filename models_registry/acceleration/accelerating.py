"""The worker's side of compiling: find it done, or have it done in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from models_registry.acceleration import cache
from models_registry.acceleration.report import (
    AccelerationReport,
    AccelerationRequest,
    Limits,
    native,
)

CHILD = "models_registry.acceleration.compile_child"
ROOT = Path(__file__).resolve().parents[2]
# What numeric libraries read when they are loaded; nothing of the service's own (keys, addresses) is handed on.
PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ERRORS_FILE = "errors.txt"
READ_ERROR_BYTES = 4_096
SHOWN_ERROR = 300


def accelerate(request: AccelerationRequest, cache_dir: Path, *, limits: Limits | None = None) -> AccelerationReport:
    """Return the verdict on an artifact, compiling it where no process of this machine has done so yet.

    Never raises for what the artifact or the compiler does: a crash, too much time or too much memory is a
    native verdict with its reason. Workers that ask at the same time wait for the one that compiles.
    """
    if request.format == "onnx":
        return native("the artifact is an ONNX model already, which onnxruntime runs as it is")
    if any(feature.type == "datetime" for feature in request.signature.inputs):
        return native("it takes times, which the compiled form does not")
    limits = limits or Limits()
    versions = cache.compiler_versions()
    directory = cache_dir / cache.key_of(request, versions)
    found = cache.find(directory)
    if found is not None:
        return found
    with cache.lock(directory, deadline=time.monotonic() + limits.wall_seconds + 10) as has_lock:
        found = cache.find(directory)
        if found is not None:
            return found
        if not has_lock:
            return native("another process of this machine is still compiling it", is_final=False)
        return _compile(request, directory, versions, limits)


def _compile(
    request: AccelerationRequest, directory: Path, versions: dict[str, str], limits: Limits
) -> AccelerationReport:
    with cache.workshop(directory) as built:
        failure = _run_child(request, built, versions, limits)
        if failure is not None or cache.find(built) is None:
            report = native(failure or "the compiler left no verdict", is_final=False, versions=versions)
            cache.write_report(built, report)
        cache.land(built, directory)
    return cache.find(directory) or native("the compiled form was gone as soon as it was built", is_final=False)


def _run_child(request: AccelerationRequest, built: Path, versions: dict[str, str], limits: Limits) -> str | None:
    """Compile into `built` in an exec'd process; return why that failed, or None."""
    question = {
        "request": request.to_json(),
        "directory": str(built),
        "versions": versions,
        "memory_bytes": limits.memory_bytes,
        "cpu_seconds": limits.cpu_seconds,
    }
    errors = built / ERRORS_FILE
    with errors.open("wb") as handle:
        process = subprocess.Popen(
            [sys.executable, "-m", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            # To the disk, not into this worker's memory: what an artifact's code prints has no bound.
            stderr=handle,
            cwd=ROOT,
            env=_environment(),
            # A group of its own, so that what the child starts ends with it.
            start_new_session=True,
        )
        try:
            process.communicate(json.dumps(question).encode(), timeout=limits.wall_seconds)
        except subprocess.TimeoutExpired:
            return f"compiling took longer than the {limits.wall_seconds:g} s allowed"
        finally:
            _end(process)
    last = _last_line(errors)
    errors.unlink()
    if process.returncode == 0:
        return None
    if process.returncode < 0:
        return f"the compiler was ended by {signal.Signals(-process.returncode).name}"
    return f"the compiler failed: {last}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child and whatever it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        # It has ended by itself, and so has all of its group.
        return
    finally:
        process.wait()


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return passed | dict.fromkeys(ONE_THREAD, "1") | {"PYTHONDONTWRITEBYTECODE": "1"}


def _last_line(errors: Path) -> str:
    with errors.open("rb") as handle:
        handle.seek(max(0, errors.stat().st_size - READ_ERROR_BYTES))
        lines = handle.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:SHOWN_ERROR] if lines else "it said nothing"
