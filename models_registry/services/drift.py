"""Drift of a model in service: served values compared with the reference of their version.

Logged rows are compared if there are any. Without them, or without reference rows, the usage windows' counts are
compared with the reference's, bin by bin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from models_registry.artifacts.features import Feature
from models_registry.artifacts.schema import Schema
from models_registry.models import FeatureBins, ModelVersion, RegisteredModel
from models_registry.monitoring import drift
from models_registry.monitoring.binned_drift import binned_drift
from models_registry.monitoring.drift import KINDS, ColumnDrift, column_drift
from models_registry.monitoring.feature_bins import MAX_FEATURES
from models_registry.monitoring.log_reading import LoggedRow
from models_registry.monitoring.usage_report import counted_values
from models_registry.monitoring.value_counts import ValueCounts
from models_registry.services.captures import read_captures
from models_registry.services.feature_bins import StoredBins, hidden_columns, read_bins
from models_registry.services.logged_rows import logged_rows_over
from models_registry.services.references import feature_value, reference_of

# Limits per version for one request.
MAX_ROWS = 2_000
WORST_FIRST = (drift.DRIFTED, drift.STABLE, drift.TOO_FEW_ROWS, drift.NOT_COMPARED)
NOT_CAPTURED = "not captured"
LOG, WINDOWS = "log", "windows"
TURN_ON = (
    "The prediction log is off. Versions with a reference are compared by the counts of the usage windows. To compare "
    'logged rows, turn the log on: PATCH /api/models/{name} with {{"capture_percent": 10}}.'
)
NO_BINS = f"It has no bins: more than {drift.MAX_CATEGORIES} different values, or the log's settings exclude it."
SEVERAL_OUTPUTS = ColumnDrift(drift.NOT_COMPARED, "Answers of several outputs, and of transformers, are not compared.")


def drift_report(
    model: RegisteredModel, window: timedelta, *, number: int | None = None, now: datetime | None = None
) -> dict[str, Any]:
    """Return the drift of `model` by version for the requests in `window`, as JSON values.

    `number` selects one version. Raises StorageError if logged rows are needed and their storage is unavailable.
    """
    now = now or timezone.now()
    is_captured = model.name in read_captures()
    asked = model.versions.filter(Q(number=number) if number is not None else Q(pk=model.active_version_id))
    named = set(asked.values_list("pk", flat=True))
    counted = counted_values(model, now - window, now)
    if number is not None:
        counted = {pk: counts for pk, counts in counted.items() if pk in named}
    # Logged rows are compared value by value if there are reference rows.
    binned = {
        pk: bins for pk, bins in read_bins(named | counted.keys()).items() if not is_captured or _is_last_resort(bins)
    }
    logged: Mapping[int, list[LoggedRow]] = {}
    if is_captured or not named <= binned.keys():
        logged = logged_rows_over(model, window, now=now, limit=MAX_ROWS, number=number)
    shown = Q(pk__in=named) | Q(number__in=logged) | Q(pk__in=counted.keys() & binned.keys())
    versions = model.versions.filter(shown).select_related("model", "reference_rows").newest_first()
    return {
        "model": model.name,
        "state": "captured" if is_captured else NOT_CAPTURED,
        "note": "" if is_captured else TURN_ON.format(name=model.name),
        "min_rows": drift.MIN_ROWS,
        "max_rows": MAX_ROWS,
        "threshold": drift.THRESHOLD,
        "versions": [
            _counted_content(version, binned[version.pk], counted.get(version.pk))
            if version.pk in binned and version.schema
            else _logged_content(version, logged.get(version.number, []))
            for version in versions
        ],
    }


def _is_last_resort(bins: StoredBins) -> bool:
    """Return whether the reference is only the counts of the first served rows, without reference rows."""
    return bins.source == FeatureBins.Source.SERVED


# From the prediction log


def _logged_content(version: ModelVersion, rows: Sequence[LoggedRow]) -> dict[str, Any]:
    schema = Schema.from_json(version.schema) if version.schema else None
    reference = reference_of(version)
    columns = _feature_drifts(version, schema, reference.instances, rows) if schema is not None else {}
    predictions = _prediction_drift(schema, reference.predictions, rows)
    named = {"source": reference.source, "rows": reference.rows} if reference.rows else None
    return _content(version, columns, predictions, basis=LOG, reference=named, rows=len(rows), dropped=0)


def _feature_drifts(
    version: ModelVersion, schema: Schema, instances: Sequence[Any], rows: Sequence[LoggedRow]
) -> dict[str, ColumnDrift]:
    hashed = {item["column"] for item in version.model.capture_exclude if isinstance(item, dict) and item["hash"]}
    return {
        feature.name: ColumnDrift(drift.NOT_COMPARED, "The prediction log keeps a hash of this column.")
        if feature.name in hashed
        else _feature_drift(feature, [feature_value(row, index, feature.name) for row in instances], rows)
        for index, feature in enumerate(schema.inputs[:MAX_FEATURES])
    }


def _feature_drift(feature: Feature, reference: Sequence[Any], rows: Sequence[LoggedRow]) -> ColumnDrift:
    kind = KINDS.get(feature.type)
    if kind is None:
        return _type_not_compared(feature)
    current = [row.inputs[feature.name] for row in rows if feature.name in row.inputs]
    if rows and not current:
        return ColumnDrift(drift.NOT_COMPARED, "The prediction log does not keep this column.")
    return column_drift(reference, current, kind)


def _type_not_compared(feature: Feature) -> ColumnDrift:
    return ColumnDrift(drift.NOT_COMPARED, f"Values of the type {feature.type} are not compared.")


def _prediction_drift(schema: Schema | None, reference: Sequence[Any], rows: Sequence[LoggedRow]) -> ColumnDrift:
    if schema is None or not schema.has_one_label:
        return SEVERAL_OUTPUTS
    current = [row.prediction for row in rows]
    if rows and all(value is None for value in current):
        return ColumnDrift(drift.NOT_COMPARED, "The prediction log does not keep predictions.")
    return column_drift(reference, current, drift.NUMBER if schema.kind == "regressor" else drift.CATEGORY)


# From the usage windows


def _counted_content(version: ModelVersion, stored: StoredBins, counted: ValueCounts | None) -> dict[str, Any]:
    schema = Schema.from_json(version.schema or {})
    columns = stored.bins.columns
    hidden = hidden_columns(version.model)
    if counted is None or counted.bins != stored.pk:
        counted = ValueCounts(stored.pk, tuple((0,) * column.size for column in columns))
    found = {
        column.position: binned_drift(column, current)
        for column, current in zip(columns, counted.columns, strict=True)
        if column.position is None or column.name not in hidden
    }
    no_labels = ColumnDrift(drift.NOT_COMPARED, "The reference has no predictions, or too many different ones.")
    features = {
        feature.name: found.get(index) or _not_counted(feature)
        for index, feature in enumerate(schema.inputs[:MAX_FEATURES])
    }
    predictions = found.get(None, no_labels) if schema.has_one_label else SEVERAL_OUTPUTS
    source = version.reference["name"] if stored.source == FeatureBins.Source.FILE and version.reference else None
    return _content(
        version,
        features,
        predictions,
        basis=WINDOWS,
        reference={"source": source or stored.source, "rows": stored.rows},
        rows=counted.rows,
        dropped=counted.dropped,
    )


def _not_counted(feature: Feature) -> ColumnDrift:
    if feature.type not in KINDS:
        return _type_not_compared(feature)
    return ColumnDrift(drift.NOT_COMPARED, NO_BINS)


def _content(
    version: ModelVersion, columns: Mapping[str, ColumnDrift], predictions: ColumnDrift, **found: Any
) -> dict[str, Any]:
    features = [{"name": name, **asdict(column)} for name, column in columns.items()]
    return {
        "version": version.number,
        **found,
        "verdict": min((column.verdict for column in [*columns.values(), predictions]), key=WORST_FIRST.index),
        "features": sorted(features, key=lambda item: -(item["effect_size"] or 0.0)),
        "predictions": asdict(predictions),
    }
