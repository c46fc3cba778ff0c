"""Converts rows from the model's form back to plain Python values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from models_registry.artifacts.features import Feature
from models_registry.artifacts.schema import Schema


def instances_of(rows: Any, schema: Schema) -> list[dict[str, Any]]:
    """Return parsed rows in the form of a request: objects of JSON values by feature name."""
    if schema.container == "records":
        return list(rows)
    columns = [
        [_of_type(value, feature) for value in column_values(rows, index)]
        for index, feature in enumerate(schema.inputs)
    ]
    return [dict(zip(schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def _of_type(value: Any, feature: Feature) -> Any:
    """Return a float from an array as an integer if the feature is one."""
    if feature.type in ("integer", "boolean") and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def column_values(rows: Any, index: int) -> list[Any]:
    """Return a column of rows in any container."""
    if isinstance(rows, np.ndarray):
        values = rows[:, index].tolist()
    elif isinstance(rows, list):
        values = list(rows)
    else:
        values = rows.iloc[:, index].tolist()
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    """Return a value as its Python type; None for a missing value."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool | int | float | str):
        return value
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return None if text == "NaT" else text
