"""Parses a large body of named numeric rows into one array, without a dictionary for each row.

The general parser builds objects, checks each value and gathers the values by name. This decoder knows the names and
the type beforehand and checks them while it reads, which is twice as fast. It reads a few rows at a time, so that other
requests can run in between, and stops if that takes too long. The general parser then reads any body that this one does
not accept, and reports its errors.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
import orjson

from mlapi.protocols.json_bodies import count_quotes
from models_registry.artifacts.columns import are_in_range
from models_registry.artifacts.schema import Schema

# The general parser is as fast for smaller bodies.
MIN_BYTES = 1 << 14
# One piece holds the interpreter lock for half a millisecond.
PIECE_BYTES = 1 << 17
# The decoder searches each name from the position after the previous one. In another order than the schema's, the time
# is quadratic in the number of names. A number beyond 1e290 takes two hundred times as long as others.
MAX_FEATURES = 1024
# Beyond this time, the general parser reads the body instead.
MAX_SECONDS = 0.005
MAX_SECONDS_PER_BYTE = 20e-9  # plain rows take 3e-9 to 7e-9, including the gathering of their values
COMMA = re.compile(rb"[ \t\n\r]*,")
Decoder = msgspec.json.Decoder[list[msgspec.Struct]]


class NumberRows(NamedTuple):
    """Float64 values of shape (rows, features), and the names of the true flags."""

    array: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    flags: frozenset[str]


def read_number_rows(
    raw: bytes, schema: Schema, forms: tuple[str, ...], flags: tuple[str, ...] = ()
) -> NumberRows | None:
    """Return the rows in `raw` under one of `forms`; None if anything is unusual or invalid.

    `flags` are the booleans that are allowed next to the rows.
    """
    names = schema.names
    if len(raw) < MIN_BYTES or not schema.is_plain or len(names) > MAX_FEATURES:
        return None
    start, end = raw.find(b"[") + 1, raw.rfind(b"]")
    fields = _read_shell(raw[:start] + raw[end:], forms, flags) if 0 < start < end <= start + len(raw) else None
    decoder = _decoder(names)
    if fields is None or decoder is None or not _starts(raw, start, names):
        return None
    try:
        parts = [_values(rows, len(names)) for rows in _read_rows(raw, start, end, decoder)]
    except (msgspec.MsgspecError, UnicodeDecodeError, _UnusualError):
        return None
    array = np.concatenate(parts)
    # Each name has two quotation marks: more of them mean a repeated name.
    if count_quotes(raw) != 2 * (len(fields) + array.size) or not are_in_range(array):
        return None
    return NumberRows(array, frozenset(name for name, value in fields.items() if value is True))


class _UnusualError(Exception):
    """The rows need the general parser."""


def _read_shell(shell: bytes, forms: tuple[str, ...], flags: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the fields of a body without its rows: one of `forms`, and flags; None for other fields."""
    try:
        fields = orjson.loads(shell)
    except orjson.JSONDecodeError:
        return None
    if type(fields) is not dict:
        return None
    listed = [name for name in fields if name in forms]
    if len(listed) != 1 or fields[listed[0]] != []:
        return None
    others = fields.keys() - listed
    return fields if others <= set(flags) and all(type(fields[name]) is bool for name in others) else None


def _starts(raw: bytes, start: int, names: tuple[str, ...]) -> bool:
    """Return whether the first row, at `start`, has the names of the features in the schema's order."""
    try:
        row = orjson.loads(raw[start : raw.find(b"}", start) + 1])
    except orjson.JSONDecodeError:
        return False
    return type(row) is dict and tuple(row) == names


def _read_rows(raw: bytes, start: int, end: int, decoder: Decoder) -> Iterator[list[msgspec.Struct]]:
    """Yield the rows between `start` and `end`, some at a time; _UnusualError after the time limit."""
    view, began, at = memoryview(raw), time.thread_time(), start
    while True:
        # A row of numbers has one closing brace, its last byte.
        last = raw.find(b"}", min(at + PIECE_BYTES, end), end) + 1
        comma = COMMA.match(raw, last, end) if last else None
        if comma is None:
            last = end
        if last - at > 2 * PIECE_BYTES:
            raise _UnusualError
        rows = decoder.decode(b"".join((b"[", view[at:last], b"]")))
        if not rows:  # a comma without a row after it
            raise _UnusualError
        yield rows
        if comma is None:
            return
        at = comma.end()
        if time.thread_time() - began > MAX_SECONDS + MAX_SECONDS_PER_BYTE * (at - start):
            raise _UnusualError


def _values(rows: list[msgspec.Struct], width: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    values = chain.from_iterable(map(msgspec.structs.astuple, rows))
    return np.fromiter(values, np.float64, len(rows) * width).reshape(len(rows), width)


@lru_cache(maxsize=64)
def _decoder(names: tuple[str, ...]) -> Decoder | None:
    """Return a decoder of rows that have `names`; None if JSON would escape a character of a name."""
    renamed = {f"feature_{index}": name for index, name in enumerate(names)}
    try:
        row = msgspec.defstruct(
            "Row", [(field, float) for field in renamed], rename=renamed, forbid_unknown_fields=True, gc=False
        )
    except ValueError:
        # a name with a character that JSON would escape
        return None
    return msgspec.json.Decoder(list[row])  # type: ignore[valid-type]
