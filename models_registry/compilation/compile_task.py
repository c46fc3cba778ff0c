"""Compiles one artifact: the sandbox task of `compiling.py`.

It writes the verdict, and the compiled form if there is one, to the directory in the question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any


def run(question: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """Compile, write the verdict, and report that it exists."""
    answer.write(stage="while it was compiled")
    # Imported here, after the limits apply: the libraries' memory counts.
    from models_registry.artifacts.formats import open_artifact
    from models_registry.compilation import cache
    from models_registry.compilation.compiled import MODEL_FILE, PLAN_FILE
    from models_registry.compilation.compiler import compile_estimator
    from models_registry.compilation.report import AccelerationRequest

    request = AccelerationRequest.from_json(question["request"])
    built = Path(question["directory"])
    estimator = open_artifact(
        request.artifact,
        request.format,
        trusted=frozenset(request.trusted),
        allow_any_pickle=request.allow_any_pickle,
    )
    compiled = compile_estimator(estimator, request.schema, request.instances)
    if compiled.report.is_compiled:
        cache.write(built / MODEL_FILE, compiled.model)
        cache.write(built / PLAN_FILE, compiled.plan)
    cache.write_report(built, replace(compiled.report, versions=question["versions"]))
    return {"is_compiled": compiled.report.is_compiled}
