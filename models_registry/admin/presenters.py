"""Converts stored validation results to rows for a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models_registry.artifacts.inspection_notes import versions_text
from models_registry.artifacts.installed import server_versions
from models_registry.models import ModelVersion, State
from models_registry.templatetags.registry import as_json, number, seconds, size

# The page shows these elsewhere, or they are for programs.
NOT_SHOWN = {"passed", "reason", "code", "advice", "schema", "signature", "predictions", "sample"}
LABELS = {
    "parts": "Served as",
    "load_seconds": "Time to load",
    "row_milliseconds": "Time for one row",
    "peak_memory_bytes": "Peak memory of the process",
    "model_memory_bytes": "Memory of the model",
    "versions": "Tested with",
    "signature_warning": "Signature of the file",
}
UNITS: dict[str, Callable[[float], str]] = {
    "_milliseconds": lambda value: seconds(value / 1e3),
    "_seconds": seconds,
    "_bytes": size,
}
MAX_SAMPLE_WIDTH = 8
# The stages of a validation, in order.
STAGES = ("Uploaded", "Inspection", "Load test", "Ready")
SAMPLE_ROWS = 20


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A label with a value."""

    label: str
    text: str = ""
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A package, with the artifact's version and the service's version."""

    package: str
    trained: str
    served: str


@dataclass(frozen=True, slots=True)
class InspectionSummary:
    """The results of an artifact's inspection."""

    outline: str
    versions: tuple[VersionRow, ...]
    verdict: str
    is_verified: bool
    claimed: str
    names: tuple[str, ...]
    called: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SampleTable:
    """The sample as a table: a column per feature if they are few, else one JSON column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], str], ...]
    total: int


def inspection_summary(inspection: Mapping[str, Any] | None) -> InspectionSummary | None:
    """Return the inspection for the page; None if there is none yet."""
    if not inspection:
        return None
    served = server_versions()
    return InspectionSummary(
        outline="\n".join(inspection.get("outline", ())),
        versions=tuple(
            VersionRow(package, releases(found), served.get(package, "–"))
            for package, found in inspection.get("versions", {}).items()
        ),
        verdict=inspection.get("version_verdict", ""),
        is_verified=inspection.get("is_version_verified", False),
        claimed=size(inspection.get("claimed_bytes")),
        names=tuple(inspection.get("globals", ())),
        called=tuple(inspection.get("called", ())),
        problems=tuple(inspection.get("problems", ())),
    )


def releases(found: Sequence[str]) -> str:
    """Return the package versions in an artifact; of some packages only a bound is known."""
    return versions_text(found) or "–"


def report_rows(report: Mapping[str, Any] | None) -> tuple[ReportRow, ...]:
    """Return the load test's report, with units from the names' suffixes."""
    return tuple(
        _report_row(name, value)
        for name, value in (report or {}).items()
        if name not in NOT_SHOWN and value not in (None, "", [], {})
    )


def sample_table(sample: Mapping[str, Any] | None, schema: Mapping[str, Any] | None) -> SampleTable | None:
    """Return the sample with its expected predictions; None if there is none."""
    if not sample:
        return None
    instances: Sequence[Any] = sample["instances"]
    expected: Sequence[Any] = sample.get("predictions") or []
    names = tuple(item["name"] for item in (schema or {}).get("inputs", ()))
    is_wide = not 0 < len(names) <= MAX_SAMPLE_WIDTH
    return SampleTable(
        columns=("row",) if is_wide else names,
        rows=tuple(
            ((as_json(row),) if is_wide else _cells(row, names), as_json(expected[index]) if expected else "–")
            for index, row in enumerate(instances[:SAMPLE_ROWS])
        ),
        total=len(instances),
    )


def _cells(row: Any, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(row, Mapping):
        return tuple(as_json(row.get(name)) for name in names)
    values = row if isinstance(row, list) else [row]
    return tuple(as_json(value) for value in values)


def _report_row(name: str, value: Any) -> ReportRow:
    label = LABELS.get(name, name.replace("_", " ").capitalize())
    for suffix, write in UNITS.items():
        if name.endswith(suffix) and isinstance(value, int | float):
            return ReportRow(label, write(value))
    if isinstance(value, Mapping) and "description" in value:
        # A sentence already describes the acceleration; its figures are for programs.
        return ReportRow(label, str(value["description"]))
    if isinstance(value, Mapping):
        return ReportRow(label, items=tuple(f"{key} {_plain(inner)}" for key, inner in value.items()))
    if isinstance(value, list):
        return ReportRow(label, items=tuple(map(_plain, value)))
    return ReportRow(label, _plain(value))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else number(value) if isinstance(value, int | float) else as_json(value)


def stages_of(version: ModelVersion) -> list[tuple[str, str]]:
    """Return each stage of a version without a verdict as `done`, `now` or `next`."""
    if version.state not in {State.FOUND, State.CHECKING}:
        return []
    now = 2 if version.inspection else 1
    states = ["done" if index < now else "now" if index == now else "next" for index in range(len(STAGES))]
    return list(zip(STAGES, states, strict=True))
