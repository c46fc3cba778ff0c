"""Compiles one artifact in a process of its own: `python -m …compile_child`, the request as JSON on stdin.

The verdict, and the compiled form where there is one, are left in the directory that the request names.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from models_registry.acceleration.report import AccelerationRequest

# A compiled form is a few times the artifact's size at most; this only stops a runaway.
FILE_BYTES = 4 * 1024**3


def main() -> None:
    """Read the request, compile under the limits, leave the verdict."""
    question: dict[str, Any] = json.load(sys.stdin)
    _limit(question["memory_bytes"], question["cpu_seconds"])
    request = AccelerationRequest.from_json(question["request"])
    built = Path(question["directory"])

    from models_registry.acceleration import cache
    from models_registry.acceleration.compiled import MODEL_FILE, PLAN_FILE
    from models_registry.acceleration.compiler import compile_estimator
    from models_registry.artifacts.formats import open_artifact

    estimator = open_artifact(
        request.artifact,
        request.format,
        trusted=frozenset(request.trusted),
        allow_any_pickle=request.allow_any_pickle,
    )
    compiled = compile_estimator(estimator, request.signature, request.instances)
    if compiled.report.is_compiled:
        cache.write(built / MODEL_FILE, compiled.model)
        cache.write(built / PLAN_FILE, compiled.plan)
    cache.write_report(built, replace(compiled.report, versions=question["versions"]))
    sys.stdout.flush()
    # Native libraries have threads and destructors that can hang an exit; all that counts is on the disk.
    os._exit(0)


def _limit(memory_bytes: int, cpu_seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
