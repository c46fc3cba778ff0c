"""Parses CSV rows; each value gets the type of its feature."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from mlapi.protocols.base import HttpError
from mlapi.protocols.encodings import decode_csv
from models_registry.artifacts.csv_fields import converter_of, guess
from models_registry.artifacts.schema import Schema


def read_csv(body: bytes, schema: Schema, content_type: str) -> tuple[list[Any] | None, list[list[Any]]]:
    """Return the column names (None without a header) and the rows; HttpError 400 for invalid CSV.

    `text/csv; header=present` and `header=absent` declare the header. Without either, the first line is a header if one
    of its fields is a feature name. A line that numbers the columns from 0, as pandas writes it for unnamed columns, is
    ambiguous and is refused. An empty field is a missing value.
    """
    lines = _lines(body)
    if schema.container == "records":
        return lines[0], [[guess(value) for value in line] for line in lines[1:]]
    names = lines[0] if _has_header(lines[0], schema, content_type) else None
    rows = lines[1:] if names is not None else lines
    if names == _counted(schema):
        names = None
    by_name = {feature.name: feature for feature in schema.inputs}
    features = list(schema.inputs) if names is None else [by_name.get(name) for name in names]
    convert = [converter_of(feature) for feature in features]
    return names, [
        [function(value) for function, value in zip(convert, line, strict=True)]
        if len(line) == len(convert)
        else list(line)  # the schema refuses rows of the wrong length
        for line in rows
    ]


def _lines(body: bytes) -> list[list[str]]:
    text = decode_csv(body)
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as error:
        raise HttpError(400, "invalid_csv", f"The body is not valid CSV ({error}).") from error
    if not lines:
        raise HttpError(400, "invalid_csv", "The CSV is empty; send a header of feature names and a line for each row.")
    return lines


def _has_header(line: Sequence[str], schema: Schema, content_type: str) -> bool:
    parameters = [part.strip().lower() for part in content_type.split(";")[1:]]
    if "header=present" in parameters or "header=absent" in parameters:
        return "header=present" in parameters
    if line == _counted(schema) and len(line) > 1 and schema.names != tuple(line):
        raise HttpError(
            400,
            "ambiguous_csv",
            f"The first line, {','.join(line[:8])}…, may be column numbers or a row. Send the Content-Type "
            "'text/csv; header=present' or 'text/csv; header=absent'.",
        )
    return bool(set(line) & set(schema.names))


def _counted(schema: Schema) -> list[str]:
    """Return the header that pandas writes for unnamed columns: 0, 1, 2 and so on."""
    return [str(index) for index in range(len(schema.inputs))]
