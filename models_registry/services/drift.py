"""Drift of a model in service: its logged requests against the reference of their version."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from models_registry.artifacts.features import Feature
from models_registry.artifacts.schema import Schema
from models_registry.models import ModelVersion, RegisteredModel
from models_registry.monitoring import drift
from models_registry.monitoring.drift import ColumnDrift, column_drift
from models_registry.monitoring.log_reading import LoggedRow
from models_registry.services.captures import read_captures
from models_registry.services.logged_rows import logged_rows_over

# Of each version: what one request may read and compare.
MAX_ROWS = 2_000
# A column that has drifted takes a tenth of a second.
MAX_FEATURES = 100
KINDS = {"float": drift.NUMBER, "integer": drift.NUMBER, "string": drift.CATEGORY, "boolean": drift.CATEGORY}
WORST_FIRST = (drift.DRIFTED, drift.STABLE, drift.TOO_FEW_ROWS, drift.NOT_COMPARED)
NOT_CAPTURED = "not captured"
TURN_ON = 'The prediction log is off. Turn it on: PATCH /api/models/{name} with {{"capture_percent": 10}}.'


def drift_report(
    model: RegisteredModel, window: timedelta, *, number: int | None = None, now: datetime | None = None
) -> dict[str, Any]:
    """Return the drift of `model` by version over the logged requests of `window`, as JSON.

    `number` asks for that version alone. Raises StorageError if the log's storage is away.
    """
    is_captured = model.name in read_captures()
    by_version = logged_rows_over(model, window, now=now or timezone.now(), limit=MAX_ROWS, number=number)
    if number is not None:
        by_version.setdefault(number, [])
    elif model.active_version is not None:
        by_version.setdefault(model.active_version.number, [])
    versions = model.versions.filter(number__in=by_version).select_related("model", "reference_rows").newest_first()
    return {
        "model": model.name,
        "state": "captured" if is_captured else NOT_CAPTURED,
        "note": "" if is_captured else TURN_ON.format(name=model.name),
        "min_rows": drift.MIN_ROWS,
        "max_rows": MAX_ROWS,
        "threshold": drift.THRESHOLD,
        "versions": [_version_content(version, by_version[version.number]) for version in versions],
    }


@dataclass(frozen=True, slots=True)
class Reference:
    """Rows that served values are compared with. `rows` counts those of the source, of which some were taken."""

    source: str
    rows: int
    instances: Sequence[Any]
    predictions: Sequence[Any]


def _reference_of(version: ModelVersion) -> Reference:
    """Return the rows of the file that was published as the reference, else those of the sample."""
    if version.reference:
        kept = version.reference_rows
        return Reference(version.reference["name"], version.reference["rows"], kept.instances, kept.predictions)
    sample = version.sample or {}
    instances, predictions = sample.get("instances") or [], sample.get("predictions") or []
    return Reference("sample", len(instances), _bounded(instances), _bounded(predictions))


def _version_content(version: ModelVersion, rows: Sequence[LoggedRow]) -> dict[str, Any]:
    schema = Schema.from_json(version.schema) if version.schema else None
    reference = _reference_of(version)
    columns = _feature_drifts(version, schema, reference.instances, rows) if schema is not None else {}
    predictions = _prediction_drift(schema, reference.predictions, rows)
    features = [{"name": name, **asdict(found)} for name, found in columns.items()]
    return {
        "version": version.number,
        "reference": {"source": reference.source, "rows": reference.rows} if reference.rows else None,
        "rows": len(rows),
        "verdict": min((found.verdict for found in [*columns.values(), predictions]), key=WORST_FIRST.index),
        "features": sorted(features, key=lambda item: -(item["effect_size"] or 0.0)),
        "predictions": asdict(predictions),
    }


def _feature_drifts(
    version: ModelVersion, schema: Schema, instances: Sequence[Any], rows: Sequence[LoggedRow]
) -> dict[str, ColumnDrift]:
    hashed = {item["column"] for item in version.model.capture_exclude if isinstance(item, dict) and item["hash"]}
    return {
        feature.name: ColumnDrift(drift.NOT_COMPARED, "The prediction log keeps a hash of this column.")
        if feature.name in hashed
        else _feature_drift(feature, [_value(row, index, feature.name) for row in instances], rows)
        for index, feature in enumerate(schema.inputs[:MAX_FEATURES])
    }


def _feature_drift(feature: Feature, reference: Sequence[Any], rows: Sequence[LoggedRow]) -> ColumnDrift:
    kind = KINDS.get(feature.type)
    if kind is None:
        return ColumnDrift(drift.NOT_COMPARED, f"Values of the type {feature.type} are not compared.")
    current = [row.inputs[feature.name] for row in rows if feature.name in row.inputs]
    if rows and not current:
        return ColumnDrift(drift.NOT_COMPARED, "The prediction log does not keep this column.")
    return column_drift(reference, current, kind)


def _prediction_drift(schema: Schema | None, reference: Sequence[Any], rows: Sequence[LoggedRow]) -> ColumnDrift:
    if schema is None or not schema.has_one_label:
        return ColumnDrift(drift.NOT_COMPARED, "Answers of several outputs, and of transformers, are not compared.")
    current = [row.prediction for row in rows]
    if rows and all(value is None for value in current):
        return ColumnDrift(drift.NOT_COMPARED, "The prediction log does not keep predictions.")
    return column_drift(reference, current, drift.NUMBER if schema.kind == "regressor" else drift.CATEGORY)


def _bounded(rows: Sequence[Any]) -> Sequence[Any]:
    """Return a seeded sample of at most MAX_ROWS."""
    return rows if len(rows) <= MAX_ROWS else random.Random(drift.SEED).sample(rows, MAX_ROWS)  # noqa: S311


def _value(row: Any, index: int, name: str) -> Any:
    """Return a feature of a sample's row in any of its forms."""
    if isinstance(row, dict):
        return row.get(name)
    return row[index] if isinstance(row, list) else row
