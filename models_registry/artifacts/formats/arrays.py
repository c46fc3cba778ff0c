"""Checks arrays and dtypes in pickles before numpy uses their description.

numpy trusts the description. A state that hides an object field makes numpy read pointers from the file. A list that
is too short makes it read out of bounds. So each description is compared with numpy's public constructors.
"""

import math
import re
from typing import Any, NoReturn

import numpy as np

from models_registry.errors import BrokenArtifact, UntrustedArtifact

_DTYPE_STATE_LENGTHS = {8, 9}
_COPYING_ARGUMENTS = 3
_ARRAY_STATE_LENGTH = 5
_MASKED_STATE_LENGTH = 7
# datetime64 and timedelta64: their unit is part of the state, which no public constructor restores.
_DATES = "mM"
_PLAIN_TYPE = re.compile(r"[biufcmMSUVO?]\d{0,9}")


def _refuse(what: str) -> NoReturn:
    raise UntrustedArtifact(
        f"The artifact describes {what}. No ordinary file does. Publish it again from its training script."
    )


def checked_dtype_arguments(arguments: tuple[Any, ...]) -> None:
    """Refuse `numpy.dtype(...)` unless it creates a new, plain type.

    Without the copy flag numpy returns its shared instance. The artifact could then change the byte order of that type
    for the whole process.
    """
    plain = (
        len(arguments) == _COPYING_ARGUMENTS
        and type(arguments[0]) is str
        # Older versions of numpy write the two flags as numbers.
        and all(type(flag) in (bool, int) for flag in arguments[1:])
        and tuple(map(int, arguments[1:])) == (0, 1)
    )
    if not plain:
        _refuse("an array type in an unusual way")
    if _PLAIN_TYPE.fullmatch(arguments[0]) is None:
        _refuse("an array type that is neither of numbers, nor of texts, nor of objects")


def set_dtype_state(dtype: np.dtype[Any], state: Any) -> None:
    """Set a dtype's pickled state, if numpy's public constructor gives the same dtype."""
    if type(state) is not tuple or len(state) not in _DTYPE_STATE_LENGTHS:
        _refuse("an array type with a malformed state")
    expected = _dtype_of_state(dtype, state)
    dtype.__setstate__(state)  # type: ignore[attr-defined]
    same = (
        dtype == expected
        and dtype.itemsize == expected.itemsize
        and dtype.hasobject == expected.hasobject
        and dtype.flags == expected.flags
    )
    if not same and dtype.kind in _DATES:
        raise UntrustedArtifact(
            f"The artifact holds an array of dates or times ({dtype}), which is not served. Encode dates as numbers or "
            "text before the first step of the pipeline, train it again and publish that."
        )
    if not same:
        _refuse(f"an array type that contradicts itself ({expected})")


def _dtype_of_state(dtype: np.dtype[Any], state: tuple[Any, ...]) -> np.dtype[Any]:
    _, byteorder, subarray, names, fields, itemsize, *_ = state
    if byteorder not in {"<", ">", "|", "="}:
        _refuse("an array type with an unknown byte order")
    if subarray is not None:
        base, shape = subarray
        if not isinstance(base, np.dtype) or base.hasobject:
            _refuse("a subarray of objects")
        return np.dtype((base, checked_shape(shape)))
    if names is not None:
        return _structured_dtype(names, fields, itemsize)
    if fields is not None:
        _refuse("an array type with fields, but without their names")
    return dtype if byteorder == "|" else dtype.newbyteorder(byteorder)


def _structured_dtype(names: Any, fields: Any, itemsize: Any) -> np.dtype[Any]:
    if type(names) is not tuple or type(fields) is not dict or set(fields) != set(names):
        _refuse("a structured array type whose names and fields differ")
    formats, offsets = [], []
    for name in names:
        field, offset = fields[name][:2]
        if not isinstance(field, np.dtype) or field.hasobject or type(offset) is not int or offset < 0:
            _refuse("a structured array type with a field of objects, or with a field outside of the item")
        formats.append(field)
        offsets.append(offset)
    return np.dtype({"names": list(names), "formats": formats, "offsets": offsets, "itemsize": itemsize})


def checked_shape(shape: Any) -> tuple[int, ...]:
    """Return the shape as a tuple of integers that are not negative."""
    if type(shape) is int:
        shape = (shape,)
    plain = type(shape) is tuple and all(isinstance(n, int | np.integer) and n >= 0 for n in shape)
    if not plain:
        _refuse("an array whose shape is not a tuple of sizes")
    return tuple(int(n) for n in shape)


def checked_array_state(array: np.ndarray[Any, Any], state: Any) -> None:
    """Refuse an array's pickled state unless its data has the length of its shape and type."""
    if type(state) is not tuple or len(state) != _ARRAY_STATE_LENGTH:
        _refuse("an array with a malformed state")
    _check_data(state[1], state[2], state[4])
    if array.size:
        _refuse("a second state for an array")


def checked_masked_state(state: Any) -> None:
    """Refuse a masked array's pickled state unless its data has the length of its shape and type."""
    if type(state) is not tuple or len(state) != _MASKED_STATE_LENGTH:
        _refuse("a masked array with a malformed state")
    _check_data(state[1], state[2], state[4])


def _check_data(shape: Any, dtype: Any, data: Any) -> None:
    if not isinstance(dtype, np.dtype):
        _refuse("an array without a type")
    count = math.prod(checked_shape(shape))
    if dtype.hasobject:
        if type(data) is not list or len(data) != count:
            _refuse(f"an array of {count} objects, but holds another number of them")
    elif not isinstance(data, bytes) or len(data) != count * dtype.itemsize:
        _refuse(f"an array of {count * dtype.itemsize} bytes, but holds another number of them")


def read_array_data(stream: Any, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any) -> Any:
    """Read an array's bytes, as joblib wrote them, directly into the array."""
    if order not in {"C", "F"}:
        _refuse("an array in an unknown order")
    count = math.prod(shape)
    raw = np.empty(count * dtype.itemsize, dtype=np.uint8)
    _fill(stream, memoryview(raw))  # type: ignore[arg-type]
    array = raw.view(dtype) if raw.size else np.empty(count, dtype=dtype)
    array = array.reshape(shape[::-1]).transpose() if order == "F" else array.reshape(shape)
    native = dtype.newbyteorder("=")
    return array if native == dtype else array.astype(native)


def _fill(stream: Any, target: memoryview) -> None:
    filled = 0
    while filled < len(target):
        got = stream.readinto(target[filled:])
        if not got:
            raise BrokenArtifact(
                f"The artifact ends inside an array: it declares {len(target)} bytes, but only {filled} follow. "
                "Publish it again."
            )
        filled += got
