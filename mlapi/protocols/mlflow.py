"""`/invocations` and `/ping`, for clients of MLflow and SageMaker."""

from __future__ import annotations

from typing import Any

import orjson

from mlapi.protocols import mlflow_bodies
from mlapi.protocols.base import JSON, Call, CallStats, Handler, HttpError, Reply, choose_model
from mlapi.protocols.csv_rows import read_csv
from mlapi.protocols.mlflow_params import Params, read_params, require_offered
from mlapi.protocols.mlflow_replies import CSV, JSON_LINES, NPY, Content, accepted, write
from mlapi.protocols.mlflow_rows import LISTED_FORMS, RowReader
from mlapi.protocols.native import FLAGS, require_probabilities, version_headers
from mlapi.protocols.npy_rows import read_npy
from mlapi.protocols.number_rows import read_number_rows
from mlapi.protocols.predicting import call_method, predict
from mlapi.version import VERSION
from models_registry.artifacts.prediction_json import labelled_probabilities
from models_registry.artifacts.schema import Schema
from models_registry.inference.runtime import LoadedModel, Runtime

CONTENT_TYPES = (JSON, CSV, JSON_LINES, "application/jsonl", "application/x-ndjson", NPY)
EXAMPLE = '{"dataframe_records": [{…}]}'
# MLflow's error codes, by status.
ERROR_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}
IGNORED_PARAMS = '299 - "only the documented params of /invocations have an effect"'


async def answer(call: Call, runtime: Runtime) -> Reply:
    """Return `{"predictions": …}` for rows in one of MLflow's JSON forms, a list, CSV, JSON Lines or npy.

    The Accept header may request another form of the response.
    """
    kind = accepted(call.headers.get("Accept", ""))
    loaded = choose_model(call, runtime.snapshot)
    rows, count, params = _read(call, loaded.schema)
    require_offered(loaded, params)
    content = await _content(loaded, rows, count, params, runtime=runtime, stats=call.stats)
    reply = Reply(200, write(kind, content), content_type=kind, headers=version_headers(loaded), stats=call.stats)
    if params.unknown:
        reply.headers.append(("Warning", IGNORED_PARAMS))
    return reply


def ping(ready: Handler) -> Handler:
    """Return a handler for SageMaker's health check: 200 with an empty body if `ready` passes."""

    def reply(call: Call, runtime: Runtime) -> Reply:
        ready(call, runtime)
        return Reply(200, b"")

    return reply


def version(call: Call, runtime: Runtime) -> Reply:
    """Return the service's version as text, as MLflow's server returns its own."""
    return Reply(200, VERSION.encode(), content_type="text/plain; charset=utf-8")


def error_reply(error: HttpError, request_id: str) -> Reply:
    """Return the error in MLflow's form: `error_code` and `message`."""
    content = {"error_code": ERROR_CODES.get(error.status, "BAD_REQUEST"), "message": str(error)}
    return Reply(error.status, orjson.dumps(content), headers=list(error.headers), code=error.code)


def _read(call: Call, schema: Schema) -> tuple[Any, int, Params]:
    """Return the parsed rows, their number, and the other parameters of the request."""
    kind = call.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in {"", JSON} or kind.endswith("+json"):
        return _read_json(call, schema)
    params = read_params(call)
    reader = RowReader(schema, params.ignore_extra)
    if kind == CSV:
        names, lines = read_csv(call.body, schema, call.headers.get("Content-Type", ""))
        rows, count = reader.split_rows(names, lines)
    elif kind == NPY:
        rows, count = reader.array(read_npy(call.body))
    else:
        rows, count = reader.listed(mlflow_bodies.read_lines(call.body))
    return rows, count, params


def _read_json(call: Call, schema: Schema) -> tuple[Any, int, Params]:
    if large := read_number_rows(call.body, schema, LISTED_FORMS, FLAGS):
        return large.array, len(large.array), read_params(call, dict.fromkeys(large.flags, True))
    body = mlflow_bodies.read(call.body, example=EXAMPLE)
    if isinstance(body, list):
        params = read_params(call)
        rows, count = RowReader(schema, params.ignore_extra).listed(body)
    else:
        params = read_params(call, body)
        rows, count = RowReader(schema, params.ignore_extra).json(body)
    return rows, count, params


async def _content(
    loaded: LoadedModel, rows: Any, count: int, params: Params, *, runtime: Runtime, stats: CallStats
) -> Content:
    """Return the model's predictions, and the other results that the parameters ask for."""
    result = await predict(loaded, rows, count, runtime, stats)
    probabilities = None
    if params.probabilities:
        require_probabilities(loaded, result)
        probabilities = labelled_probabilities(result, loaded.schema)
    arrays: dict[str, Any] = {}
    for method in params.methods:
        arrays |= await call_method(loaded, method, rows, count, runtime=runtime, stats=stats)
    return Content(result.labels, probabilities, arrays)
