"""The quality of a model's versions with known ground truth, and how to send more of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest

from models_registry import services
from models_registry.admin.charts import Chart, series_chart
from models_registry.admin.choosing import window_field, window_of
from models_registry.artifacts.labels import classes_of
from models_registry.artifacts.schema import Schema
from models_registry.errors import StorageError
from models_registry.models import RegisteredModel
from models_registry.monitoring.quality import Quality, VersionQuality

DEFAULT_WINDOW = "30d"
DIGITS = 6
METRIC_NAMES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "f1_macro": "F1, macro",
    "log_loss": "Log loss",
    "roc_auc": "ROC AUC",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
}


class QualityForm(forms.Form):
    """The time window."""

    window = window_field()


@dataclass(frozen=True, slots=True)
class QualityRow:
    """One version, or one day of it; `figures` has each metric of the table; None: not defined."""

    heading: Any
    quality: Quality
    figures: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True, slots=True)
class VersionRows:
    """One version by day, and by label over the whole window."""

    number: int
    days: tuple[QualityRow, ...]
    labels: Sequence[dict[str, Any]]


def quality_context(request: HttpRequest, model: RegisteredModel) -> dict[str, Any]:
    """Return the template context of a model's quality."""
    form = QualityForm({"window": DEFAULT_WINDOW, **request.GET.dict()})
    window = window_of(form.cleaned_data if form.is_valid() else {}, DEFAULT_WINDOW)
    context = {"form": form, "problem": "", "is_on": model.capture_percent > 0, "curl": _curl(request, model)}
    try:
        report = services.quality_report(model, window, datetime.now(UTC))
    except StorageError as error:
        return {**context, "problem": str(error)}
    names = _metric_names(report.versions)
    return {
        **context,
        "report": report,
        "has_labels": any(version.total.labelled_rows for version in report.versions),
        "metric_names": [METRIC_NAMES[name] for name in names],
        "totals": [_row(version.number, version.total, names) for version in report.versions],
        "versions": [_version_rows(version, names) for version in report.versions],
        "charts": _charts(report.versions, names),
    }


def _metric_names(versions: Sequence[VersionQuality]) -> list[str]:
    """Return the metrics that at least one version has."""
    found = [quality.metrics for version in versions for quality in (version.total, *(day for _, day in version.days))]
    return [name for name in METRIC_NAMES if any(metrics.get(name) is not None for metrics in found)]


def _row(heading: Any, quality: Quality, names: Sequence[str]) -> QualityRow:
    return QualityRow(heading, quality, tuple((METRIC_NAMES[name], quality.metrics.get(name)) for name in names))


def _version_rows(version: VersionQuality, names: Sequence[str]) -> VersionRows:
    days = tuple(_row(day, quality, names) for day, quality in version.days)
    return VersionRows(version.number, days, version.total.metrics.get("labels", ()))


def _charts(versions: Sequence[VersionQuality], names: Sequence[str]) -> list[Chart]:
    """Return a chart of each metric over the days, and of the share with a label; empty without labels."""
    if not names:
        return []

    def metric(name: str) -> Callable[[Quality], float | None]:
        return lambda quality: quality.metrics.get(name)

    charts = [_chart(METRIC_NAMES[name], versions, metric(name)) for name in names]
    return [*charts, _chart("Rows with a label, %", versions, lambda quality: 100 * (quality.labelled_share or 0))]


def _chart(title: str, versions: Sequence[VersionQuality], figure: Callable[[Quality], float | None]) -> Chart:
    days = sorted({day for version in versions for day, _ in version.days})
    series: list[dict[str, Any]] = []
    for version in versions:
        by_day = {day: figure(quality) for day, quality in version.days}
        values = [by_day.get(day) for day in days]
        rounded = [None if value is None else round(value, DIGITS) for value in values]
        series.append({"label": f"version {version.number}", "data": rounded})
    # A chart of a single day shows a dot.
    return series_chart(title, "line" if len(days) > 1 else "bar", [f"{day:%d %b}" for day in days], series)


def _curl(request: HttpRequest, model: RegisteredModel) -> str:
    """Return a command that sends the label of one row."""
    body = json.dumps({"request_id": "REQUEST_ID", "row": 0, "label": _example_label(model)}, ensure_ascii=False)
    key = ['-H "Authorization: Bearer $API_KEY"'] if getattr(settings, "MLAPI_REQUIRE_API_KEY", False) else []
    lines = [
        f"curl -X POST {request.build_absolute_uri(f'/models/{model.name}/ground-truth')}",
        *key,
        '-H "Content-Type: application/json"',
        f"-d {shlex.quote(body)}",
    ]
    return " \\\n  ".join(lines)


def _example_label(model: RegisteredModel) -> Any:
    """Return a class of the active version, or a number."""
    version = model.active_version
    schema = Schema.from_json(version.schema) if version is not None and version.schema else None
    classes = classes_of(schema) if schema is not None else {}
    return next(iter(classes.values()), 1.5 if schema is not None and schema.kind == "regressor" else 1)
