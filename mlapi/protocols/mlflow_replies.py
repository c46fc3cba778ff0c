"""Writes the response of `/invocations` in the content type that the client accepts."""

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
    """Labels of shape (rows,) or (rows, outputs), and the other requested results.

    `probabilities` has, for each class label, one entry per row. Each of `arrays` has one row per input row.
    """

    labels: Array
    probabilities: list[Any] | None
    arrays: Mapping[str, Array]

    def columns(self) -> dict[str, list[Any]]:
        """Return every part except the labels, by name, with one entry per row."""
        found: dict[str, list[Any]] = {} if self.probabilities is None else {"probabilities": self.probabilities}
        return found | {name: array.tolist() for name, array in self.arrays.items()}


def accepted(header: str) -> str:
    """Return the response's content type for an Accept header; HttpError 406 if none fits."""
    ranges = [item for item in map(_range, header.split(",")) if item[0]]
    if not ranges:
        return JSON
    # Of types with equal weights, the first one in the header wins.
    weights = {SECOND_NAMES.get(name, name): (weight, -place) for place, (name, weight) in enumerate(ranges)}
    best = max(WRITERS, key=lambda kind: _weight(kind, weights))
    if _weight(best, weights)[0] > 0:
        return best
    raise HttpError(
        406,
        "not_acceptable",
        f"The Accept header is {header[:200]!r}; expected one of {', '.join(WRITERS)}.",
        expected=list(WRITERS),
        found=header[:200],
    )


def write(kind: str, content: Content) -> bytes:
    """Return the content as `kind`, a content type from `accepted`."""
    return WRITERS[kind](content)


def _weight(kind: str, weights: Mapping[str, tuple[float, int]]) -> tuple[float, int]:
    """Return the weight of the most specific media range that matches `kind` (RFC 9110, section 12.5.1)."""
    ranges = (kind, f"{kind.partition('/')[0]}/*", "*/*")
    return next((weights[name] for name in ranges if name in weights), (0.0, 0))


def _range(item: str) -> tuple[str, float]:
    """Return a media range of an Accept header and its weight."""
    name, *parameters = (part.strip().lower() for part in item.split(";"))
    weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        value = float(weight)
    except ValueError:
        return name, 0.0
    return name, value if 0 <= value <= 1 else float(value > 1)


def _json(content: Content) -> bytes:
    return orjson.dumps({"predictions": content.labels.tolist(), **content.columns()})


def _json_lines(content: Content) -> bytes:
    columns = {"prediction": content.labels.tolist(), **content.columns()}
    return b"".join(
        orjson.dumps(dict(zip(columns, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE)
        for row in zip(*columns.values(), strict=True)
    )


def _csv(content: Content) -> bytes:
    """Return CSV without a header: labels, probabilities in the order of the classes, other values."""
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
    # The list's inferred type: an object array would be written as a pickle.
    np.save(raw, np.asarray(content.labels.tolist()), allow_pickle=False)
    return raw.getvalue()


WRITERS: dict[str, Callable[[Content], bytes]] = {JSON: _json, CSV: _csv, JSON_LINES: _json_lines, NPY: _npy}
SECOND_NAMES = {"application/jsonl": JSON_LINES, "application/x-ndjson": JSON_LINES}
