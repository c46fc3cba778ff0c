"""The answer of `/invocations` in the content type that the caller accepts."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from mlapi.protocols.base import JSON, HttpError

CSV = "text/csv"
JSON_LINES = "application/jsonlines"
NPY = "application/x-npy"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Content:
    """Labels of shape (rows,) or (rows, outputs), and what else is asked for.

    `probabilities` are by class label, one entry for each row; `arrays` have one row for each row.
    """

    labels: Array
    probabilities: list[Any] | None
    arrays: Mapping[str, Array]

    def columns(self) -> dict[str, list[Any]]:
        """Return every part but the labels, by name, with one entry for each row."""
        found: dict[str, list[Any]] = {} if self.probabilities is None else {"probabilities": self.probabilities}
        return found | {name: array.tolist() for name, array in self.arrays.items()}


def accepted(header: str) -> str:
    """Return the content type of the answer to a caller's Accept header; HttpError 406 if none fits."""
    wanted = [item for item in map(_range, header.split(",")) if item[0]]
    if not wanted:
        return JSON
    for name, quality in sorted(wanted, key=lambda item: -item[1]):
        kind = WILDCARDS.get(name, name)
        if quality > 0 and kind in WRITERS:
            return kind
    raise HttpError(
        406,
        "not_acceptable",
        f"The Accept header is {header[:200]!r}; answers come as {', '.join(WRITERS)}.",
        expected=list(WRITERS),
        found=header[:200],
    )


def write(kind: str, content: Content) -> bytes:
    """Return the content as `kind`, one of those that `accepted` gives."""
    return WRITERS[kind](content)


def _range(item: str) -> tuple[str, float]:
    """Return a media range of an Accept header, and its weight."""
    name, *parameters = (part.strip().lower() for part in item.split(";"))
    weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        return name, float(weight)
    except ValueError:
        return name, 0.0


def _json(content: Content) -> bytes:
    return orjson.dumps({"predictions": content.labels.tolist(), **content.columns()})


def _json_lines(content: Content) -> bytes:
    columns = {"prediction": content.labels.tolist(), **content.columns()}
    return b"".join(
        orjson.dumps(dict(zip(columns, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE)
        for row in zip(*columns.values(), strict=True)
    )


def _csv(content: Content) -> bytes:
    """Return a line for each row, without a header: labels, probabilities in the order of the classes, other values."""
    text = io.StringIO(newline="")
    parts = [content.labels.tolist(), *content.columns().values()]
    csv.writer(text, lineterminator="\n").writerows(
        [value for part in row for value in _flat(part)] for row in zip(*parts, strict=True)
    )
    return text.getvalue().encode()


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return [item for part in value for item in _flat(part)] if isinstance(value, list) else [value]


def _npy(content: Content) -> bytes:
    if content.columns():
        raise HttpError(
            406, "not_acceptable", f"{NPY} holds one array; accept {JSON}, {JSON_LINES} or {CSV} for more than that."
        )
    raw = io.BytesIO()
    # The list's own type: an array of objects would be written as a pickle.
    np.save(raw, np.asarray(content.labels.tolist()), allow_pickle=False)
    return raw.getvalue()


WRITERS: dict[str, Callable[[Content], bytes]] = {JSON: _json, CSV: _csv, JSON_LINES: _json_lines, NPY: _npy}
# The second names of types, and the ranges.
WILDCARDS = {
    "*/*": JSON,
    "application/*": JSON,
    "text/*": CSV,
    "application/jsonl": JSON_LINES,
    "application/x-ndjson": JSON_LINES,
}
