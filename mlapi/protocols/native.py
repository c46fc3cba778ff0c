"""The service's own protocol: `{"features": …}` or `{"instances": […]}`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import orjson

from mlapi.protocols.base import Call, Facts, HttpError, Reply, find_model
from mlapi.protocols.json_bodies import parse_object, refuse_unless_quotes
from mlapi.protocols.number_rows import read_number_rows
from mlapi.protocols.predicting import Rows, parse_rows, predict
from models_registry.artifacts.calling import Answer
from models_registry.artifacts.features import describe_value
from models_registry.artifacts.spelling import closest
from models_registry.serving.runtime import LoadedModel, Runtime

FIELDS = frozenset({"features", "instances", "probabilities"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a body asks: rows in the form that the model takes, and how the answer is to look."""

    rows: Rows
    count: int
    is_single: bool
    wants_probabilities: bool


def answer(call: Call, runtime: Runtime) -> Reply:
    """Return the prediction for one row or many."""
    board = runtime.board
    loaded = find_model(board, call.model, call.version)
    facts = Facts(model=loaded.name, version=loaded.number)
    asked = _read_large(call.body, loaded) or _read(call.body, loaded)
    result = predict(loaded, asked.rows, asked.count, runtime, facts)
    if asked.wants_probabilities and result.probabilities is None:
        raise HttpError(
            400,
            "no_probabilities",
            f"{loaded.name} version {loaded.number} gives no probabilities. Leave 'probabilities' out.",
            model=loaded.name,
            version=loaded.number,
        )
    content = _one(result) if asked.is_single else _many(result)
    if asked.wants_probabilities:
        labelled = labelled_probabilities(loaded, result)
        content["probabilities"] = labelled[0] if asked.is_single else labelled
    content["processing_time_ms"] = round((time.perf_counter() - call.started) * 1000, 3)
    content["model"] = loaded.name
    content["version"] = loaded.number
    content["request_id"] = call.request_id
    return Reply(
        200,
        orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain),
        headers=version_headers(loaded),
        facts=facts,
    )


def _read_large(raw: bytes, loaded: LoadedModel) -> Asked | None:
    """Return what a large and plain body asks; None for any other."""
    read = read_number_rows(raw, loaded.signature, ("instances",), ("probabilities",))
    return read and Asked(
        read.array, len(read.array), is_single=False, wants_probabilities="probabilities" in read.flags
    )


def _read(raw: bytes, loaded: LoadedModel) -> Asked:
    """Return what a body asks; an HttpError 400 says what is wrong with it."""
    body = read_object(raw)
    instances, is_single = _instances(body)
    wants_probabilities = body.get("probabilities", False)
    if not isinstance(wants_probabilities, bool):
        raise HttpError(
            400,
            "invalid_field",
            f"'probabilities' must be true or false, found {describe_value(wants_probabilities)}.",
            field="probabilities",
        )
    rows = parse_rows(loaded, instances)
    refuse_duplicate_keys(raw, body, instances, has_strings=loaded.signature.container != "array")
    return Asked(rows, len(instances), is_single=is_single, wants_probabilities=wants_probabilities)


def version_headers(loaded: LoadedModel) -> list[tuple[str, str]]:
    """Return the headers that name the version which answered."""
    return [("X-Model-Name", loaded.name), ("X-Model-Version", str(loaded.number))]


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`; anything else is an HttpError 400."""
    return parse_object(body, example='{"features": {…}}')


def _instances(body: dict[str, Any]) -> tuple[list[Any], bool]:
    """Return the rows of a request, and whether it asked for one answer."""
    if not body.keys() <= FIELDS:
        raise _unknown_field(next(name for name in body if name not in FIELDS))
    if "features" in body:
        if "instances" in body:
            raise HttpError(
                400, "invalid_field", "The body has 'features' and 'instances'; send one of them.", field="instances"
            )
        return [body["features"]], True
    if "instances" not in body:
        raise HttpError(
            400,
            "missing_field",
            "The body has neither 'features' (one row) nor 'instances' (many rows); send one of them.",
            expected=["features", "instances"],
        )
    instances = body["instances"]
    if not isinstance(instances, list):
        raise HttpError(
            400,
            "invalid_field",
            f"'instances' must be a list of rows, found {describe_value(instances)}.",
            field="instances",
        )
    return instances, False


def _unknown_field(name: str) -> HttpError:
    guess = closest(name, sorted(FIELDS))
    hint = f"expected are {', '.join(sorted(FIELDS))}." if guess is None else f"did you mean {guess!r}?"
    return HttpError(
        400, "unknown_field", f"Unknown field {describe_value(name)[len('the string ') :]}; {hint}", field=name[:200]
    )


def refuse_duplicate_keys(raw: bytes, body: dict[str, Any], instances: list[Any], *, has_strings: bool) -> None:
    """Raise HttpError where a key stands twice in one object: the parser keeps the last in silence.

    Each key and each string value brings two quotation marks. Where the count is right nothing stands twice; only
    where it is not (or where a string has an escaped one) is the body read again, slowly. An array of numbers has no
    strings among its values.
    """
    quotes = 2 * len(body)
    if not has_strings:
        named = instances if set(map(type, instances)) == {dict} else [row for row in instances if type(row) is dict]
        quotes += 2 * sum(map(len, named))
        instances = []
    for row in instances:
        if type(row) is dict:
            quotes += 2 * (len(row) + _strings(row.values()))
        elif type(row) is list:
            quotes += 2 * _strings(row)
        elif type(row) is str:
            quotes += 2
    refuse_unless_quotes(raw, quotes)


def _strings(values: Any) -> int:
    return list(map(type, values)).count(str)


def _one(result: Answer) -> dict[str, Any]:
    confidences = result.confidences()
    return {
        "prediction": result.predictions()[0],
        "confidence": None if confidences is None else confidences[0],
    }


def _many(result: Answer) -> dict[str, Any]:
    return {"predictions": result.predictions(), "confidences": result.confidences()}


def labelled_probabilities(loaded: LoadedModel, result: Answer) -> list[Any]:
    """Return each row's probabilities by class label; a list of such where there are several outputs."""
    held = result.probabilities
    classes = loaded.signature.classes or ()
    if held is None:
        return []
    if isinstance(held, tuple):
        return _by_output([part.tolist() for part in held], classes)
    by_output = bool(classes) and isinstance(classes[0], tuple)
    if by_output and len(classes) == 1 and held.shape[1] == len(classes[0]):
        return _labelled(held.tolist(), classes[0])
    if by_output or result.labels.ndim == 2:
        columns = [[[1 - chance, chance] for chance in column] for column in held.T.tolist()]
        return _by_output(columns, classes if by_output else [(0, 1)] * len(columns))
    return _labelled(held.tolist(), classes)


def _by_output(outputs: list[list[list[float]]], classes: Any) -> list[list[dict[str, float]]]:
    labelled = [_labelled(rows, labels) for rows, labels in zip(outputs, classes, strict=True)]
    return [list(row) for row in zip(*labelled, strict=True)]


def _labelled(rows: list[list[float]], classes: Any) -> list[dict[str, float]]:
    labels = [label_key(label) for label in classes] or [str(index) for index in range(len(rows[0]))]
    return [dict(zip(labels, row, strict=True)) for row in rows]


def label_key(label: Any) -> str:
    """Return a class label as a JSON key."""
    if isinstance(label, bool):
        return "true" if label else "false"
    return str(label)


def _plain(value: Any) -> Any:
    """Return a numpy scalar or another unusual label as JSON can bear it."""
    return value.item() if hasattr(value, "item") else str(value)
