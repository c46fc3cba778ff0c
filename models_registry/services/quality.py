"""The prediction quality of a model's versions over the last hour, day or month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models_registry import conf
from models_registry.artifacts.schema import Schema
from models_registry.models import RegisteredModel
from models_registry.monitoring.joined_rows import joined_rows
from models_registry.monitoring.quality import Quality, VersionQuality, quality_by_version
from models_registry.monitoring.usage_report import Window
from models_registry.services.logged_rows import logged_days


@dataclass(frozen=True, slots=True)
class QualityReport:
    """The versions with logged predictions, highest number first."""

    model: str
    window: Window
    starts_at: datetime
    is_complete: bool
    versions: tuple[VersionQuality, ...]


def quality_report(model: RegisteredModel, window: Window, now: datetime) -> QualityReport:
    """Return the quality of `model` in `window` up to `now`, in UTC; StorageError if the log is unavailable."""
    start = window.start(now)
    days = {(day, number) for day, number in logged_days(model) if day >= start.date()}
    joined = joined_rows(conf.log_storage(), model.name, days, start=start, now=now)
    numbers = {row.version for row in joined.rows}
    known = model.versions.filter(number__in=numbers).values_list("number", "schema")
    schemas = {number: Schema.from_json(schema) for number, schema in known if schema}
    return QualityReport(model.name, window, start, joined.is_complete, quality_by_version(joined.rows, schemas))


def quality_content(report: QualityReport) -> dict[str, Any]:
    """Return a report in the API's form: shares from 0 to 1, days in UTC."""
    return {
        "model": report.model,
        "window": report.window.name,
        "starts_at": report.starts_at.isoformat(),
        "is_complete": report.is_complete,
        "versions": [
            {
                "version": version.number,
                "kind": version.kind,
                **_figures(version.total),
                "days": [{"day": day.isoformat(), **_figures(quality)} for day, quality in version.days],
            }
            for version in report.versions
        ],
    }


def _figures(quality: Quality) -> dict[str, Any]:
    return {
        "logged_rows": quality.logged_rows,
        "labelled_rows": quality.labelled_rows,
        "labelled_share": quality.labelled_share,
        "metrics": quality.metrics,
    }
