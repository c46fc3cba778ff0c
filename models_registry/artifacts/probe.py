"""Loads and tries an artifact in a process of its own, with limits, before anybody may wish for it."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any

from models_registry.artifacts.features import DeclaredInput, Feature
from models_registry.artifacts.manifest import Sample

CHILD = Path(__file__).with_name("probe_child.py")
MOST_REPORT_BYTES = 32 << 20
_SHOWN_ERROR_BYTES = 600
_LONGEST_REASON = 2_000
# Nothing else of the parent's environment reaches the probe, so no credential does.
_KEPT_ENVIRONMENT = ("LANG", "LC_ALL", "LOCPATH", "TZ", "LD_LIBRARY_PATH")
_THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """An artifact with what its manifest says; `trusted` holds an operator's own exact names."""

    path: Path
    format: str
    declared: tuple[DeclaredInput | Feature, ...] | None = None
    sample: Sample | None = None
    trusted: frozenset[str] = frozenset()
    allow_any_pickle: bool = False


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """What a probe may take. `memory_bytes` is what the artifact may take beyond the libraries themselves."""

    memory_bytes: int = 4 << 30
    cpu_seconds: float = 120
    wall_seconds: float = 120


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a probe saw. `reason` is a sentence where it did not pass.

    `predictions` are those of the sample, `peak_memory_bytes` the whole process at its largest and
    `model_memory_bytes` what loading and predicting added to it.
    """

    passed: bool
    reason: str = ""
    signature: Mapping[str, Any] | None = None
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
    def from_json(cls, values: Mapping[str, Any]) -> "ProbeReport":
        """Return the report that `to_json` described; what it does not know is left out."""
        known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        return cls(**{**known, "warnings": tuple(known.get("warnings", ()))})


def run_probe(request: ProbeRequest, limits: ProbeLimits | None = None) -> ProbeReport:
    """Return what a process of its own saw of the artifact; a crash, a hang or a bloat ends as its reason.

    No artifact makes this raise or this process grow. It takes a second or two for the libraries to load.
    """
    limits = limits or ProbeLimits()
    with tempfile.TemporaryFile() as question, tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as errors:
        question.write(json.dumps(_question(request, limits)).encode())
        question.seek(0)
        status = _run(question, answer, errors, wall_seconds=limits.wall_seconds)
        stage, values = _read_answer(answer)
        if status == 0 and values is not None:
            return _report(values)
        return ProbeReport(passed=False, reason=_reason(status, stage, limits, _tail(errors)))


def _question(request: ProbeRequest, limits: ProbeLimits) -> dict[str, Any]:
    return {
        "paths": [entry for entry in sys.path if Path(entry).is_absolute()] + [str(CHILD.parents[2])],
        "path": str(request.path.absolute()),
        "format": request.format,
        "declared": None if request.declared is None else [one.to_json() for one in request.declared],
        "sample": None if request.sample is None else request.sample.to_json(),
        "trusted": sorted(request.trusted),
        "allow_any_pickle": request.allow_any_pickle,
        "memory_bytes": limits.memory_bytes,
        "cpu_seconds": max(1, round(limits.cpu_seconds)),
        "file_size_bytes": MOST_REPORT_BYTES,
    }


def _run(question: IO[bytes], answer: IO[bytes], errors: IO[bytes], *, wall_seconds: float) -> int | None:
    """Return the process's exit status, or None where it was killed for its time."""
    environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    process = subprocess.Popen(
        # -I leaves out the environment's and the user's Python paths, -B writes no bytecode.
        [sys.executable, "-I", "-B", str(CHILD)],
        stdin=question,
        stdout=answer,
        stderr=errors,
        env={**environment, **dict.fromkeys(_THREAD_COUNTS, "1"), "HOME": "/nonexistent", "PYTHONHASHSEED": "0"},
        cwd="/",
        start_new_session=True,
    )
    with process:
        ended = _wait(process, wall_seconds)
        # Everything that it may have started goes with it. It is not reaped yet, so its number is no other's.
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


def _read_answer(answer: IO[bytes]) -> tuple[str, Mapping[str, Any] | None]:
    """Return the last stage that the child reached, and its report where it came to write one."""
    answer.seek(0)
    stage, report = "while it started", None
    for line in answer.read(MOST_REPORT_BYTES).splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            # A line that was cut off when the process ended.
            continue
        if isinstance(entry, dict):
            stage = str(entry.get("stage", stage))[:100]
            report = entry.get("report", report)
    return stage, report if isinstance(report, dict) else None


def _report(values: Mapping[str, Any]) -> ProbeReport:
    report = ProbeReport.from_json(values)
    if report.passed is True:
        return report
    return ProbeReport(
        passed=False,
        reason=str(report.reason)[:_LONGEST_REASON] or "The probe gave no reason. Look into its log.",
        versions=report.versions,
        warnings=report.warnings,
    )


def _tail(errors: IO[bytes]) -> str:
    end = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, end - _SHOWN_ERROR_BYTES))
    return errors.read(_SHOWN_ERROR_BYTES).decode("utf-8", "replace").strip()


def _reason(status: int | None, stage: str, limits: ProbeLimits, tail: str) -> str:
    if status is None:
        return (
            f"The probe timed out: it was still busy after {limits.wall_seconds:g} s, {stage}. "
            "Publish a faster model, or raise the limit."
        )
    if status >= 0:
        return f"The probe ended with status {status}, {stage}. {tail}".strip()
    name = signal.Signals(-status).name if -status in set(signal.Signals) else "unknown"
    if -status == signal.SIGXCPU:
        return (
            f"The probe was ended by signal {-status} ({name}): it took more than {limits.cpu_seconds:g} s of "
            f"CPU time, {stage}. Publish a faster model, or raise the limit."
        )
    if -status == signal.SIGKILL:
        return (
            f"The probe was ended by signal {-status} ({name}), {stage}: probably for want of memory on this "
            "machine. Publish a smaller model, or give the task more memory."
        )
    return (
        f"The probe crashed with signal {-status} ({name}), {stage}. The artifact is damaged, crafted, or needs "
        "other versions; publish it again from its training script."
    )
