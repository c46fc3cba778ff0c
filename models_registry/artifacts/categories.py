"""Categorical columns: the model compares their values with those of its training, in the training's dtype."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from models_registry.artifacts.datetimes import format_datetime
from models_registry.artifacts.features import EXACT_INTEGER, INTEGER_BOUNDS, Feature

ENCODERS = {"OneHotEncoder", "OrdinalEncoder", "TargetEncoder"}


def categorical(values: Any, *, closed: bool) -> Feature:
    """Return a column with the categories `values`, an array; `closed` if the model refuses other values."""
    if values.dtype.kind == "M":
        return _moments(values, closed=closed)
    items = values.tolist()
    known = [item for item in items if item is not None and not (isinstance(item, float) and math.isnan(item))]
    kind, dtype = _type_of(known), _dtype_of(values, known)
    if dtype in {"float16", "float32"}:
        # Shortest decimals of the same float32: 0.1, not 0.10000000149011612.
        known = [float(str(np.dtype(dtype).type(item))) for item in known]
    return Feature(
        "",
        "integer" if dtype in INTEGER_BOUNDS and all(type(item) is int for item in known) else kind,
        tuple(known),
        closed=closed,
        nullable=len(known) != len(items) or not closed,
        missing_is_none=any(item is None for item in items),
        dtype=dtype,
    )


def discretized(edges: Any) -> Feature:
    """Return a column that is binned at `edges`; the first and the last are values of the training data."""
    ends = [item for item in (float(edges[0]), float(edges[-1])) if math.isfinite(item)]
    return Feature("", "float", dtype="float32" if _were_narrow(ends) else None)


def _type_of(known: list[Any]) -> str:
    kinds = {type(item) for item in known}
    if kinds <= {str}:
        return "string"
    if kinds <= {bool}:
        return "boolean"
    return "float" if kinds <= {int, float} else "any"


def _dtype_of(values: Any, known: list[Any]) -> str | None:
    """Return the dtype in which a value equals its category; None if float64 or the value's own type will do."""
    if values.dtype.kind == "f":
        if values.dtype.itemsize < 8:
            return str(values.dtype.name)
        return "float32" if _were_narrow(known) else None
    integers = [item for item in known if type(item) is int]
    if max(map(abs, integers), default=0) <= EXACT_INTEGER:
        return None
    return "uint64" if values.dtype.kind == "u" else "int64" if values.dtype.kind == "i" else "object"


def _were_narrow(numbers: list[Any]) -> bool:
    """Return whether float64 numbers were converted from float32: their shortest decimals show it."""
    with np.errstate(over="ignore"):
        narrow = np.array(numbers, dtype=np.float64).astype(np.float32)
    return bool(np.array_equal(narrow.astype(np.float64), numbers)) and any(
        float(str(item)) != wide for item, wide in zip(narrow, numbers, strict=True)
    )


def _moments(values: Any, *, closed: bool) -> Feature:
    """Return a column with times as categories, in ISO 8601; an encoder treats a missing time as unknown."""
    known = tuple(format_datetime(value) for value in values if value == value)  # noqa: PLR0124 - NaT is not itself
    return Feature("", "datetime", known, closed=closed, nullable=not closed)
