"""Reads a large body of named rows of numbers into one array, without a dictionary of each row on the way.

The general way parses, looks each value over and gathers them by name. Here the decoder is told the names and the type
beforehand, and checks them as it reads: twice as quick. Whatever it does not take, for whatever reason, is left to the
general way, which knows the words for it.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
import orjson

from mlapi.protocols.json_bodies import count_quotes
from models_registry.artifacts.columns import are_in_range
from models_registry.artifacts.signature import Signature

# Less is read as quickly by the general way.
FEWEST_BYTES = 1 << 14
# The decoder looks for a name beginning with the one after the last: where all come in another order than the first
# row's, that takes the square of their number.
MOST_FEATURES = 256


class NumberRows(NamedTuple):
    """Float64 of shape (rows, features), and which of the body's flags are true."""

    array: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    flags: frozenset[str]


def read_number_rows(
    raw: bytes, signature: Signature, forms: tuple[str, ...], flags: tuple[str, ...] = ()
) -> NumberRows | None:
    """Return the rows that stand in `raw` under one of `forms`; None where anything is unusual, or wrong.

    `flags` are the booleans that may stand beside them.
    """
    names = signature.names
    if len(raw) < FEWEST_BYTES or not signature.is_plain or len(names) > MOST_FEATURES or not _starts(raw, names):
        return None
    decoder = _decoder(names, forms, flags)
    if decoder is None:
        return None
    try:
        body = decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    given = [field for field in (*forms, *flags) if getattr(body, field) is not msgspec.UNSET]
    listed = [form for form in forms if form in given]
    if len(listed) != 1:
        return None
    rows = getattr(body, listed[0])
    # Each name stands between two quotation marks: more of them, and a name stands twice.
    if count_quotes(raw) != 2 * (len(given) + len(rows) * len(names)):
        return None
    values = chain.from_iterable(map(msgspec.structs.astuple, rows))
    array = np.fromiter(values, np.float64, len(rows) * len(names)).reshape(len(rows), len(names))
    if not are_in_range(array):
        return None
    return NumberRows(array, frozenset(flag for flag in flags if getattr(body, flag) is True))


def _starts(raw: bytes, names: tuple[str, ...]) -> bool:
    """Say whether the first row has the features' names in their own order."""
    begin = raw.find(b"{", 1)
    try:
        row = orjson.loads(raw[begin : raw.find(b"}", begin) + 1])
    except orjson.JSONDecodeError:
        return False
    return type(row) is dict and tuple(row) == names


@lru_cache(maxsize=64)
def _decoder(
    names: tuple[str, ...], forms: tuple[str, ...], flags: tuple[str, ...]
) -> msgspec.json.Decoder[msgspec.Struct] | None:
    """Return a decoder of bodies whose rows have `names`; None where it can't be told one of them."""
    renamed = {f"feature_{index}": name for index, name in enumerate(names)}
    try:
        row = msgspec.defstruct(
            "Row", [(field, float) for field in renamed], rename=renamed, forbid_unknown_fields=True, gc=False
        )
    except ValueError:
        # a name that JSON would escape
        return None
    types: dict[str, Any] = dict.fromkeys(forms, list[row]) | dict.fromkeys(flags, bool)  # type: ignore[valid-type]
    fields = [(field, kind | msgspec.UnsetType, msgspec.UNSET) for field, kind in types.items()]
    return msgspec.json.Decoder(msgspec.defstruct("Body", fields, forbid_unknown_fields=True))
