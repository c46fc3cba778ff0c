"""KServe's protocol V1, from TensorFlow Serving: `{"instances": […]}` in, `{"predictions": […]}` out."""

from __future__ import annotations

from typing import Any

import orjson

from mlapi.protocols.base import Call, HttpError, Reply, choose_model, require_ready
from mlapi.protocols.json_bodies import read_object
from mlapi.protocols.mlflow_rows import RowReader
from mlapi.protocols.native import FLAGS, read_flag, require_probabilities, version_headers
from mlapi.protocols.number_rows import read_number_rows
from mlapi.protocols.openinference.replies import json_reply
from mlapi.protocols.predicting import predict
from models_registry.artifacts.prediction_json import labelled_probabilities
from models_registry.artifacts.schema import Schema
from models_registry.inference.runtime import Runtime

FORMS = ("instances", "inputs")
# TensorFlow's clients send a signature name; models here have only one signature.
FIELDS = frozenset({*FORMS, "signature_name", *FLAGS})
EXAMPLE = '{"instances": [{…}]}'


async def answer(call: Call, runtime: Runtime) -> Reply:
    """Return `{"predictions": …}` for the rows under `instances`, or under `inputs`."""
    loaded = choose_model(call, runtime.snapshot)
    rows, count, wants_probabilities = _read(call.body, loaded.schema)
    result = await predict(loaded, rows, count, runtime, call.stats)
    content: dict[str, Any] = {"predictions": result.predictions()}
    if wants_probabilities:
        require_probabilities(loaded, result)
        content["probabilities"] = labelled_probabilities(result, loaded.schema)
    return Reply(200, orjson.dumps(content), headers=version_headers(loaded), stats=call.stats)


def index(call: Call, runtime: Runtime) -> Reply:
    """Return the names of the models that can answer here: loaded, or loaded on demand."""
    return json_reply({"models": runtime.snapshot.served_names()})


def ready(call: Call, runtime: Runtime) -> Reply:
    """Return that the model is ready: loaded, or loaded on demand. Otherwise the error's status says so."""
    return json_reply({"name": require_ready(runtime.snapshot, call.model), "ready": True})


def _read(raw: bytes, schema: Schema) -> tuple[Any, int, bool]:
    """Return the parsed rows, their number, and whether the client asks for probabilities."""
    if large := read_number_rows(raw, schema, FORMS, FLAGS):
        return large.array, len(large.array), "probabilities" in large.flags
    body = read_object(raw, example=EXAMPLE)
    found = [name for name in FORMS if name in body]
    if len(found) != 1:
        raise _invalid("instances", "The body must have either 'instances' or 'inputs', a list of rows.")
    unknown = next((name for name in body if name not in FIELDS), None)
    if unknown is not None:
        raise _invalid(unknown[:200], f"Unknown field {unknown[:200]!r}; expected are {', '.join(sorted(FIELDS))}.")
    wants_probabilities, ignores_extra = (read_flag(body, name) for name in FLAGS)
    rows = RowReader(schema, ignores_extra).json({found[0]: body[found[0]]})
    return *rows, wants_probabilities


def _invalid(field: str, message: str) -> HttpError:
    return HttpError(400, "invalid_request", message, field=field)
