"""Fields of CSV in the types of their features: requests and batch scoring read them alike."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from models_registry.artifacts.features import Feature

NUMBER = re.compile(r"[+-]?[0-9]{1,400}(?P<fraction>\.?[0-9]{0,400}(?:[eE][+-]?[0-9]{1,4})?)?|[+-]?\.[0-9]{1,400}")
# Digits and a sign of 64 bits.
MAX_INTEGER_LENGTH = 20
BOOLEANS = {"true": True, "false": False}


def converter_of(feature: Feature | None) -> Callable[[str], Any]:
    """Return the way from a field to its feature's type; what has another type stays text, which is refused."""
    if feature is None or feature.type == "any":
        return guess
    return {"string": _text, "datetime": _text, "boolean": _flag}.get(feature.type, _number)


def _text(field: str) -> Any:
    return field or None


def _boolean(field: str) -> Any:
    return BOOLEANS.get(field.strip().lower(), field) if field else None


def _flag(field: str) -> Any:
    """Return a boolean, or the number that stands for one: 0 and 1 are taken, any other is refused."""
    value = _boolean(field)
    return _number(field) if type(value) is str else value


def _number(field: str) -> Any:
    """Return a number; text if it is none, though float() would take it for one (nan, infinity, 1_000)."""
    text = field.strip()
    found = NUMBER.fullmatch(text)
    if found is None:
        return field if text else None
    return int(text) if not found["fraction"] and len(text) <= MAX_INTEGER_LENGTH else float(text)


def guess(field: str) -> Any:
    """Return a number, a boolean or the text itself; None for an empty field."""
    value = _number(field)
    return _boolean(field) if type(value) is str else value
