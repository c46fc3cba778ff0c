"""The inputs of an ONNX graph: their columns, and the conversion of rows to tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models_registry.artifacts.features import Feature, describe_value
from models_registry.errors import InputError, NoPrediction

Array = np.ndarray[Any, Any]
# The numpy type of JSON values, by the element type of a tensor.
DTYPES: dict[str, np.dtype[Any]] = {
    "float16": np.dtype(np.float16),
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "int8": np.dtype(np.int8),
    "int16": np.dtype(np.int16),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "uint8": np.dtype(np.uint8),
    "uint16": np.dtype(np.uint16),
    "uint32": np.dtype(np.uint32),
    "uint64": np.dtype(np.uint64),
    "bool": np.dtype(np.bool_),
    "string": np.dtype(object),
}
FEATURE_TYPES = {"f": "float", "i": "integer", "u": "integer", "b": "boolean", "O": "string"}
NUMBERS = {"float", "integer", "boolean"}
ROW_DIMENSIONS = 2


@dataclass(frozen=True, slots=True)
class GraphInput:
    """A tensor of shape (rows,) or (rows, width) that the graph takes.

    `width` is None if the graph does not fix it. `batch` is the number of rows of one run, or None.
    """

    name: str
    dtype: np.dtype[Any]
    rank: int
    width: int | None
    batch: int | None

    @property
    def type(self) -> str:
        """The type of its columns, as a schema names it."""
        return FEATURE_TYPES[self.dtype.kind]


def element_type(declared: str) -> str | None:
    """Return the element type of onnxruntime's `tensor(…)`; None for other types, e.g. `seq(map(…))`."""
    inner = declared.removeprefix("tensor(").removesuffix(")")
    return inner if declared == f"tensor({inner})" else None


def read_inputs(session: Any) -> tuple[GraphInput, ...]:
    """Return the graph's inputs; NoPrediction for an input that table columns cannot fill."""
    found = tuple(_read_input(one) for one in session.get_inputs())
    if not found:
        raise NoPrediction("The artifact's graph has no inputs. Convert the whole estimator.")
    batches = {one.batch for one in found if one.batch is not None}
    if len(batches) > 1:
        raise NoPrediction(
            f"The artifact's inputs take {' and '.join(map(str, sorted(batches)))} rows at a time; expected the same "
            "number. Convert the model with a first dimension of None."
        )
    return found


def _read_input(declared: Any) -> GraphInput:
    element = element_type(declared.type)
    dtype = DTYPES.get(element or "")
    if dtype is None:
        raise NoPrediction(
            f"The artifact's input {declared.name} is a {declared.type}, which JSON values cannot fill; expected a "
            f"tensor of {', '.join(DTYPES)}. Convert the model with such an input for its columns."
        )
    shape = declared.shape
    if len(shape) > ROW_DIMENSIONS:
        raise NoPrediction(
            f"The artifact's input {declared.name} has {len(shape)} dimensions ({_shown(shape)}), like images or "
            "sequences. Expected rows of a table, of the shape [None, columns]: this service predicts for tables."
        )
    batch = shape[0] if shape and isinstance(shape[0], int) and shape[0] > 0 else None
    # A tensor of unknown rank gets rows of columns, as converters expect.
    rank = len(shape) or ROW_DIMENSIONS
    width = shape[1] if len(shape) == ROW_DIMENSIONS else 1 if rank == 1 else None
    return GraphInput(declared.name, dtype, rank, width if isinstance(width, int) and width > 0 else None, batch)


def _shown(shape: Sequence[Any]) -> str:
    return f"[{', '.join('None' if size is None else str(size) for size in shape)}]"


