"""Parses JSON bodies from untrusted clients; the error says why a body is refused."""

from __future__ import annotations

import json
import re
import reprlib
from codecs import BOM_UTF8
from typing import Any

import numpy as np
import orjson

from mlapi.protocols.base import HttpError
from mlapi.protocols.encodings import encoding_hint
from models_registry.artifacts.features import describe_value

NUMBERS = frozenset({int, float})
QUOTE = ord('"')
# Bytes compared at a time, few enough for the processor's cache.
PIECE_BYTES = 1 << 18
# The text at which the parser stopped, with the character before it.
NOT_A_NUMBER = re.compile(r".?-?(?:nan|inf(?:inity)?)\b", re.IGNORECASE | re.DOTALL)
MAX_NOT_A_NUMBER = len("-Infinity") + 1


def read_object(raw: bytes | memoryview, *, example: str) -> dict[str, Any]:
    """Return the JSON object in `raw`; HttpError 400, with `example`, for other values and for repeated keys."""
    value = parse_object(raw, example=example)
    refuse_duplicate_keys(bytes(raw), value)
    return value


def parse_object(raw: bytes | memoryview, *, example: str) -> dict[str, Any]:
    """Return the JSON object in `raw`; HttpError 400 for other values. The last of repeated keys wins."""
    value = parse(raw, example=f"an object like {example}")
    if not isinstance(value, dict):
        raise HttpError(400, "invalid_json", f"The body is {describe_value(value)}; expected an object like {example}.")
    return value


def parse(raw: bytes | memoryview, *, example: str) -> Any:
    """Return the JSON value in `raw`; HttpError 400 if it is invalid, with `example` as the expected form.

    The last of repeated keys wins.
    """
    try:
        return loads(raw)
    except orjson.JSONDecodeError as error:
        problem = "empty" if not bytes(raw).strip() else f"not valid JSON ({error})"
        raise HttpError(
            400, "invalid_json", f"The body is {problem}; expected {example}{encoding_hint(raw) or _number_hint(error)}"
        ) from error


def loads(raw: bytes | memoryview) -> Any:
    """Return the value in `raw`, which may start with a byte order mark; raises orjson.JSONDecodeError."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        # Windows editors and Excel write a byte order mark, which the parser refuses.
        if raw[: len(BOM_UTF8)] != BOM_UTF8:
            raise
        return orjson.loads(raw[len(BOM_UTF8) :])


def _number_hint(error: orjson.JSONDecodeError) -> str:
    """Return the end of the error sentence: a next step for NaN and Infinity, which JSON does not have."""
    # For a minus sign or a lower-case n, the parser reports the position after it.
    around = error.doc[max(0, error.pos - 1) : error.pos + MAX_NOT_A_NUMBER]
    if NOT_A_NUMBER.match(around) is None:
        return "."
    return ". JSON has no NaN and no Infinity: send null for a missing value, or a finite number."


def refuse_duplicate_keys(raw: bytes, value: Any) -> None:
    """Raise HttpError for a repeated key in an object: the parser silently keeps the last one.

    Each key and each string has two quotation marks. If the count is right, no key is repeated. If it is not right, or
    a string has an escaped quotation mark, a slower parser reads the body again.
    """
    try:
        strings = count_strings(value)
    except RecursionError as error:
        raise _too_deep() from error
    refuse_unless_quotes(raw, 2 * strings)


def refuse_unless_quotes(raw: bytes, count: int) -> None:
    """Raise HttpError for a repeated key in `raw`, which has `count` quotation marks if no key is repeated."""
    if count_quotes(raw) == count:
        return
    try:
        json.loads(raw, object_pairs_hook=unique)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        # Python's parser refuses an integer of thousands of digits, which orjson accepts.
        raise HttpError(400, "invalid_json", f"The body is not valid JSON ({str(error)[:200]}).") from error


def _too_deep() -> HttpError:
    return HttpError(400, "invalid_json", "The body is nested too deeply. Send rows of plain values.")


def count_quotes(raw: bytes) -> int:
    """Return the number of quotation marks in `raw`. For a large body, numpy counts them five times as fast."""
    if len(raw) < PIECE_BYTES:
        return raw.count(b'"')
    octets = np.frombuffer(raw, np.uint8)
    pieces = range(0, len(octets), PIECE_BYTES)
    return sum(int(np.count_nonzero(octets[start : start + PIECE_BYTES] == QUOTE)) for start in pieces)


def count_strings(value: Any) -> int:
    """Return the number of strings in a parsed value, keys included."""
    if type(value) is str:
        return 1
    if type(value) is dict:
        return len(value) + sum(map(count_strings, value.values()))
    if type(value) is not list:
        return 0
    kinds = set(map(type, value))
    if kinds <= NUMBERS:
        return 0
    return len(value) if kinds == {str} else sum(map(count_strings, value))


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of `pairs`; HttpError 400 for a repeated key."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise HttpError(
            400,
            "duplicate_key",
            f"{reprlib.repr(twice)} appears twice in one object; send it once.",
            field=twice[:200],
        )
    return found
