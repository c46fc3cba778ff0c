"""Loads and tries an artifact in its own process, with limits, before it may be activated."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from models_registry.artifacts import sandbox
from models_registry.artifacts.features import DeclaredInput, Feature
from models_registry.artifacts.installed import server_versions
from models_registry.artifacts.manifest import Sample

TASK = "models_registry.artifacts.load_test_task"
_MAX_REASON_LENGTH = 2_000


@dataclass(frozen=True, slots=True)
class LoadTestRequest:
    """An artifact with what its manifest says; `trusted` holds an operator's own exact names."""

    path: Path
    format: str
    declared: tuple[DeclaredInput | Feature, ...] | None = None
    sample: Sample | None = None
    trusted: frozenset[str] = frozenset()
    allow_any_pickle: bool = False


@dataclass(frozen=True, slots=True)
class LoadTestLimits:
    """What a load test may take. `memory_bytes` is what the artifact may take beyond the libraries themselves."""

    memory_bytes: int = 4 << 30
    cpu_seconds: float = 120
    wall_seconds: float = 120


@dataclass(frozen=True, slots=True)
class LoadTestReport:
    """What a load test saw. `reason` is a sentence if it did not pass.

    `parts` says how the parts of a dict, a tuple or several files were read, empty for a single estimator. `example`
    is a row that the model answers, `predictions` are those of the sample, `peak_memory_bytes` the whole process at
    its largest and `model_memory_bytes` what loading and predicting added to it.
    """

    passed: bool
    reason: str = ""
    parts: str = ""
    schema: Mapping[str, Any] | None = None
    example: Any = None
    predictions: list[Any] | None = None
    load_seconds: float | None = None
    row_milliseconds: float | None = None
    peak_memory_bytes: int | None = None
    model_memory_bytes: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "warnings": list(self.warnings)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "LoadTestReport":
        """Return the report that `to_json` described; what it does not know is left out."""
        known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        return cls(**{**known, "warnings": tuple(known.get("warnings", ()))})


def run_load_test(request: LoadTestRequest, limits: LoadTestLimits | None = None) -> LoadTestReport:
    """Return what its own process saw of the artifact; a crash, a hang or a bloat ends as its reason.

    No artifact makes this raise or this process grow. It takes a second or two for the libraries to load.
    """
    limits = limits or LoadTestLimits()
    allowed = sandbox.SandboxLimits(
        memory_bytes=limits.memory_bytes,
        cpu_seconds=max(1, limits.cpu_seconds),
        wall_seconds=limits.wall_seconds,
        file_size_bytes=sandbox.file_size_for(request.path),
    )
    outcome = sandbox.run(TASK, _question(request, limits), allowed)
    if outcome.status == 0 and outcome.report is not None:
        return _report(outcome.report, outcome.warnings)
    return LoadTestReport(passed=False, reason=sandbox.describe_failure(outcome, allowed, what="The load test"))


def _question(request: LoadTestRequest, limits: LoadTestLimits) -> dict[str, Any]:
    return {
        "path": str(request.path.absolute()),
        "format": request.format,
        "declared": None if request.declared is None else [one.to_json() for one in request.declared],
        "sample": None if request.sample is None else request.sample.to_json(),
        "trusted": sorted(request.trusted),
        "allow_any_pickle": request.allow_any_pickle,
        "memory_bytes": limits.memory_bytes,
        # Of this environment, which is the task's too.
        "versions": server_versions(),
    }


def _report(values: Mapping[str, Any], warnings: tuple[str, ...]) -> LoadTestReport:
    report = LoadTestReport.from_json({**values, "warnings": warnings})
    if report.passed is True:
        return report
    return LoadTestReport(
        passed=False,
        reason=str(report.reason)[:_MAX_REASON_LENGTH] or "The load test gave no reason. Look into its log.",
        versions=report.versions,
        warnings=report.warnings,
    )
