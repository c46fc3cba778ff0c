"""Parses JSON bodies of MLflow and SageMaker clients, which may write a missing number as `NaN`."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import Any

from mlapi.protocols.base import HttpError
from mlapi.protocols.json_bodies import parse, refuse_duplicate_keys, unique
from models_registry.artifacts.features import describe_value


def read(raw: bytes, *, example: str) -> dict[str, Any] | list[Any]:
    """Return the JSON object or list in `raw`, with null for each NaN."""
    value = _read_value(raw, example=f"an object like {example}")
    if type(value) is dict or type(value) is list:
        return value
    raise HttpError(
        400,
        "invalid_json",
        f"The body is {describe_value(value)}; expected an object like {example}, or a list of rows.",
    )


def read_lines(raw: bytes) -> list[Any]:
    """Return the rows of JSON Lines: each line has a row, or an object with the row under `features`."""
    rows = []
    for number, line in enumerate(raw.removeprefix(BOM_UTF8).splitlines(), 1):
        if line.strip():
            try:
                rows.append(_read_value(line, example="a row"))
            except HttpError as error:
                raise HttpError(error.status, error.code, f"Line {number}: {error}", **error.details) from error
    # The dense format of SageMaker's built-in algorithms.
    if rows and all(type(row) is dict and row.keys() == {"features"} and _is_row(row["features"]) for row in rows):
        return [row["features"] for row in rows]
    return rows


def _is_row(value: Any) -> bool:
    return type(value) is dict or type(value) is list


def _read_value(raw: bytes, *, example: str) -> Any:
    try:
        value = parse(raw, example=example)
    except HttpError as error:
        if error.code != "invalid_json" or b"NaN" not in raw:
            raise
        first = error
    else:
        refuse_duplicate_keys(raw, value)
        return value
    try:
        value = json.loads(raw, object_pairs_hook=unique, parse_constant=_missing)
        # orjson also refuses unpaired surrogates.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise first from None
    return value


def _missing(name: str) -> None:
    if name != "NaN":
        raise ValueError(name)
