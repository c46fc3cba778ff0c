"""Decodes Universal Binary JSON (https://ubjson.org): the part that XGBoost writes, with limits on all sizes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from models_registry.errors import BrokenArtifact

MAX_DEPTH = 32
# Number of objects, lists and single values; all items of a typed array count as one.
MAX_VALUES = 20_000_000
_NUMBERS: dict[int, tuple[str, int]] = {
    ord("i"): (">i1", 1),
    ord("U"): (">u1", 1),
    ord("I"): (">i2", 2),
    ord("l"): (">i4", 4),
    ord("L"): (">i8", 8),
    ord("d"): (">f4", 4),
    ord("D"): (">f8", 8),
}
_FORMATS = {"i1": ">b", "u1": ">B", "i2": ">h", "i4": ">i", "i8": ">q", "f4": ">f", "f8": ">d"}
_PLAIN: dict[int, Any] = {ord("T"): True, ord("F"): False, ord("Z"): None}
_END_OF_ARRAY, _END_OF_OBJECT, _NOTHING = ord("]"), ord("}"), ord("N")


def decode(data: bytes) -> Any:
    """Return the value in `data`: dicts, lists, strings, numbers, and a numpy array for each typed array.

    Memory is limited to a small multiple of `data`: a declared length must fit the remaining bytes. Raises
    BrokenArtifact for anything but one whole value.
    """
    reader = _Reader(data)
    try:
        value = reader.value(0)
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise broken(f"it ends early or holds damaged text ({error})") from error
    if reader.place != len(data):
        raise broken(f"{len(data) - reader.place} bytes follow its end")
    return value


def broken(what: str) -> BrokenArtifact:
    """Return the error for bytes that are not UBJSON."""
    return BrokenArtifact(
        f"The XGBoost model in the artifact cannot be read: {what}. Save the model and publish it again."
    )


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0
        self._left = MAX_VALUES

    def value(self, depth: int, kind: int | None = None) -> Any:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise broken(f"it nests more than {MAX_DEPTH} deep, or holds more than {MAX_VALUES} values")
        kind = self._byte() if kind is None else kind
        if kind in _NUMBERS:
            return self._number(kind)
        if kind in _PLAIN:
            return _PLAIN[kind]
        compound: dict[int, Callable[[int], Any]] = {ord("{"): self._object, ord("["): self._array}
        if kind in compound:
            return compound[kind](depth + 1)
        if kind == ord("S"):
            return self._text(self._length())
        if kind == ord("C"):
            return self._text(1)
        raise broken(f"it has the unknown type {kind}")

    def _byte(self) -> int:
        found = self._data[self.place]
        self.place += 1
        return found

    def _take(self, count: int) -> bytes:
        if not 0 <= count <= len(self._data) - self.place:
            raise broken(f"it declares {count} bytes, but only {len(self._data) - self.place} follow")
        start = self.place
        self.place += count
        return self._data[start : self.place]

    def _number(self, kind: int) -> int | float:
        code, size = _NUMBERS[kind]
        return struct.unpack(_FORMATS[code[1:]], self._take(size))[0]  # type: ignore[no-any-return]

    def _length(self) -> int:
        kind = self._byte()
        if kind not in _NUMBERS or kind in b"dD":
            raise broken("it has a length that is not a whole number")
        return int(self._number(kind))

    def _text(self, length: int) -> str:
        return self._take(length).decode("utf-8")

    def _object(self, depth: int) -> dict[str, Any]:
        if self._data[self.place : self.place + 1] in (b"$", b"#"):
            raise broken("it has an object of a counted kind, which XGBoost never writes")
        found: dict[str, Any] = {}
        while self._data[self.place] != _END_OF_OBJECT:
            if self._data[self.place] == _NOTHING:
                self.place += 1
                continue
            name = self._text(self._length())
            if name in found:
                raise broken(f"it has {name[:40]!r} twice")
            found[name] = self.value(depth)
        self.place += 1
        return found

    def _array(self, depth: int) -> Any:
        mark = self._data[self.place]
        if mark == ord("$"):
            self.place += 1
            return self._typed_array()
        if mark == ord("#"):
            self.place += 1
            count = self._length()
            if not 0 <= count <= len(self._data) - self.place:
                raise broken(f"it declares {count} values, but only {len(self._data) - self.place} bytes follow")
            return [self.value(depth) for _ in range(count)]
        found: list[Any] = []
        while self._data[self.place] != _END_OF_ARRAY:
            found.append(self.value(depth))
        self.place += 1
        return found

    def _typed_array(self) -> np.ndarray[Any, Any]:
        kind = self._byte()
        if kind not in _NUMBERS or self._byte() != ord("#"):
            raise broken("it has an array of an unknown type")
        code, size = _NUMBERS[kind]
        count = self._length()
        if count < 0:
            raise broken("it has an array of a negative length")
        return np.frombuffer(self._take(count * size), dtype=code).astype(code.replace(">", "="))
