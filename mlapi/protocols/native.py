"""The service's own protocol: `{"features": …}` or `{"instances": […]}`."""

from __future__ import annotations

import reprlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from mlapi.protocols.base import Call, HttpError, Reply, choose_model
from mlapi.protocols.explaining import explain
from mlapi.protocols.json_bodies import parse_object, refuse_unless_quotes
from mlapi.protocols.number_rows import read_number_rows
from mlapi.protocols.predicting import Rows, parse_rows, predict
from models_registry.artifacts.features import describe_value
from models_registry.artifacts.prediction import Prediction
from models_registry.artifacts.prediction_json import content_of, encode
from models_registry.artifacts.suggestions import closest
from models_registry.inference.runtime import LoadedModel, Runtime

# The flags that requests of other protocols accept too.
FLAGS = ("probabilities", "ignore_extra")
ALL_FLAGS = (*FLAGS, "explain")


@dataclass(slots=True)
class ParsedRequest:
    """A parsed request: rows in the form that the model takes, and the options of the response."""

    rows: Rows
    count: int
    is_single: bool
    wants_probabilities: bool
    wants_explanation: bool


async def answer(call: Call, runtime: Runtime) -> Reply:
    """Return the prediction for one row (`features`) or the predictions for many rows (`instances`)."""
    loaded = choose_model(call, runtime.snapshot)
    request = _read_large(call.body, loaded) or _read(call.body, loaded)
    result = await predict(loaded, request.rows, request.count, runtime, call.stats)
    if request.wants_probabilities:
        require_probabilities(loaded, result)
    content = content_of(
        result, loaded.schema, is_single=request.is_single, with_probabilities=request.wants_probabilities
    )
    if request.wants_explanation:
        explained = await explain(loaded, request.rows, result, call.stats)
        content |= {"explanation": explained[0]} if request.is_single else {"explanations": explained}
    content["processing_time_ms"] = round((time.perf_counter() - call.started) * 1000, 3)
    content["model"] = loaded.name
    content["version"] = loaded.number
    content["request_id"] = call.request_id
    return Reply(200, encode(content), headers=version_headers(loaded), stats=call.stats)


def _read_large(raw: bytes, loaded: LoadedModel) -> ParsedRequest | None:
    """Return the parsed request of a large and plain body; None for other bodies."""
    read = read_number_rows(raw, loaded.schema, ("instances",), ALL_FLAGS)
    return read and ParsedRequest(
        read.array,
        len(read.array),
        is_single=False,
        wants_probabilities="probabilities" in read.flags,
        wants_explanation="explain" in read.flags,
    )


def _read(raw: bytes, loaded: LoadedModel) -> ParsedRequest:
    """Return the parsed request; HttpError 400 for an invalid body."""
    body = read_object(raw)
    instances, is_single = rows_in(body, ALL_FLAGS)
    wants_probabilities, ignores_extra, wants_explanation = (read_flag(body, name) for name in ALL_FLAGS)
    rows = parse_rows(loaded, loaded.schema.without_extra(instances) if ignores_extra else instances)
    refuse_duplicate_keys(raw, body, instances, has_strings=loaded.schema.container != "array")
    return ParsedRequest(
        rows,
        len(instances),
        is_single=is_single,
        wants_probabilities=wants_probabilities,
        wants_explanation=wants_explanation,
    )


def read_flag(fields: Mapping[str, Any], name: str) -> bool:
    """Return a boolean field, false if it is missing; HttpError 400 for other values."""
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise HttpError(
            400, "invalid_field", f"{name!r} must be true or false, found {describe_value(value)}.", field=name
        )
    return value


def error_reply(error: HttpError, request_id: str) -> Reply:
    """Return the error in the form of the service's own protocol."""
    content = {"error": str(error), "code": error.code, "request_id": request_id, **error.details}
    return Reply(error.status, orjson.dumps(content, default=str), headers=list(error.headers), code=error.code)


def require_probabilities(loaded: LoadedModel, result: Prediction) -> None:
    """Raise HttpError 400 if the client asked for probabilities and the model returned none."""
    if result.probabilities is None:
        raise HttpError(
            400,
            "no_probabilities",
            f"{loaded.name} version {loaded.number} has no probabilities. Omit 'probabilities'.",
            model=loaded.name,
            version=loaded.number,
        )


def version_headers(loaded: LoadedModel) -> list[tuple[str, str]]:
    """Return the headers with the model and the version that answered."""
    return [("X-Model-Name", loaded.name), ("X-Model-Version", str(loaded.number))]


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`; HttpError 400 for anything else."""
    return parse_object(body, example='{"features": {…}}')


def rows_in(body: dict[str, Any], flags: tuple[str, ...] = FLAGS) -> tuple[list[Any], bool]:
    """Return the rows of a request, and whether it has one row; HttpError 400 for neither form.

    `flags` are the fields that are allowed next to the rows.
    """
    fields = {"features", "instances", *flags}
    if not body.keys() <= fields:
        raise _unknown_field(next(name for name in body if name not in fields), sorted(fields))
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


def _unknown_field(name: str, expected: list[str]) -> HttpError:
    guess = closest(name, expected)
    hint = f"expected are {', '.join(expected)}." if guess is None else f"did you mean {guess!r}?"
    return HttpError(400, "unknown_field", f"Unknown field {reprlib.repr(name)}; {hint}", field=name[:200])


def refuse_duplicate_keys(raw: bytes, body: dict[str, Any], instances: list[Any], *, has_strings: bool) -> None:
    """Raise HttpError for a repeated key in an object: the parser silently keeps the last one.

    Each key and each string value has two quotation marks. If the count is right, no key is repeated. If it is not
    right, or a string has an escaped quotation mark, a slower parser reads the body again. If `has_strings` is False,
    all values are numbers, and only the names in the rows are counted.
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
