"""Worker side of compilation: uses a finished compiled form, or compiles in its own process."""

from __future__ import annotations

import time
from pathlib import Path

from models_registry.artifacts import sandbox
from models_registry.compilation import cache
from models_registry.compilation.report import (
    AccelerationReport,
    AccelerationRequest,
    Limits,
    native,
)

TASK = "models_registry.compilation.compile_task"
# A compiled form is at most a few times the artifact's size; this limit stops a runaway process.
FILE_BYTES = 4 * 1024**3
SHOWN_ERROR = 300
# Above this number of features, the verification takes too long.
MAX_FEATURES = 20_000


def accelerate(request: AccelerationRequest, cache_dir: Path, *, limits: Limits | None = None) -> AccelerationReport:
    """Return the verdict on an artifact; compile it if no process of this machine has done so.

    Never raises because of the artifact or the compiler. A crash, or too much time or memory, becomes a native verdict
    with a reason. If one worker compiles the artifact, other workers wait for its verdict.
    """
    if request.format == "onnx":
        return native("the artifact is already an ONNX model, which onnxruntime runs unchanged")
    if any(feature.type == "datetime" for feature in request.schema.inputs):
        return native("the model takes datetimes, which have no compiled form")
    if len(request.schema.inputs) > MAX_FEATURES:
        return native(f"the model takes {len(request.schema.inputs)} features; at most {MAX_FEATURES} are compiled")
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
    with cache.build_dir(directory) as built:
        failure = _run_child(request, built, versions, limits)
        if failure is not None or cache.find(built) is None:
            report = native(failure or "the compiler left no verdict", is_final=False, versions=versions)
            cache.write_report(built, report)
        cache.publish(built, directory)
    return cache.find(directory) or native("the compiled form disappeared from the cache", is_final=False)


def _run_child(request: AccelerationRequest, built: Path, versions: dict[str, str], limits: Limits) -> str | None:
    """Compile into `built` in the sandbox; return the reason of a failure, or None."""
    question = {
        "request": request.to_json() | {"artifact": str(request.artifact.absolute())},
        "directory": str(built.absolute()),
        "versions": versions,
    }
    allowed = sandbox.SandboxLimits(
        memory_bytes=limits.memory_bytes,
        cpu_seconds=limits.cpu_seconds,
        wall_seconds=limits.wall_seconds,
        file_size_bytes=FILE_BYTES,
        # A worker waits for the result, and measures both forms with it.
        niceness=0,
    )
    outcome = sandbox.run(TASK, question, allowed, writable=built)
    if outcome.status == 0:
        return None
    if outcome.status is None:
        return f"the compilation took longer than the limit of {limits.wall_seconds:g} s"
    if outcome.status < 0:
        return f"the compiler was ended by the signal {outcome.signal_name}"
    return f"the compiler failed: {_last_line(outcome.errors)}"


def _last_line(errors: str) -> str:
    lines = errors.splitlines()
    return lines[-1][:SHOWN_ERROR] if lines else "it wrote no error message"
