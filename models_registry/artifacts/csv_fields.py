"""Converts CSV fields to their features' types, for requests and batch scoring."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from models_registry.artifacts.features import Feature

NUMBER = re.compile(r"[+-]?[0-9]{1,400}(?P<fraction>\.?[0-9]{0,400}(?:[eE][+-]?[0-9]{1,4})?)?|[+-]?\.[0-9]{1,400}")
# Digits and a sign of a 64-bit integer.
MAX_INTEGER_LENGTH = 20
BOOLEANS = {"true": True, "false": False}


def converter_of(feature: Feature | None) -> Callable[[str], Any]:
    """Return a converter from a field to its feature's type; a field of another type stays text, and is refused."""
    if feature is None or feature.type == "any":
        return guess
    return {"string": _text, "datetime": _text, "boolean": _flag}.get(feature.type, _number)


def _text(field: str) -> Any:
    return field or None


def _boolean(field: str) -> Any:
    return BOOLEANS.get(field.strip().lower(), field) if field else None


def _flag(field: str) -> Any:
    """Return a boolean, or the number 0 or 1; the schema refuses other numbers."""
    value = _boolean(field)
    return _number(field) if type(value) is str else value


def _number(field: str) -> Any:
    """Return a number, or the text if it is not one: float() would accept nan, infinity and 1_000."""
    text = field.strip()
    found = NUMBER.fullmatch(text)
    if found is None:
        return field if text else None
    return int(text) if not found["fraction"] and len(text) <= MAX_INTEGER_LENGTH else float(text)


def guess(field: str) -> Any:
    """Return a number, a boolean or the text itself; None for an empty field."""
    value = _number(field)
    return _boolean(field) if type(value) is str else value
