"""Compares two versions of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models_registry import services
from models_registry.admin.charts import Chart, line_chart
from models_registry.admin.presenters import releases
from models_registry.artifacts.sample import is_same
from models_registry.errors import RegistryError
from models_registry.models import ModelVersion
from models_registry.templatetags.registry import as_json, number, seconds, size

ROWS_SHOWN = 20
METRIC_VERSIONS = 50
MAX_CHARTS = 6


@dataclass(frozen=True, slots=True)
class Row:
    """A property of both versions, and whether it differs."""

    label: str
    left: str
    right: str

    @property
    def differs(self) -> bool:
        """Whether the two differ."""
        return self.left != self.right


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """A row of the sample with each version's prediction."""

    row: str
    left: str
    right: str
    differs: bool


@dataclass(frozen=True, slots=True)
class Answers:
    """The predictions of both versions for the same rows; `problem` is the reason if there are none."""

    rows: tuple[AnswerRow, ...] = ()
    total: int = 0
    changed: int = 0
    problem: str = ""


def other_version(version: ModelVersion, wanted: str) -> ModelVersion | None:
    """Return the model's version with number `wanted`; else the active one, else the newest other one."""
    others = version.model.versions.kept().exclude(pk=version.pk)
    if wanted.isascii() and wanted.isdigit():
        return others.filter(number=int(wanted[:9])).first()
    active = version.model.active_version
    if active is not None and active.pk != version.pk:
        return active
    return others.ready().newest_first().first() or others.newest_first().first()


def compare_context(left: ModelVersion, right: ModelVersion) -> dict[str, Any]:
    """Return the page's comparison of both."""
    return {
        "is_same_file": bool(left.digest) and left.digest == right.digest,
        "metrics": _metric_rows(left, right),
        "charts": metric_charts(left),
        "schema": _schema_rows(left, right),
        "trained": _trained_rows(left, right),
        "cost": _cost_rows(left, right),
        "may_answer": left.state == right.state == "ready" and bool(left.sample or right.sample),
    }


def metric_charts(version: ModelVersion) -> list[Chart]:
    """Return a chart for each metric over all versions of the model; empty if fewer than two have it."""
    versions = list(version.model.versions.kept().newest_first()[:METRIC_VERSIONS])[::-1]
    names = list(dict.fromkeys(name for item in versions for name in item.metrics))
    labels = [str(item.number) for item in versions]
    charts = []
    for name in names:
        values = [item.metrics.get(name) for item in versions]
        if sum(value is not None for value in values) > 1:
            charts.append(line_chart(name, labels, values))
    return charts[:MAX_CHARTS]


def compare_answers(left: ModelVersion, right: ModelVersion) -> Answers:
    """Return the predictions of both versions, each from a sandbox, for the sample of `left`, else of `right`."""
    sample = left.sample or right.sample
    if not sample:
        return Answers(problem="Neither version has a sample. Publish one with a sample to compare their predictions.")
    instances = sample["instances"]
    found = []
    for version in (left, right):
        try:
            found.append(services.ask_version(version, instances)["predictions"])
        except RegistryError as error:
            return Answers(problem=f"Version {version.number}: {error}")
    rows = tuple(
        AnswerRow(as_json(row), as_json(one), as_json(other), not is_same(one, other))
        for row, one, other in zip(instances, *found, strict=True)
    )
    return Answers(rows[:ROWS_SHOWN], total=len(rows), changed=sum(row.differs for row in rows))


def _metric_rows(left: ModelVersion, right: ModelVersion) -> list[Row]:
    names = dict.fromkeys([*left.metrics, *right.metrics])
    return [Row(name, *(_number(version.metrics.get(name)) for version in (left, right))) for name in names]


def _number(value: Any) -> str:
    return "–" if value is None else str(number(value))


def _schema_rows(left: ModelVersion, right: ModelVersion) -> list[Row]:
    schemas = [version.schema or {} for version in (left, right)]
    inputs = [{item["name"]: item for item in schema.get("inputs", ())} for schema in schemas]
    rows = [
        Row("Kind", *(str(schema.get("kind", "–")) for schema in schemas)),
        Row("Outputs", *(str(schema.get("outputs", "–")) for schema in schemas)),
        Row("Classes", *(as_json(schema["classes"]) if schema.get("classes") else "–" for schema in schemas)),
    ]
    for name in dict.fromkeys([*inputs[0], *inputs[1]]):
        rows.append(Row(f"Feature {name}", *(_feature(side.get(name)) for side in inputs)))
    return rows


def _feature(feature: Mapping[str, Any] | None) -> str:
    if feature is None:
        return "none"
    return str(feature["type"]) + (", nullable" if feature.get("nullable") else "")


def _trained_rows(left: ModelVersion, right: ModelVersion) -> list[Row]:
    sides = [(version.inspection or {}).get("versions") or {} for version in (left, right)]
    names = sorted({*sides[0], *sides[1]})
    return [Row(name, *(releases(side.get(name, ())) for side in sides)) for name in names]


def _cost_rows(left: ModelVersion, right: ModelVersion) -> list[Row]:
    def row(label: str, value: Callable[[ModelVersion], str]) -> Row:
        return Row(label, value(left), value(right))

    return [
        row("Size of the file", lambda version: str(size(version.size_bytes))),
        row("Memory", lambda version: _of_report(version, "model_memory_bytes", lambda value: str(size(value)))),
        row("Time to load", lambda version: _of_report(version, "load_seconds", seconds)),
        row(
            "Time for one row, native",
            lambda version: _of_report(version, "row_milliseconds", _milliseconds),
        ),
        row("Served in the form", _form),
    ]


def _of_report(version: ModelVersion, name: str, write: Callable[[Any], str]) -> str:
    value = (version.report or {}).get(name)
    return "–" if value is None else write(value)


def _milliseconds(value: float) -> str:
    return seconds(value / 1e3)


def _form(version: ModelVersion) -> str:
    acceleration = (version.report or {}).get("acceleration") or {}
    return str(acceleration.get("description") or "–")


def numbers_of(version: ModelVersion) -> Sequence[int]:
    """Return the numbers of the other versions of the same model, the highest first."""
    return list(
        version.model.versions.kept()
        .exclude(pk=version.pk)
        .newest_first()
        .values_list("number", flat=True)[:METRIC_VERSIONS]
    )
