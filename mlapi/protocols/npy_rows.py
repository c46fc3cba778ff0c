"""Reads arrays in numpy's npy format without a copy; a pickle in the file is never loaded."""

from __future__ import annotations

import io
from math import prod
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib import format as npy

from mlapi.protocols.base import HttpError

# Booleans, integers, floats, texts, and structured types of those.
KINDS = "biufU"
# Exceptions of numpy, and of Python's parser that reads the header, for malformed files.
UNREADABLE = (ValueError, KeyError, TypeError, TokenError, MemoryError, RecursionError)
READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npy(body: bytes) -> np.ndarray[Any, Any]:
    """Return the array in `body`, of one or two dimensions; HttpError 400 for anything else."""
    stream = io.BytesIO(body)
    try:
        shape, is_fortran, dtype = READERS[npy.read_magic(stream)](stream)
    except UNREADABLE as error:
        raise _refusal("its header cannot be read") from error
    kinds = {dtype[name].kind for name in dtype.names} if dtype.names is not None else {dtype.kind}
    if not kinds <= set(KINDS) or dtype.itemsize == 0:
        raise _refusal(f"it holds {dtype}; expected numbers, booleans or texts of fixed width")
    if not 1 <= len(shape) <= 2 or min(shape) < 0:
        raise _refusal(f"its shape is {list(shape)}; expected [rows, features]")
    raw = memoryview(body)[stream.tell() :]
    if prod(shape) * dtype.itemsize != len(raw):
        raise _refusal(f"its shape is {list(shape)} of {dtype}, and {len(raw)} bytes follow the header")
    values = np.frombuffer(raw, dtype)
    try:
        array = values.reshape(shape[::-1]).T if is_fortran else values.reshape(shape)
    except ValueError as error:
        # A file without rows may declare more columns than numpy's sizes can represent.
        raise _refusal(f"its shape is {list(shape)}") from error
    return array if dtype.names is not None else array.astype(dtype.newbyteorder("="))


def _refusal(problem: str) -> HttpError:
    return HttpError(400, "invalid_npy", f"The body is not an npy array: {problem}. Write it with np.save.")
