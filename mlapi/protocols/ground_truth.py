"""`POST /models/{name}/ground-truth`: labels that became known after the prediction, as JSON, JSON Lines or CSV."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from mlapi.protocols.base import JSON, Call, HttpError, Reply, find_model
from mlapi.protocols.encodings import decode_csv
from mlapi.protocols.json_bodies import loads, parse, refuse_duplicate_keys
from models_registry.artifacts.csv_fields import guess
from models_registry.artifacts.features import describe_value
from models_registry.artifacts.labels import class_of, classes_of
from models_registry.artifacts.schema import Schema
from models_registry.inference.ground_truth import Label, LabelBatch, LabelValue
from models_registry.inference.runtime import Runtime

CSV = "text/csv"
CONTENT_TYPES = (JSON, CSV, "application/jsonl", "application/x-ndjson", "application/jsonlines")
EXAMPLE = '{"request_id": "…", "row": 0, "label": 1}'
FIELDS = ("request_id", "row", "label")

MAX_BODY_BYTES = 4_000_000
MAX_LABELS = 10_000
MAX_LABEL_CHARACTERS = 1_000
MAX_ROW = 2**31 - 1
MAX_ERRORS_SHOWN = 20
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")

# The position of a label in the body, as errors name it, and the parsed value.
Entry = tuple[str, int, Any]


def answer(call: Call, runtime: Runtime) -> Reply:
    """Queue all labels in the body for writing and return 202; after an error, no label is stored."""
    loaded = find_model(runtime.snapshot, call.model, call.version)
    if not loaded.schema.has_one_label:
        kind = loaded.schema.kind.replace("_", " ")
        raise HttpError(
            400,
            "no_single_label",
            f"{loaded.name!r} ({kind}, {loaded.schema.outputs} outputs) does not take ground truth; only models with "
            "one label or value per row do.",
        )
    labels = _labels(_entries(call), loaded.schema)
    batch = LabelBatch(loaded.name, labels, datetime.now(UTC))
    if not runtime.ground_truth.offer(batch):
        raise HttpError(
            503, "ground_truth_queue_full", "Too many labels are queued. No label was stored; send them again later."
        ).with_header("Retry-After", "5")
    content = {"accepted": len(labels), "model": loaded.name, "request_id": call.request_id}
    return Reply(202, orjson.dumps(content))


def _entries(call: Call) -> list[Entry]:
    """Return the body's entries with their positions: index from 0 in a list, else line number from 1."""
    if len(call.body) > MAX_BODY_BYTES:
        raise _too_many(f"{len(call.body)} bytes; at most {MAX_BODY_BYTES}")
    kind = call.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == CSV:
        found = _bounded(_read_csv(call.body))
    elif kind in CONTENT_TYPES and kind != JSON:
        found = _bounded(_read_lines(call.body))
    else:
        found = _read_json(call.body)
    if not found:
        raise HttpError(400, "no_labels", f"The body has no labels; expected {EXAMPLE}, or several of them.")
    return found


def _read_json(body: bytes) -> list[Entry]:
    try:
        value = loads(body)
    except orjson.JSONDecodeError:
        if len(body.split(b"\n", 2)) > 1 and _is_json(body.lstrip().partition(b"\n")[0]):
            return _bounded(_read_lines(body))
        value = parse(body, example=f"an object like {EXAMPLE}, or a list of them")
    refuse_duplicate_keys(body, value)
    if isinstance(value, list):
        return _bounded(("Label", index, item) for index, item in enumerate(value))
    return [("Label", 0, value)]


def _is_json(line: bytes) -> bool:
    try:
        loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _read_lines(body: bytes) -> Iterator[Entry]:
    for number, line in enumerate(body.split(b"\n"), 1):
        if line.strip():
            try:
                value = parse(line, example=f"an object like {EXAMPLE}")
                refuse_duplicate_keys(line, value)
            except HttpError as error:
                value = error
            yield "Line", number, value


