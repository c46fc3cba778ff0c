"""Runs a version on rows in its own process, with limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_registry.artifacts import sandbox
from models_registry.artifacts.sandbox import FailureAdvice, SandboxLimits
from models_registry.errors import ArtifactError

TASK = "models_registry.artifacts.replay_task"


@dataclass(frozen=True, slots=True)
class Replayed:
    """A version's results for rows.

    `predictions` and `scores` have one entry per row. A score is the probability of the predicted label, if the model
    has one. `problems` has the reason for each failed row. `seconds` are the latencies of single rows.
    """

    predictions: Sequence[Any]
    scores: Sequence[Any]
    problems: Mapping[int, str]
    seconds: Sequence[float] = ()


def run_over(
    path: Path,
    format: str,
    schema: Mapping[str, Any],
    rows: Sequence[Any],
    limits: SandboxLimits,
    *,
    trusted: frozenset[str] = frozenset(),
    allow_any_pickle: bool = False,
    advice: FailureAdvice = sandbox.OF_MODELS,
) -> Replayed:
    """Return the results of the artifact at `path` for `rows`; ArtifactError with `advice` if its process fails."""
    question = {
        "path": str(path.absolute()),
        "format": format,
        "schema": dict(schema),
        "rows": list(rows),
        "trusted": sorted(trusted),
        "allow_any_pickle": allow_any_pickle,
    }
    outcome = sandbox.run(TASK, question, limits)
    report = outcome.report
    if outcome.status != 0 or report is None:
        raise ArtifactError(sandbox.describe_failure(outcome, limits, what="The replay", advice=advice))
    return Replayed(
        report["predictions"],
        report["scores"],
        {int(row): problem for row, problem in report["problems"].items()},
        report["seconds"],
    )
