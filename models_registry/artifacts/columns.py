"""Checks whole columns against a feature; numbers are checked by numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from models_registry.artifacts.features import (
    EXACT_INTEGER,
    INTEGER_BOUNDS,
    MAX_INTEGER,
    MAX_NUMBER,
    NARROW_DTYPES,
    Feature,
)

NUMBERS = frozenset({int, float})
Array = np.ndarray[Any, Any]


def check_column(feature: Feature, values: Sequence[Any] | Array) -> Sequence[Any] | Array:
    """Return `values` as the model takes them: an array for numbers and booleans, else a list.

    NaN in an array is a missing value, like null in a list. Raises InputError for the first invalid value.
    """
    if isinstance(values, np.ndarray):
        row = first_refused(feature, values)
        if row is not None:
            raise refusal(feature, values, row)
        if feature.type == "boolean" and values.dtype.kind != "b":
            return _as_booleans(feature, values)
        return values.astype(feature.dtype) if feature.dtype in NARROW_DTYPES else values
    if feature.type == "float" and not feature.closed and feature.dtype is None and set(map(type, values)) <= NUMBERS:
        numbers = as_numbers(values)
        if numbers is not None and are_in_range(numbers):
            return numbers
    return [feature.check(value, row) for row, value in enumerate(values)]


def _as_booleans(feature: Feature, column: Array) -> Sequence[Any] | Array:
    """Return a column of 0, 1 and NaN as booleans; as a list if a value is missing."""
    missing = np.isnan(column)
    if not missing.any():
        return np.asarray(column != 0)
    return [feature.check(None if gone else value, 0) for gone, value in zip(missing, column.tolist(), strict=True)]


def as_numbers(values: Sequence[Any]) -> Array | None:
    """Return plain numbers as float64; None if one is too large."""
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        return None


def are_in_range(numbers: Array) -> bool:
    """Return whether every number is finite and within the range of float32, in which many models compute."""
    if not numbers.size:
        return True
    # The sum of squares is faster to compute, and decides for all but huge numbers.
    if numbers.dtype == np.float64 and np.vdot(numbers, numbers) <= MAX_NUMBER:
        return True
    # NaN makes both comparisons false.
    return bool(numbers.min() >= -MAX_NUMBER and numbers.max() <= MAX_NUMBER)


def first_refused(feature: Feature, column: Array) -> int | None:
    """Return the first row of a numeric or boolean array with an invalid value."""
    if not len(column):
        return None
    is_boolean = column.dtype.kind == "b"
    if is_boolean and feature.type not in {"any", "boolean"}:
        return 0
    if feature.type in {"string", "datetime"}:
        return 0
    refused = missing = np.zeros(len(column), dtype=np.bool_)
    if column.dtype.kind == "f":
        # Compared in float64: in float16 the bounds would become infinite.
        size = np.abs(column.astype(np.float64, copy=False))
        missing = np.isnan(size)
        refused = ~(size <= MAX_NUMBER)
        if feature.type == "integer":
            refused |= (size >= MAX_INTEGER) | (size != np.floor(size))
        if feature.is_exact_integer:
            refused |= size > exact_integer(column.dtype)
    elif feature.type == "integer" and column.dtype.kind in "iu":
        lowest, highest = INTEGER_BOUNDS[feature.dtype or "int64"]
        refused = (column < lowest) | (column > highest)
    if feature.type == "boolean":
        refused = ~np.isin(column, (0, 1))
    if feature.closed and feature.dtype is not None:
        narrow = column.astype(feature.dtype) if feature.dtype in NARROW_DTYPES else column
        refused = refused | ~np.array([feature.knows(item) for item in narrow.tolist()], dtype=np.bool_)
    elif feature.closed and feature.categories is not None:
        known = [item for item in feature.categories if isinstance(item, int | float)]
        refused = refused | ~np.isin(column, np.array(known, dtype=np.float64))
    if feature.nullable:
        refused = refused & ~missing
    rows = np.flatnonzero(refused)
    return int(rows[0]) if len(rows) else None


def exact_integer(dtype: np.dtype[Any]) -> int:
    """Return the largest whole number below which a float dtype is exact: 2**53 for float64."""
    return 1 << (int(np.finfo(dtype).nmant) + 1)


def refusal(feature: Feature, column: Array, row: int) -> Exception:
    """Return the error for the value in `row`, the same as for a single value."""
    value = column[row].item()
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN alone differs from itself
        return feature.refusal(value, row)
    try:
        feature.check(value, row)
    except Exception as error:  # noqa: BLE001 - this error is the result
        return error
    if feature.is_exact_integer and isinstance(value, float):
        return feature.inexact(value, row)
    return feature.refusal(value, row)


def as_trained(feature: Feature, values: Sequence[Any] | Array) -> Any:
    """Return checked values as a column in the training's dtype; missing integers need a float dtype."""
    import pandas as pd

    if feature.dtype is not None and feature.type in {"float", "integer", "any"}:
        return as_dtype(feature.dtype, values)
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "b" or (feature.type == "any" and values.dtype.kind in "iu"):
            return values
        is_whole = feature.type == "integer" and (values.dtype.kind in "iu" or not np.isnan(values).any())
        return values.astype(np.int64 if is_whole else np.float64, copy=False)
    if feature.type == "any":
        return pd.Series(values).infer_objects()
    if feature.type == "string":
        # pandas would infer a type from all rows of a batch; a prediction must not depend on other rows. Object dtype:
        # regular expressions match differently in Arrow strings, which pandas uses if pyarrow is installed.
        kind = object if feature.missing_is_none else pd.StringDtype("python", na_value=np.nan)
        return pd.Series(values, dtype=kind)
    return np.array(values, dtype=_dtype(feature, values))


def as_dtype(dtype: str, values: Sequence[Any] | Array) -> Any:
    """Return numbers, some maybe missing, as a column that keeps each value exactly.

    In `dtype` if that is exact, else in float64, else a Series of objects.
    """
    import pandas as pd

    if dtype in NARROW_DTYPES:
        return np.asarray(values, dtype=np.float64).astype(dtype)
    items = [int(item) if type(item) is float and item.is_integer() else item for item in _listed(values)]
    kinds = set(map(type, items))
    if dtype != "object" and kinds == {int}:
        lowest, highest = INTEGER_BOUNDS[dtype]
        if lowest <= min(items) and max(items) <= highest:
            return np.array(items, dtype=dtype)
    if dtype != "object" and kinds <= NUMBERS and all(abs(item) <= EXACT_INTEGER or math.isnan(item) for item in items):
        return np.array(items, dtype=np.float64)
    return pd.Series(items, dtype=object)


def _listed(values: Sequence[Any] | Array) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _dtype(feature: Feature, values: Sequence[Any]) -> Any:
    if feature.type == "datetime":
        return "datetime64[ns]"
    if feature.type == "boolean":
        return np.bool_ if all(isinstance(value, bool) for value in values) else object
    if feature.type == "integer" and not any(isinstance(value, float) and math.isnan(value) for value in values):
        return np.int64
    return np.float64
