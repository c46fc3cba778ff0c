"""Reads JSON that came from anywhere: what is not exactly one object, each key once, is refused in words."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from typing import Any

import numpy as np
import orjson

from mlapi.protocols.base import HttpError
from mlapi.protocols.encodings import encoding_hint
from models_registry.artifacts.features import describe_value

NUMBERS = frozenset({int, float})
QUOTE = ord('"')
# What is compared at once stays in the processor's cache.
PIECE_BYTES = 1 << 18
# What stands where the parser stopped, with the character before it.
NO_NUMBER = re.compile(r".?-?(?:nan|inf(?:inity)?)\b", re.IGNORECASE | re.DOTALL)
MAX_NO_NUMBER = len("-Infinity") + 1


def read_object(raw: bytes | memoryview, *, example: str) -> dict[str, Any]:
    """Return the JSON object in `raw`, each key once; an HttpError 400 otherwise, which shows `example`."""
    value = parse_object(raw, example=example)
    refuse_duplicate_keys(bytes(raw), value)
    return value


def parse_object(raw: bytes | memoryview, *, example: str) -> dict[str, Any]:
    """Return the JSON object in `raw`; an HttpError 400 otherwise. Of a key that stands twice the last is kept."""
    value = parse(raw, example=f"an object like {example}")
    if not isinstance(value, dict):
        raise HttpError(400, "invalid_json", f"The body is {describe_value(value)}; expected an object like {example}.")
    return value


def parse(raw: bytes | memoryview, *, example: str) -> Any:
    """Return the JSON value in `raw`; an HttpError 400 otherwise, which says that `example` is expected.

    Of a key that stands twice the last is kept.
    """
    try:
        return loads(raw)
    except orjson.JSONDecodeError as error:
        problem = "empty" if not bytes(raw).strip() else f"no valid JSON ({error})"
        raise HttpError(
            400, "invalid_json", f"The body is {problem}; expected {example}{encoding_hint(raw) or _number_hint(error)}"
        ) from error


def loads(raw: bytes | memoryview) -> Any:
    """Return the value in `raw`, which may begin with a byte order mark; orjson.JSONDecodeError otherwise."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        # Windows' editors and Excel write the mark, and the parser refuses it.
        if raw[: len(BOM_UTF8)] != BOM_UTF8:
            raise
        return orjson.loads(raw[len(BOM_UTF8) :])


def _number_hint(error: orjson.JSONDecodeError) -> str:
    """Return the end of the sentence: a next step where a number stands there that Python writes and JSON lacks."""
    # For a sign or a small n the parser names the character behind it.
    around = error.doc[max(0, error.pos - 1) : error.pos + MAX_NO_NUMBER]
    if NO_NUMBER.match(around) is None:
        return "."
    return ". JSON has neither NaN nor Infinity: send null for a missing value, else a finite number."


def refuse_duplicate_keys(raw: bytes, value: Any) -> None:
    """Raise HttpError if a key stands twice in one object: the parser keeps the last in silence.

    Each key and each string brings two quotation marks. Where the count is right nothing stands twice; only if it is
    not (or where a string has an escaped one) is the body read again, slowly.
    """
    try:
        strings = count_strings(value)
    except RecursionError as error:
        raise _too_deep() from error
    refuse_unless_quotes(raw, 2 * strings)


def refuse_unless_quotes(raw: bytes, count: int) -> None:
    """Raise HttpError if a key stands twice in `raw`, which without such has `count` quotation marks."""
    if count_quotes(raw) == count:
        return
    try:
        json.loads(raw, object_pairs_hook=unique)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        # What the quick parser took and Python's does not: an integer of thousands of digits.
        raise HttpError(400, "invalid_json", f"The body is no valid JSON ({str(error)[:200]}).") from error


def _too_deep() -> HttpError:
    return HttpError(400, "invalid_json", "The body is nested too deeply. Send rows of plain values.")


def count_quotes(raw: bytes) -> int:
    """Return how many quotation marks `raw` holds; in a large body by numpy, which is five times as quick."""
    if len(raw) < PIECE_BYTES:
        return raw.count(b'"')
    octets = np.frombuffer(raw, np.uint8)
    pieces = range(0, len(octets), PIECE_BYTES)
    return sum(int(np.count_nonzero(octets[start : start + PIECE_BYTES] == QUOTE)) for start in pieces)


def count_strings(value: Any) -> int:
    """Return how many strings, keys included, a parsed value holds."""
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
    """Return the object of `pairs`; an HttpError 400 where a key stands twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise HttpError(
            400,
            "duplicate_key",
            f"{describe_value(twice)[len('the string ') :]} stands twice in one object; send it once.",
            field=twice[:200],
        )
    return found
