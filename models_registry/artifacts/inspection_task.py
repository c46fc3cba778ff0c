"""Inspects an artifact: the sandbox task of `inspection.inspect_in_sandbox`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models_registry.artifacts.inspection import inspect_artifact


def import_libraries(question: Mapping[str, Any]) -> None:
    """Import the format reader's modules before the limits apply."""
    if question["format"] == "onnx":
        import onnx  # noqa: F401
    if question["format"] in {"skops", "bundle"}:
        import numpy  # noqa: F401


def run(question: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """Return the inspection, or nothing if memory was insufficient."""
    answer.write(stage="while it was read")
    try:
        found = inspect_artifact(
            Path(question["path"]), question["format"], max_claimed_bytes=question["max_claimed_bytes"]
        )
    except MemoryError:
        return {}
    return {"inspection": found.to_json()}
