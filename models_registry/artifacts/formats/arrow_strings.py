"""Reads pandas' Arrow-backed texts from a file without Arrow.

pandas writes them if pyarrow is installed. pyarrow's functions trust the lengths and offsets in a file, and could
read out of bounds. The functions here replace them under pyarrow's names, and return plain strings. The layout is
Arrow's columnar format: validity bits, offsets, and UTF-8 texts.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NoReturn

import numpy as np

from models_registry.errors import UntrustedArtifact

_OFFSETS: dict[str, np.dtype[Any]] = {"string": np.dtype("<i4"), "large_string": np.dtype("<i8")}
_BUFFERS = 3


class ArrowType(str):
    """The name of a text type."""

    __slots__ = ()


class Texts(list[str | None]):
    """The content of an Arrow array; None for a missing value."""

    __slots__ = ()


def _refuse(what: str) -> NoReturn:
    raise UntrustedArtifact(
        f"The artifact holds an Arrow array {what}. No ordinary file does. Publish it again from its training script, "
        "with plain lists in the place of pandas objects (columns.tolist())."
    )


def type_of(name: Any) -> ArrowType:
    """Return the text type called `name`; replaces `pyarrow.lib.type_for_alias`."""
    if name not in _OFFSETS:
        _refuse("of another type than text")
    return ArrowType(name)


def buffer_of(data: Any) -> bytes:
    """Return bytes; replaces `pyarrow.lib.py_buffer`."""
    if not isinstance(data, bytes | bytearray):
        _refuse("whose buffer is not bytes")
    return bytes(data)


def texts_of(data: Any) -> Texts:
    """Return the texts of one array; replaces `pyarrow.lib._restore_array`.

    `data` is (type, length, number of nulls, offset, buffers, children, dictionary), as pyarrow writes it.
    """
    if type(data) is not tuple or len(data) != 7:
        _refuse("in an unusual form")
    kind, length, _, offset, buffers, children, dictionary = data
    if type(kind) is not ArrowType or children != [] or dictionary is not None:
        _refuse("of another type than text")
    if type(buffers) is not list or len(buffers) != _BUFFERS:
        _refuse("without its buffers")
    if not all(type(number) is int and number >= 0 for number in (length, offset)):
        _refuse("whose length is not a number")
    validity, offsets, content = buffers
    if length == 0:
        return Texts()
    ends = _offsets(offsets, _OFFSETS[kind], offset, length)
    content = b"" if content is None else content
    if type(content) is not bytes or ends[-1] > len(content):
        _refuse("whose texts end past its bytes")
    is_there = _validity(validity, offset, length)
    try:
        return Texts(
            content[start:end].decode() if there else None
            for start, end, there in zip(ends[:-1], ends[1:], is_there, strict=True)
        )
    except UnicodeDecodeError:
        _refuse("with a text that is not valid UTF-8")


def _offsets(buffer: Any, dtype: np.dtype[Any], offset: int, length: int) -> list[int]:
    """Return the offsets of the texts and the end of the last one, in ascending order."""
    if type(buffer) is not bytes or (offset + length + 1) * dtype.itemsize > len(buffer):
        _refuse("with fewer offsets than texts")
    found: list[int] = np.frombuffer(buffer, dtype, count=length + 1, offset=offset * dtype.itemsize).tolist()
    if found[0] < 0 or any(end < start for start, end in pairwise(found)):
        _refuse("with offsets out of order")
    return found


def _validity(buffer: Any, offset: int, length: int) -> list[bool]:
    """Return which values are valid, from one bit each, lowest bit first; all of them without a buffer."""
    if buffer is None:
        return [True] * length
    if type(buffer) is not bytes or len(buffer) * 8 < offset + length:
        _refuse("with fewer bits than texts")
    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), bitorder="little")
    return [bool(bit) for bit in bits[offset : offset + length]]


def chunks_of(arrays: Any, kind: Any = None) -> Texts:
    """Return the texts of several arrays; replaces `pyarrow.lib.chunked_array`."""
    if type(arrays) is not list or not all(type(array) is Texts for array in arrays):
        _refuse("of values that are not texts")
    return Texts(text for array in arrays for text in array)


STAND_INS = {
    "pyarrow.lib.type_for_alias": type_of,
    "pyarrow.lib.py_buffer": buffer_of,
    "pyarrow.lib._restore_array": texts_of,
    "pyarrow.lib.chunked_array": chunks_of,
}
