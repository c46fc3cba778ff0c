"""Loads and tests an artifact in its own process, with limits, before it may be activated."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from models_registry.artifacts import codes, sandbox
from models_registry.artifacts.features import DeclaredInput, Feature
from models_registry.artifacts.installed import server_versions
from models_registry.artifacts.manifest import Sample

TASK = "models_registry.artifacts.load_test_task"
_MAX_REASON_LENGTH = 2_000
_MAX_CODE_LENGTH = 100


@dataclass(frozen=True, slots=True)
class LoadTestRequest:
    """An artifact with its manifest's contents; `trusted` holds an operator's own exact names."""

    path: Path
    format: str
    declared: tuple[DeclaredInput | Feature, ...] | None = None
    sample: Sample | None = None
    trusted: frozenset[str] = frozenset()
    allow_any_pickle: bool = False


@dataclass(frozen=True, slots=True)
class LoadTestLimits:
    """The limits of a load test; `memory_bytes` is in addition to the libraries' memory."""

    memory_bytes: int = 4 << 30
    cpu_seconds: float = 120
    wall_seconds: float = 120


@dataclass(frozen=True, slots=True)
class LoadTestReport:
    """The result of a load test; `reason` is a sentence if the test failed.

    `code` is one of `codes`, or empty if none of them applies; `advice` is the next step at the end of `reason`.
    `parts` says how the parts of a dict, a tuple or several files are combined; empty for a single estimator.
    `example` is a valid row, `predictions` are those of the sample. `peak_memory_bytes` is the peak of the whole
    process, `model_memory_bytes` the increase due to the model.
    """

    passed: bool
    reason: str = ""
    code: str = ""
    advice: str = ""
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
        """Return the report from `to_json`'s form; missing fields have defaults."""
        known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        return cls(**{**known, "warnings": tuple(known.get("warnings", ()))})


def run_load_test(request: LoadTestRequest, limits: LoadTestLimits | None = None) -> LoadTestReport:
    """Return the load test's report; a crash, a hang or too much memory becomes its reason.

    No artifact can make this raise or this process grow. Importing the libraries takes a second or two.
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
    return LoadTestReport(
        passed=False,
        reason=sandbox.describe_failure(outcome, allowed, what="The load test"),
        code=codes.CRASHED if outcome.is_crash else "",
        advice=sandbox.CRASH_ADVICE if outcome.is_crash else "",
    )


def _question(request: LoadTestRequest, limits: LoadTestLimits) -> dict[str, Any]:
    return {
        "path": str(request.path.absolute()),
        "format": request.format,
        "declared": None if request.declared is None else [one.to_json() for one in request.declared],
        "sample": None if request.sample is None else request.sample.to_json(),
        "trusted": sorted(request.trusted),
        "allow_any_pickle": request.allow_any_pickle,
        "memory_bytes": limits.memory_bytes,
        # The task runs in the same Python environment, so it has the same versions.
        "versions": server_versions(),
    }


def _report(values: Mapping[str, Any], warnings: tuple[str, ...]) -> LoadTestReport:
    report = LoadTestReport.from_json({**values, "warnings": warnings})
    if report.passed is True:
        return report
    return LoadTestReport(
        passed=False,
        reason=str(report.reason)[:_MAX_REASON_LENGTH] or "The load test gave no reason. Look into its log.",
        code=str(report.code)[:_MAX_CODE_LENGTH],
        advice=str(report.advice)[:_MAX_REASON_LENGTH],
        versions=report.versions,
        warnings=report.warnings,
    )