class GraphColumns:
    """The columns of a table for the graph's inputs.

    Rows are an array of shape (rows, columns) in the inputs' order, or a DataFrame with the columns' names.
    """

    def __init__(self, inputs: Sequence[GraphInput]) -> None:
        self._inputs = tuple(inputs)
        # Several inputs of unknown width are one column each, as converters expect.
        self._widths = [one.width or 1 for one in inputs] if len(inputs) > 1 else [inputs[0].width or 0]

    @property
    def count(self) -> int | None:
        """The number of columns; None if the graph does not fix it."""
        return sum(self._widths) or None

    @property
    def names(self) -> list[str] | None:
        """The columns' names; None if one input takes all columns."""
        if len(self._inputs) == 1:
            return None
        names: list[str] = []
        for one, width in zip(self._inputs, self._widths, strict=True):
            names.extend([one.name] if width == 1 else [f"{one.name}_{index}" for index in range(width)])
        return names

    def features(self, names: Sequence[str]) -> tuple[Feature, ...]:
        """Return a feature for each of `names`, with the type that the graph declares."""
        if len(self._inputs) == 1:
            return tuple(Feature(name, self._inputs[0].type) for name in names)
        types = [one.type for one, width in zip(self._inputs, self._widths, strict=True) for _ in range(width)]
        return tuple(Feature(name, kind) for name, kind in zip(names, types, strict=True))

    def settle(self, features: Sequence[Feature]) -> tuple[Feature, ...]:
        """Return the features that a manifest declares; NoPrediction for one that the graph cannot take."""
        own = self.features([item.name for item in features])
        return tuple(_settled(given, told) for given, told in zip(features, own, strict=True))

    def feed(self, rows: Any) -> dict[str, Array]:
        """Return each input's tensor; InputError for a value that its type cannot hold exactly."""
        names = self.names
        table = rows
        if hasattr(rows, "columns"):
            is_named = names is not None and set(names) <= set(rows.columns)
            table = rows[names] if is_named else rows
            table = table.to_numpy(dtype=object if len({str(kind) for kind in table.dtypes}) > 1 else None)
        table = np.asarray(table)
        if table.ndim == 1:
            table = table.reshape(-1, 1)
        tensors, start = {}, 0
        for one, width in zip(self._inputs, self._widths, strict=True):
            part = table if len(self._inputs) == 1 else table[:, start : start + width]
            tensor = _as_dtype(part, one, names[start : start + width] if names else None)
            tensors[one.name] = np.ascontiguousarray(tensor.ravel() if one.rank == 1 else tensor)
            start += width
        return tensors


def _settled(given: Feature, own: Feature) -> Feature:
    if given.type == "any":
        given = replace(given, type=own.type)
    if (given.type in NUMBERS) != (own.type in NUMBERS) or given.type == "datetime":
        raise NoPrediction(
            f"The manifest declares the input {given.name!r} as {given.type}, the graph takes it as {own.type}. "
            "Correct the manifest's 'inputs' and publish again."
        )
    if given.nullable and own.type in {"integer", "boolean"}:
        raise NoPrediction(
            f"The manifest declares the input {given.name!r} nullable; the graph takes it as {own.type}, which has no "
            "missing value. Convert the model with a float input for it, or leave 'nullable' out."
        )
    return given


def _as_dtype(values: Array, target: GraphInput, names: Sequence[str] | None) -> Array:
    kind = target.dtype.kind
    if kind == "f":
        # Values beyond float32 were already refused with their feature.
        with np.errstate(over="ignore"):  # infinite results are refused
            narrow: Array = values.astype(target.dtype)
        if target.dtype.itemsize < np.dtype(np.float32).itemsize:
            _refuse(values, np.isinf(narrow) & ~np.isinf(values.astype(np.float64)), target, names)
        return narrow
    if kind == "O":
        # A missing text is "nan", as numpy and converters write it.
        return _each(_text, values)
    if values.dtype.kind in "iub":
        held: Array = values.astype(target.dtype)
        _refuse(values, held != values, target, names)
        return held
    numbers = _each(lambda value: _whole(value, target.dtype), values)
    _refuse(values, _each(lambda number: number is None, numbers).astype(np.bool_), target, names)
    whole: Array = numbers.astype(target.dtype)
    return whole


def _each(function: Callable[[Any], Any], values: Array) -> Array:
    """Return an object array with the result of `function` for each value."""
    made = np.empty(values.shape, dtype=object)
    made.ravel()[:] = [function(value) for value in values.ravel().tolist()]
    return made


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "nan" if value is None else str(value)


def _whole(value: Any, dtype: np.dtype[Any]) -> int | None:
    """Return `value` as an integer of `dtype`; None if that is not exact."""
    if isinstance(value, str) or value is None or not math.isfinite(value) or int(value) != value:
        return None
    lowest, highest = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return int(value) if lowest <= value <= highest else None


def _refuse(values: Array, refused: Array, target: GraphInput, names: Sequence[str] | None) -> None:
    """Raise InputError for the first refused value."""
    if not refused.any():
        return
    row, column = (int(index) for index in np.argwhere(refused)[0])
    name = names[column] if names else f"x{column}"
    found = values[row, column]
    if target.dtype.kind == "f":
        expected = f"a number up to {np.finfo(target.dtype).max:g}"
    elif target.dtype.kind == "b":
        expected = "true or false"
    else:
        limits = np.iinfo(target.dtype)
        expected = f"a whole number from {limits.min} to {limits.max}"
    said = describe_value(found.item() if hasattr(found, "item") else found)
    raise InputError(
        f"Row {row}, feature {name!r}: expected {expected}, which the graph takes as {target.dtype}, found {said}.",
        row=row,
        feature=name,
        expected=expected,
        found=said,
    )
