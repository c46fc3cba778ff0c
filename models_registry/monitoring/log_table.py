"""Captured calls as a table with typed columns: one row for each prediction."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from models_registry.artifacts.prediction_json import confidences
from models_registry.artifacts.schema import Schema
from models_registry.inference.capture import EXCLUDE, HASH, CapturedCall
from models_registry.inference.ground_truth import LabelBatch
from models_registry.monitoring.plain_rows import column_values

INPUT = "input."
_TYPES = {"float": pa.float64(), "integer": pa.int64(), "string": pa.string(), "boolean": pa.bool_()}
HASH_DIGITS = 32


def table_of(calls: Sequence[CapturedCall], *, key: bytes) -> pa.Table:
    """Return the rows of `calls`, all of one version and of the same settings; `key` makes the hashes.

    The columns are `request_id`, `row`, `requested_at`, `version`, an `input.<name>` for each feature, `prediction` and
    `confidence`.
    """
    first = calls[0]
    schema, settings = first.schema, first.settings
    columns: dict[str, pa.Array] = {
        "request_id": pa.array([call.request_id for call in calls for _ in range(call.count)], pa.string()),
        "row": pa.array([row for call in calls for row in range(call.count)], pa.int32()),
        "requested_at": pa.array([call.at for call in calls for _ in range(call.count)], pa.timestamp("us", tz="UTC")),
        "version": pa.array([call.version for call in calls for _ in range(call.count)], pa.int32()),
    }
    if settings.inputs:
        columns |= _inputs(calls, schema, key)
    if settings.outputs:
        columns["prediction"] = _predictions(calls)
        columns["confidence"] = pa.array(
            [_number(value) for call in calls for value in confidences(call.prediction, schema) or [None] * call.count],
            pa.float64(),
        )
    return pa.table(columns)


def _inputs(calls: Sequence[CapturedCall], schema: Schema, key: bytes) -> dict[str, pa.Array]:
    hidden = dict(calls[0].settings.hidden)
    if schema.container == "records":
        rows = [_record(row, hidden, key) for call in calls for row in call.rows]
        return {f"{INPUT}record": pa.array(rows, pa.string())}
    found = {}
    for index, feature in enumerate(schema.inputs):
        how = hidden.get(feature.name)
        if how == EXCLUDE:
            continue
        values = [value for call in calls for value in column_values(call.rows, index)]
        if how == HASH:
            found[INPUT + feature.name] = pa.array([_hashed(value, key) for value in values], pa.string())
        else:
            found[INPUT + feature.name] = _typed(values, _TYPES.get(feature.type))
    return found


def _record(row: Mapping[str, Any], hidden: Mapping[str, str], key: bytes) -> str:
    """Return a row of a model that takes records, as JSON."""
    kept = {
        name: _hashed(value, key) if hidden.get(name) == HASH else value
        for name, value in row.items()
        if hidden.get(name) != EXCLUDE
    }
    return json.dumps(kept, ensure_ascii=False, default=str)


def _typed(values: list[Any], kind: pa.DataType | None) -> pa.Array:
    """Return a column of `kind`; as text where a value is of another one, so that no row is lost."""
    if kind is not None:
        try:
            return pa.array(values, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            pass  # e.g. a whole number beyond 64 bits
    return pa.array([value if value is None else str(value) for value in values], pa.string())


def _hashed(value: Any, key: bytes) -> str | None:
    """Return a keyed SHA-256: equal values stay equal, and cannot be found by trying."""
    if value is None:
        return None
    return hmac.new(key, str(value).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:HASH_DIGITS]


def label_table(batches: Sequence[LabelBatch]) -> pa.Table:
    """Return ground truth as a table: `request_id`, `row`, `label` and `received_at`, in the order of arrival."""
    rows = [(batch.at, item) for batch in batches for item in batch.labels]
    return pa.table(
        {
            "request_id": pa.array([item.request_id for _, item in rows], pa.string()),
            "row": pa.array([item.row for _, item in rows], pa.int32()),
            "label": _values([item.label for _, item in rows]),
            "received_at": pa.array([at for at, _ in rows], pa.timestamp("us", tz="UTC")),
        }
    )


def _predictions(calls: Iterable[CapturedCall]) -> pa.Array:
    return _values([_plain_prediction(value) for call in calls for value in call.prediction.predictions()])


def _values(values: list[Any]) -> pa.Array:
    """Return predictions or labels in the type that all of them have, else as text."""
    kinds = {type(value) for value in values}
    if kinds <= {int, float} and float in kinds:
        return pa.array([float(value) for value in values], pa.float64())
    for kind, typed in ((bool, pa.bool_()), (int, pa.int64())):
        if kinds == {kind}:
            return _typed(values, typed)
    return pa.array([str(value) for value in values], pa.string())


def _plain_prediction(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def _number(value: Any) -> float | None:
    """Return the confidence of a single output; of several there is no one number."""
    return float(value) if isinstance(value, float | int) else None
