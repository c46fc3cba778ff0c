"""The service's own protocol: `{"features": …}` or `{"instances": […]}`."""

from __future__ import annotations

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

# What other requests with rows take, too.
FLAGS = ("probabilities", "ignore_extra")
ALL_FLAGS = (*FLAGS, "explain")


@dataclass(slots=True)
class Asked:
    """What a body asks: rows in the form that the model takes, and how the answer is to look."""

    rows: Rows
    count: int
    is_single: bool
    wants_probabilities: bool
    wants_explanation: bool


async def answer(call: Call, runtime: Runtime) -> Reply:
    """Return the prediction for one row or many."""
    loaded = choose_model(call, runtime.snapshot)
    asked = _read_large(call.body, loaded) or _read(call.body, loaded)
    result = await predict(loaded, asked.rows, asked.count, runtime, call.stats)
    if asked.wants_probabilities:
        require_probabilities(loaded, result)
    content = content_of(result, loaded.schema, is_single=asked.is_single, with_probabilities=asked.wants_probabilities)
    if asked.wants_explanation:
        explained = await explain(loaded, asked.rows, result, call.stats)
        content |= {"explanation": explained[0]} if asked.is_single else {"explanations": explained}
    content["processing_time_ms"] = round((time.perf_counter() - call.started) * 1000, 3)
    content["model"] = loaded.name
    content["version"] = loaded.number
    content["request_id"] = call.request_id
    return Reply(200, encode(content), headers=version_headers(loaded), stats=call.stats)


def _read_large(raw: bytes, loaded: LoadedModel) -> Asked | None:
    """Return what a large and plain body asks; None for any other."""
    read = read_number_rows(raw, loaded.schema, ("instances",), ALL_FLAGS)
    return read and Asked(
        read.array,
        len(read.array),
        is_single=False,
        wants_probabilities="probabilities" in read.flags,
        wants_explanation="explain" in read.flags,
    )


def _read(raw: bytes, loaded: LoadedModel) -> Asked:
    """Return what a body asks; an HttpError 400 says what is wrong with it."""
    body = read_object(raw)
    instances, is_single = rows_in(body, ALL_FLAGS)
    wants_probabilities, ignores_extra, wants_explanation = (read_flag(body, name) for name in ALL_FLAGS)
    rows = parse_rows(loaded, loaded.schema.without_extra(instances) if ignores_extra else instances)
    refuse_duplicate_keys(raw, body, instances, has_strings=loaded.schema.container != "array")
    return Asked(
        rows,
        len(instances),
        is_single=is_single,
        wants_probabilities=wants_probabilities,
        wants_explanation=wants_explanation,
    )


def read_flag(fields: Mapping[str, Any], name: str) -> bool:
    """Return a field that is true or false, false if it is left out; an HttpError 400 for anything else."""
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise HttpError(
            400, "invalid_field", f"{name!r} must be true or false, found {describe_value(value)}.", field=name
        )
    return value


def error_reply(error: HttpError, request_id: str) -> Reply:
    """Return the error as the service's own protocol says it."""
    content = {"error": str(error), "code": error.code, "request_id": request_id, **error.details}
    return Reply(error.status, orjson.dumps(content, default=str), headers=list(error.headers), code=error.code)


def require_probabilities(loaded: LoadedModel, result: Prediction) -> None:
    """Raise HttpError 400 where a model that is asked for probabilities gave none."""
    if result.probabilities is None:
        raise HttpError(
            400,
            "no_probabilities",
            f"{loaded.name} version {loaded.number} gives no probabilities. Leave 'probabilities' out.",
            model=loaded.name,
            version=loaded.number,
        )


def version_headers(loaded: LoadedModel) -> list[tuple[str, str]]:
    """Return the headers that name the version which answered."""
    return [("X-Model-Name", loaded.name), ("X-Model-Version", str(loaded.number))]


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`; anything else is an HttpError 400."""
    return parse_object(body, example='{"features": {…}}')


def rows_in(body: dict[str, Any], flags: tuple[str, ...] = FLAGS) -> tuple[list[Any], bool]:
    """Return the rows of a request, and whether it asked for one answer; HttpError 400 for what is neither form.

    `flags` are the fields that may be beside the rows.
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
    return HttpError(
        400, "unknown_field", f"Unknown field {describe_value(name)[len('the string ') :]}; {hint}", field=name[:200]
    )


def refuse_duplicate_keys(raw: bytes, body: dict[str, Any], instances: list[Any], *, has_strings: bool) -> None:
    """Raise HttpError if a key stands twice in one object: the parser keeps the last in silence.

    Each key and each string value brings two quotation marks. Where the count is right nothing stands twice; only if it
    is not (or where a string has an escaped one) is the body read again, slowly. An array of numbers has no strings
    among its values.
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
