"""Predicts with an artifact in a sandboxed process: for a version that no worker has loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_registry.artifacts import sandbox
from models_registry.artifacts.schema import Schema
from models_registry.errors import BrokenArtifact, InputError

TASK = "models_registry.artifacts.asking_task"


@dataclass(frozen=True, slots=True)
class Question:
    """Rows for an artifact; `is_single` means that the request has one row instead of a list."""

    path: Path
    format: str
    schema: Schema
    instances: Sequence[Any]
    is_single: bool = False
    trusted: frozenset[str] = frozenset()
    allow_any_pickle: bool = False


def ask_in_sandbox(question: Question, limits: sandbox.SandboxLimits) -> dict[str, Any]:
    """Return predictions, confidences and probabilities in the form of a prediction's response.

    Importing the libraries takes a second or two. Raises InputError for rows that the model refuses, and BrokenArtifact
    if the process fails.
    """
    asked = {
        "path": str(question.path.absolute()),
        "format": question.format,
        "schema": question.schema.to_json(),
        "instances": list(question.instances),
        "is_single": question.is_single,
        "trusted": sorted(question.trusted),
        "allow_any_pickle": question.allow_any_pickle,
    }
    outcome = sandbox.run(TASK, asked, limits)
    if outcome.status != 0 or outcome.report is None:
        raise BrokenArtifact(sandbox.describe_failure(outcome, limits, what="The trial"))
    refusal = outcome.report.get("refusal")
    if isinstance(refusal, Mapping):
        raise InputError(str(refusal["message"])[:2000], code=str(refusal["code"]), **dict(refusal["details"]))
    return dict(outcome.report["content"])
