"""Converts tensors from JSON and bytes, and back."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from mlapi.protocols.base import HttpError
from models_registry.artifacts.features import describe_value

Array = np.ndarray[Any, Any]
DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
DATATYPES = (*DTYPES, "BYTES")
# The JSON types for each kind of dtype; null is a missing value.
ACCEPTED_TYPES: Mapping[str, set[type]] = {"b": {bool}, "u": {int}, "i": {int}, "f": {int, float, type(None)}}
IN_WORDS = {"b": "true or false", "u": "whole numbers", "i": "whole numbers", "f": "numbers or null"}
LARGEST_INT64 = 2**63 - 1
LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named input: its shape (one or two dimensions), and its values.

    `values` is an array, or for BYTES a flat list of strings, with None for a missing one.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Array | list[Any]

    @property
    def rows(self) -> int:
        """The size of the first dimension."""
        return self.shape[0]

    @property
    def width(self) -> int:
        """The number of values in a row."""
        return self.shape[1] if len(self.shape) == 2 else 1

    def matrix(self) -> Array | list[list[Any]]:
        """Return the values as a list of rows."""
        if isinstance(self.values, np.ndarray):
            return self.values.reshape(self.rows, self.width)
        return [self.values[start : start + self.width] for start in range(0, len(self.values), self.width)]

    def column(self) -> Array | list[Any]:
        """Return the values of a tensor with one value per row."""
        return self.values.reshape(-1) if isinstance(self.values, np.ndarray) else self.values


def read_shape(value: Any, name: str) -> tuple[int, ...]:
    """Return a shape of one or two dimensions; HttpError 400 for anything else."""
    if type(value) is list and 1 <= len(value) <= 2 and all(type(size) is int and size >= 0 for size in value):
        return tuple(value)
    found = str(value)[:80] if type(value) is list else describe_value(value)
    raise bad_tensor(name, f"'shape' must be [rows] or [rows, columns] of whole numbers, found {found}")


def from_json(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> Tensor:
    """Return the tensor from JSON `data`, either nested like the shape or flat in row-major order."""
    flat = _flat(name, shape, data)
    kinds = set(map(type, flat))
    if datatype == "BYTES":
        if not kinds <= {str, type(None)}:
            raise bad_tensor(name, f"BYTES takes strings in JSON, found {_first_other(flat, {str, type(None)})}")
        return Tensor(name, datatype, shape, flat)
    dtype = DTYPES[datatype]
    if not kinds <= ACCEPTED_TYPES[dtype.kind]:
        raise bad_tensor(
            name, f"{datatype} takes {IN_WORDS[dtype.kind]}, found {_first_other(flat, ACCEPTED_TYPES[dtype.kind])}"
        )
    try:
        with np.errstate(over="ignore"):  # The schema refuses infinite values later, with row and feature.
            values = np.array(flat, dtype=np.float64).astype(dtype) if dtype.kind == "f" else np.array(flat, dtype)
    except OverflowError:
        raise bad_tensor(name, f"a value is beyond the range of {datatype}") from None
    return Tensor(name, datatype, shape, values.reshape(shape))


def _flat(name: str, shape: tuple[int, ...], data: Any) -> list[Any]:
    if type(data) is not list:
        raise bad_tensor(name, f"'data' must be a list, found {describe_value(data)}")
    if len(shape) == 2 and data and type(data[0]) is list:
        rows, width = shape
        for index, row in enumerate(data):
            if type(row) is not list or len(row) != width:
                raise bad_tensor(
                    name,
                    f"row {index} of 'data' must be a list of {width} as 'shape' says, found {describe_value(row)}",
                )
        if len(data) != rows:
            raise bad_tensor(name, f"'shape' says {rows} rows, but 'data' has {len(data)}")
        return list(chain.from_iterable(data))
    if len(data) != prod(shape):
        raise bad_tensor(name, f"'shape' {list(shape)} needs {prod(shape)} values, but 'data' has {len(data)}")
    return data


def _first_other(values: Sequence[Any], accepted: set[type]) -> str:
    return next(describe_value(value) for value in values if type(value) not in accepted)


def from_bytes(name: str, datatype: str, shape: tuple[int, ...], raw: memoryview) -> Tensor:
    """Return the tensor of the little-endian values in `raw`; numbers are not copied."""
    count = prod(shape)
    if datatype == "BYTES":
        return Tensor(name, datatype, shape, _strings(name, count, raw))
    dtype = DTYPES[datatype]
    if count * dtype.itemsize != len(raw):
        raise bad_tensor(
            name,
            f"'shape' {list(shape)} of {datatype} needs {count * dtype.itemsize} bytes, "
            f"but 'binary_data_size' is {len(raw)}",
        )
    if datatype == "BOOL" and count and np.frombuffer(raw, np.uint8).max() > 1:
        raise bad_tensor(name, "a BOOL is one byte, 0 or 1")
    return Tensor(name, datatype, shape, np.frombuffer(raw, dtype).reshape(shape))


def _strings(name: str, count: int, raw: memoryview) -> list[str]:
    """Return `count` strings, each preceded by its length in four bytes."""
    found: list[str] = []
    position, end = 0, len(raw)
    for index in range(count):
        start = position + LENGTH.size
        if start > end or (position := start + LENGTH.unpack_from(raw, start - LENGTH.size)[0]) > end:
            raise bad_tensor(name, f"string {index} of {count} ends past the tensor's {end} bytes")
        try:
            found.append(str(raw[start:position], "utf-8"))
        except UnicodeDecodeError:
            raise bad_tensor(name, f"string {index} is not valid UTF-8; send text as UTF-8") from None
    if position != end:
        raise bad_tensor(name, f"{end - position} bytes are left after {count} strings")
    return found


def bad_tensor(name: str, problem: str) -> HttpError:
    """Return the error for an input tensor."""
    return HttpError(400, "invalid_tensor", f"Input {name[:200]!r}: {problem}.", field=name[:200])


def datatype_of(values: Array) -> str:
    """Return the datatype of an output: the widest of its kind."""
    kind = values.dtype.kind
    if kind == "O":
        kinds = set(map(type, values.ravel().tolist()))
        kind = "b" if kinds <= {bool} else "i" if kinds <= {int} else "f" if kinds <= {int, float} else "U"
    if kind in "iu" and values.size and values.max() > LARGEST_INT64:
        return "UINT64"
    return {"b": "BOOL", "i": "INT64", "u": "INT64", "f": "FP64"}.get(kind, "BYTES")


def write(name: str, values: Array, *, is_binary: bool) -> tuple[dict[str, Any], bytes]:
    """Return an output's JSON entry, and the bytes that follow the JSON (empty if the JSON has the values).

    An output of one dimension gets the shape `[rows, 1]`.
    """
    datatype = datatype_of(values)
    matrix = values.reshape(-1, 1) if values.ndim == 1 else values
    entry: dict[str, Any] = {"name": name, "shape": list(matrix.shape), "datatype": datatype}
    content_type = "str" if datatype == "BYTES" else "np"
    if datatype == "BYTES":
        flat: Any = [item if type(item) is str else str(item) for item in matrix.ravel().tolist()]
    else:
        flat = np.ascontiguousarray(matrix, dtype=DTYPES[datatype]).ravel()
    if not is_binary:
        return entry | {"parameters": {"content_type": content_type}, "data": flat}, b""
    raw = b"".join(map(_length_and_bytes, flat)) if datatype == "BYTES" else flat.tobytes()
    return entry | {"parameters": {"content_type": content_type, "binary_data_size": len(raw)}}, raw


def _length_and_bytes(text: str) -> bytes:
    raw = text.encode()
    return LENGTH.pack(len(raw)) + raw
