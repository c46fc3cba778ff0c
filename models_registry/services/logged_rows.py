"""The newest rows of a model's prediction log."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Any

from django.utils import timezone

from models_registry import conf
from models_registry.artifacts.schema import Schema
from models_registry.artifacts.table import Table
from models_registry.models import ModelVersion, RegisteredModel, UsageWindow
from models_registry.monitoring.log_reading import LogFilter, LoggedRow, newest_rows
from models_registry.monitoring.log_sampling import spread_rows

LOOKED_BACK = timedelta(days=30)
# Usage of the current minute is not written yet, so these versions may have been used.
NEWEST_VERSIONS = 5


def logged_rows(
    model: RegisteredModel, wanted: LogFilter, *, limit: int, look_back: timedelta = LOOKED_BACK
) -> list[LoggedRow]:
    """Return the newest logged rows of `model`, newest first; StorageError if the storage is unavailable.

    Days before `look_back` are not read; rows of its first day may be older than `look_back`.
    """
    return newest_rows(conf.log_storage(), model.name, logged_days(model, look_back), wanted, limit=limit)


def logged_rows_over(
    model: RegisteredModel, window: timedelta, *, now: datetime, limit: int, number: int | None = None
) -> dict[int, list[LoggedRow]]:
    """Return logged rows by version, at most `limit` each, evenly over the window that ends at `now`.

    `number` selects one version. Raises StorageError if the storage is unavailable.
    """
    days = {(day, version) for day, version in logged_days(model, window) if number in (None, version)}
    return spread_rows(conf.log_storage(), model.name, days, now - window, limit=limit)


def logged_days(model: RegisteredModel, look_back: timedelta = LOOKED_BACK) -> set[tuple[date, int]]:
    """Return each day (UTC) since `look_back` with a version that may have logged rows."""
    now = timezone.now()
    # The sum of an hour has the time of its start, which may be before `look_back`.
    windows = UsageWindow.objects.filter(version__model=model, starts_at__gte=now - look_back - timedelta(hours=1))
    found = {(at.date(), number) for at, number in windows.values_list("starts_at", "version__number").distinct()}
    numbers = model.versions.newest_first().values_list("number", flat=True)[:NEWEST_VERSIONS]
    return found | {(day.date(), number) for day in (now, now - timedelta(days=1)) for number in numbers}


def logged_table(version: ModelVersion, *, rows: int) -> Table | None:
    """Return the newest logged rows in the form of `version`; None if the log lacks some of its inputs.

    The predictions are included if `version` itself made all of them.
    """
    schema = Schema.from_json(version.schema or {})
    if any(feature.type == "any" for feature in schema.inputs):
        return None  # the log stores these as text
    found = logged_rows(version.model, LogFilter(), limit=rows)
    instances = [instance for row in found if (instance := _instance(row, schema)) is not None]
    if not instances or len(instances) < len(found):
        return None
    is_own = all(row.version == version.number and row.prediction is not None for row in found)
    return Table(instances, [row.prediction for row in found] if is_own and schema.outputs == 1 else None)


def _instance(row: LoggedRow, schema: Schema) -> Any:
    if schema.container == "records":
        return json.loads(row.inputs["record"]) if "record" in row.inputs else None
    if not set(schema.required) <= set(row.inputs):
        return None
    return {name: row.inputs[name] for name in schema.names if name in row.inputs}
