"""Logged calls as typed columns: one row for each prediction."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from models_registry.artifacts.prediction_json import confidences
from models_registry.artifacts.schema import Schema
from models_registry.inference.capture import EXCLUDE, HASH, CapturedCall
from models_registry.inference.ground_truth import LabelBatch
from models_registry.monitoring.plain_rows import column_values
from models_registry.parquet import (
    BOOLEAN,
    FLOAT,
    INTEGER,
    MOMENT,
    NUMBER_OF_ROW,
    TEXT,
    Column,
    as_text,
    typed,
)

INPUT = "input."
_TYPES = {"float": FLOAT, "integer": INTEGER, "boolean": BOOLEAN}
# Hexadecimal digits of a stored hash.
HASH_DIGITS = 32


def table_of(calls: Sequence[CapturedCall], *, key: bytes) -> dict[str, Column]:
    """Return the rows of `calls`, all of one version and the same settings; `key` is the hash key.

    The columns are `request_id`, `row`, `requested_at`, `version`, an `input.<name>` for each feature, `prediction` and
    `confidence`.
    """
    first = calls[0]
    schema, settings = first.schema, first.settings
    columns: dict[str, Column] = {
        "request_id": Column(TEXT, [call.request_id for call in calls for _ in range(call.count)]),
        "row": Column(NUMBER_OF_ROW, [row for call in calls for row in range(call.count)]),
        "requested_at": Column(MOMENT, [call.at for call in calls for _ in range(call.count)]),
        "version": Column(NUMBER_OF_ROW, [call.version for call in calls for _ in range(call.count)]),
    }
    if settings.inputs:
        columns |= _inputs(calls, schema, key)
    if settings.outputs:
        columns["prediction"] = _predictions(calls)
        columns["confidence"] = Column(
            FLOAT,
            [_number(value) for call in calls for value in confidences(call.prediction, schema) or [None] * call.count],
        )
    return columns


def _inputs(calls: Sequence[CapturedCall], schema: Schema, key: bytes) -> dict[str, Column]:
    hidden = dict(calls[0].settings.hidden)
    if schema.container == "records":
        rows = [_record(row, hidden, key) for call in calls for row in call.rows]
        return {f"{INPUT}record": Column(TEXT, rows)}
    found = {}
    for index, feature in enumerate(schema.inputs):
        how = hidden.get(feature.name)
        if how == EXCLUDE:
            continue
        values = [value for call in calls for value in column_values(call.rows, index)]
        if how == HASH:
            found[INPUT + feature.name] = Column(TEXT, [_hashed(value, key) for value in values])
        else:
            kind = _TYPES.get(feature.type)
            # Stored as texts if a value has another type, such as an integer beyond 64 bits: no row is lost.
            found[INPUT + feature.name] = typed(values, kind) if kind else as_text(values)
    return found


def _record(row: Mapping[str, Any], hidden: Mapping[str, str], key: bytes) -> str:
    """Return a row of a model that takes records, as JSON."""
    kept = {
        name: _hashed(value, key) if hidden.get(name) == HASH else value
        for name, value in row.items()
        if hidden.get(name) != EXCLUDE
    }
    return json.dumps(kept, ensure_ascii=False, default=str)


def _hashed(value: Any, key: bytes) -> str | None:
    """Return a keyed SHA-256: equal values have equal hashes, and guessing values fails without the key."""
    if value is None:
        return None
    return hmac.new(key, str(value).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:HASH_DIGITS]


def label_table(batches: Sequence[LabelBatch]) -> dict[str, Column]:
    """Return ground truth as a table: `request_id`, `row`, `label` and `received_at`, in order of arrival."""
    rows = [(batch.at, item) for batch in batches for item in batch.labels]
    return {
        "request_id": Column(TEXT, [item.request_id for _, item in rows]),
        "row": Column(NUMBER_OF_ROW, [item.row for _, item in rows]),
        "label": _values([item.label for _, item in rows]),
        "received_at": Column(MOMENT, [at for at, _ in rows]),
    }


def _predictions(calls: Iterable[CapturedCall]) -> Column:
    return _values([_plain_prediction(value) for call in calls for value in call.prediction.predictions()])


def _values(values: list[Any]) -> Column:
    """Return predictions or labels in their common type, else as text."""
    kinds = {type(value) for value in values}
    if kinds <= {int, float} and float in kinds:
        return Column(FLOAT, [float(value) for value in values])
    for kind, name in ((bool, BOOLEAN), (int, INTEGER)):
        if kinds == {kind}:
            return typed(values, name)
    return Column(TEXT, [str(value) for value in values])


def _plain_prediction(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def _number(value: Any) -> float | None:
    """Return the confidence of a single output; several outputs have no single confidence."""
    return float(value) if isinstance(value, float | int) else None