def _read_csv(body: bytes) -> Iterator[Entry]:
    try:
        reader = csv.reader(io.StringIO(decode_csv(body), newline=""), strict=True)
        names = [name.strip() for name in next(reader, [])]
        if set(names) not in ({"request_id", "label"}, set(FIELDS)) or len(names) != len(set(names)):
            raise HttpError(
                400, "invalid_csv", f"The first line is {','.join(names)[:200]!r}; expected request_id,row,label."
            )
        for fields in reader:
            if fields:
                yield "Line", reader.line_num, _csv_entry(names, fields)
    except csv.Error as error:
        raise HttpError(400, "invalid_csv", f"The body is not valid CSV ({error}).") from error


def _csv_entry(names: list[str], fields: list[str]) -> Any:
    if len(fields) != len(names):
        return HttpError(400, "invalid_csv", f"{len(fields)} fields; expected {len(names)}.")
    entry: dict[str, Any] = dict(zip(names, fields, strict=True))
    if "row" in entry:
        entry["row"] = guess(entry["row"])
    entry["label"] = CsvLabel(entry["label"]) if entry["label"] else None
    return entry


class CsvLabel(str):
    """A label from a CSV, which does not tell a number from a text."""

    __slots__ = ()


def _bounded(entries: Iterator[Entry]) -> list[Entry]:
    found = []
    for entry in entries:
        found.append(entry)
        if len(found) > MAX_LABELS:
            raise _too_many(f"more than {MAX_LABELS} labels")
    return found


def _too_many(found: str) -> HttpError:
    return HttpError(413, "too_many_labels", f"The body has {found}. Send the labels in several requests.")


def _labels(entries: list[Entry], schema: Schema) -> tuple[Label, ...]:
    """Return all labels; HttpError 400 names each invalid one by its position."""
    classes = classes_of(schema)
    labels, problems = [], []
    for name, number, value in entries:
        try:
            labels.append(_label(value, schema.kind, classes))
        except HttpError as error:
            problems.append({name.lower(): number, "error": str(error)})
    if problems:
        shown = "; ".join(
            f"{key} {item[key]}: {item['error']}" for item in problems[:3] for key in item if key != "error"
        )
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise HttpError(
            400,
            "invalid_ground_truth",
            f"{len(problems)} of {len(entries)} labels are not valid, and no label was stored: {shown}{more}",
            errors=problems[:MAX_ERRORS_SHOWN],
        )
    return tuple(labels)


def _label(value: Any, kind: str, classes: dict[str, Any]) -> Label:
    if isinstance(value, HttpError):
        raise value
    if not isinstance(value, dict):
        raise _wrong(f"found {describe_value(value)}; expected an object like {EXAMPLE}.")
    if unknown := [name for name in value if name not in FIELDS]:
        raise _wrong(f"{unknown[0][:100]!r} is an unknown field; expected request_id, row and label.")
    request_id, row = value.get("request_id"), value.get("row", 0)
    if not isinstance(request_id, str) or not REQUEST_ID.fullmatch(request_id):
        raise _wrong(f"request_id is {describe_value(request_id)}; expected the X-Request-ID of a prediction.")
    if type(row) is float and row.is_integer():
        row = int(row)
    if type(row) is not int or not 0 <= row <= MAX_ROW:
        raise _wrong(f"row is {describe_value(row)}; expected the row's position, from 0.")
    return Label(request_id, row, _value(value.get("label"), kind, classes))


def _value(label: Any, kind: str, classes: dict[str, Any]) -> LabelValue:
    """Return a label, converted to the type of the model's own labels."""
    if kind == "regressor":
        number = guess(label) if isinstance(label, CsvLabel) else label
        if type(number) not in (int, float) or not math.isfinite(number):
            raise _wrong(f"label is {describe_value(label)}; expected a finite number.")
        return float(number)
    if not isinstance(label, str | int | float):
        raise _wrong(f"label is {describe_value(label)}; expected a class of the model.")
    if isinstance(label, float) and not math.isfinite(label):
        raise _wrong("label is not finite; expected a class of the model.")
    if isinstance(label, str) and not 0 < len(label) <= MAX_LABEL_CHARACTERS:
        raise _wrong(f"label has {len(label)} characters; expected 1 to {MAX_LABEL_CHARACTERS}.")
    found: LabelValue = class_of(label, classes)
    return str(found) if isinstance(found, CsvLabel) else found


def _wrong(message: str) -> HttpError:
    return HttpError(400, "invalid_ground_truth", message)
