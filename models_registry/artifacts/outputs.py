"""Converts a model's results to plain arrays, one entry per row; refuses values that JSON cannot represent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models_registry.artifacts import codes
from models_registry.errors import NoPrediction

Array = np.ndarray[Any, Any]
PLAIN = frozenset({str, int, float, bool})
# Booleans, integers, floats, strings of fixed and of variable width.
PLAIN_KINDS = "biufUT"
NUMERIC_KINDS = "biuf"
# The range of integers in JSON parsers and 64-bit tensors.
SMALLEST_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1


class UnequalRows(NoPrediction):
    """The model returned another number of rows than it got."""

    def __init__(self, found: int, what: str, expected: int, *, whose: str = "") -> None:
        rows = "row" if expected == 1 else "rows"
        super().__init__(
            f"The model returns {found} {what} for {whose}{expected} {rows}; expected one for each row.",
            advice="Publish a model that predicts each row by itself.",
            code=codes.UNEXPECTED_ANSWER,
        )
        self.counts = found, what, expected

    def of_sample(self) -> UnequalRows:
        """Return this error for the rows of the sample."""
        return UnequalRows(*self.counts, whose="the sample's ")


def as_array(value: Any, what: str = "predictions") -> Array:
    """Return sparse matrices, tables, lists and scalars as an array of numbers, strings or booleans.

    Raises NoPrediction for other values: dates, bytes, complex or structured numbers, missing values, objects, and rows
    of different lengths.
    """
    array = value if type(value) is np.ndarray else _to_numpy(value, what)
    kind = array.dtype.kind
    if kind == "O":
        return _plain_objects(array, what)
    if kind not in PLAIN_KINDS:
        raise _refusal(what, f"of the type {array.dtype}")
    # JSON has no long double.
    return array.astype(np.float64) if kind == "f" and array.dtype.itemsize > 8 else array


def as_labels(value: Any, rows: Any) -> Array:
    """Return the predictions of `rows`, shape (rows,) or (rows, outputs)."""
    labels = as_array(value)
    if labels.ndim == 0:
        labels = labels.reshape(1)
    _require_rows(labels, rows, "predictions")
    # Some estimators return a single output as a column.
    return labels.ravel() if labels.ndim == 2 and labels.shape[1] == 1 else labels


def as_probabilities(value: Any, rows: Any) -> Array | tuple[Array, ...] | None:
    """Return probabilities of shape (rows, classes); a tuple of these for several outputs, or None for None."""
    if value is None:
        return None
    if isinstance(value, list | tuple):
        arrays = tuple(_matrix(item, rows) for item in value)
        return arrays[0] if len(arrays) == 1 else arrays
    return _matrix(value, rows)


def _matrix(value: Any, rows: Any) -> Array:
    array = as_array(value, "probabilities")
    if array.ndim != 2 or array.dtype.kind not in NUMERIC_KINDS:
        raise _refusal(
            "probabilities",
            f"of the type {array.dtype} and the shape {array.shape}",
            "numbers of shape (rows, classes)",
        )
    _require_rows(array, rows, "probabilities")
    return array


def _require_rows(array: Array, rows: Any, what: str) -> None:
    if not isinstance(rows, Mapping) and len(array) != len(rows):
        raise UnequalRows(len(array), what, len(rows))


def _to_numpy(value: Any, what: str) -> Array:
    if hasattr(value, "toarray"):
        value = value.toarray()
    elif hasattr(value, "to_numpy"):
        value = value.to_numpy()
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise _refusal(what, "with masked values")
        value = value.data
    try:
        return np.asarray(value)
    except ValueError as error:
        raise _refusal(what, "of different lengths") from error


def _plain_objects(array: Array, what: str) -> Array:
    """Return an object array whose items are plain Python values."""
    items = array.ravel().tolist()
    kinds = set(map(type, items))
    if not kinds <= PLAIN:
        items = [item.item() if isinstance(item, np.generic) else item for item in items]
        strange = [item for item in items if type(item) not in PLAIN]
        if strange:
            raise _refusal(what, f"of the type {type(strange[0]).__name__}")
        plain = np.empty(len(items), dtype=object)
        plain[:] = items
        array = plain.reshape(array.shape)
    if int in kinds and any(type(item) is int and not SMALLEST_INTEGER <= item <= MAX_INTEGER for item in items):
        raise _refusal(what, "with an integer of more than 64 bits")
    return array


def _refusal(what: str, found: str, expected: str = "numbers, strings or booleans") -> NoPrediction:
    return NoPrediction(
        f"The model returns {what} {found}; expected {expected}.",
        advice="Publish a model that returns those.",
        code=codes.UNEXPECTED_ANSWER,
    )
