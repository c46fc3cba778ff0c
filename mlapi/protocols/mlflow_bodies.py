"""Reads a body as MLflow's own clients write it: JSON in which a missing number is `NaN`."""

from __future__ import annotations

import json
from typing import Any

from mlapi.protocols.base import HttpError
from mlapi.protocols.json_bodies import read_object, unique


def read(raw: bytes, *, example: str) -> dict[str, Any]:
    """Return the JSON object in `raw`, with null for each NaN."""
    try:
        return read_object(raw, example=example)
    except HttpError as error:
        if error.code != "invalid_json" or b"NaN" not in raw:
            raise
        first = error
    try:
        value = json.loads(raw, object_pairs_hook=unique, parse_constant=_missing)
        # What the quick parser refuses besides: half of a pair of surrogates.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise first from None
    if type(value) is not dict:
        raise first
    return value


def _missing(name: str) -> None:
    if name != "NaN":
        raise ValueError(name)
