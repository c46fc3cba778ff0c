"""`/invocations` and `/ping`, as MLflow's clients and SageMaker speak them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from mlapi.protocols import mlflow_bodies
from mlapi.protocols.base import Call, CallStats, Handler, HttpError, Reply, find_model
from mlapi.protocols.csv_rows import read_csv
from mlapi.protocols.native import version_headers
from mlapi.protocols.number_rows import read_number_rows
from mlapi.protocols.predicting import as_rows, predict
from mlapi.version import VERSION
from models_registry.artifacts.features import describe_value
from models_registry.artifacts.schema import Schema
from models_registry.inference.runtime import Runtime

CONTENT_TYPES = ("application/json", "text/csv")
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
# In these a list of rows may stand.
LISTED_FORMS = ("dataframe_records", "instances", "inputs")
EXAMPLE = '{"dataframe_records": [{…}]}'
# MLflow's names, by status.
ERROR_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}
IGNORED_PARAMS = '299 - "params are ignored: no model here declares any"'


async def answer(call: Call, runtime: Runtime) -> Reply:
    """Return `{"predictions": …}` for the rows of one of MLflow's four JSON forms, or of CSV."""
    loaded = find_model(runtime.snapshot, call.model, call.version)
    stats = CallStats()
    headers = version_headers(loaded)
    if _kind(call) == "text/csv":
        rows, count = _csv_rows(loaded.schema, call)
    elif large := read_number_rows(call.body, loaded.schema, LISTED_FORMS):
        rows, count = large.array, len(large.array)
    else:
        body = mlflow_bodies.read(call.body, example=EXAMPLE)
        rows, count = _json_rows(loaded.schema, body)
        if body.get("params"):
            headers.append(("Warning", IGNORED_PARAMS))
    result = await predict(loaded, rows, count, runtime, stats)
    content = orjson.dumps({"predictions": result.predictions()})
    return Reply(200, content, headers=headers, stats=stats)


def ping(ready: Handler) -> Handler:
    """Return a handler that answers 200 with an empty body where `ready` passes, as SageMaker asks."""

    def reply(call: Call, runtime: Runtime) -> Reply:
        ready(call, runtime)
        return Reply(200, b"")

    return reply


def version(call: Call, runtime: Runtime) -> Reply:
    """Return the service's version as text, where MLflow's server says its own."""
    return Reply(200, VERSION.encode(), content_type="text/plain; charset=utf-8")


def error_reply(error: HttpError, request_id: str) -> Reply:
    """Return the error as MLflow says it: `error_code` and `message`."""
    content = {"error_code": ERROR_CODES.get(error.status, "BAD_REQUEST"), "message": str(error)}
    return Reply(error.status, orjson.dumps(content), headers=list(error.headers), code=error.code)


def _kind(call: Call) -> str:
    return call.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _csv_rows(schema: Schema, call: Call) -> tuple[Any, int]:
    names, rows = read_csv(call.body, schema, call.headers.get("Content-Type", ""))
    return _split_rows(schema, names, rows)


def _json_rows(schema: Schema, body: dict[str, Any]) -> tuple[Any, int]:
    """Return the rows in the form that the model takes, and how many they are."""
    form = _form(body)
    content = body[form]
    if form == "dataframe_split":
        return _split(schema, content)
    if form == "inputs" and type(content) is dict:
        return _columns(schema, content)
    if type(content) is not list:
        expected = "a list of rows, or an object of columns" if form == "inputs" else "a list of rows"
        raise _invalid(form, f"{form!r} must be {expected}, found {describe_value(content)}.")
    if form == "dataframe_records":
        for index, row in enumerate(content):
            if type(row) is not dict:
                raise _invalid(form, f"Record {index} must be an object by column, found {describe_value(row)}.")
    return _listed(schema, content)


def _form(body: dict[str, Any]) -> str:
    """Return which of the four forms the body has, one of them and nothing else but params."""
    found = [name for name in FORMS if name in body]
    if len(found) != 1:
        raise _invalid(
            "body", f"The body must have exactly one of {', '.join(FORMS)}; found {', '.join(found) or 'none of them'}."
        )
    others = [name for name in body if name not in {*FORMS, "params"}]
    if others:
        raise _invalid(others[0], f"Unknown field {others[0][:200]!r}; beside {found[0]!r} only 'params' may stand.")
    if body.get("params") is not None and type(body["params"]) is not dict:
        raise _invalid("params", f"'params' must be an object, found {describe_value(body['params'])}.")
    return found[0]


def _listed(schema: Schema, rows: Sequence[Any]) -> tuple[Any, int]:
    return as_rows(lambda: schema.parse(rows), len(rows)), len(rows)


def _columns(schema: Schema, columns: dict[str, Any]) -> tuple[Any, int]:
    if not columns:
        raise _invalid("inputs", "'inputs' has no column.")
    counts = set()
    for name, values in columns.items():
        if type(values) is not list:
            raise _invalid("inputs", f"Column {name[:200]!r} must be a list of values, found {describe_value(values)}.")
        counts.add(len(values))
    if len(counts) != 1:
        raise _invalid("inputs", f"The columns of 'inputs' have {min(counts)} to {max(counts)} values; send as many.")
    count = counts.pop()
    return as_rows(lambda: schema.from_columns(columns), count), count


def _split(schema: Schema, content: Any) -> tuple[Any, int]:
    """Return the rows of pandas' `to_dict(orient="split")`."""
    if type(content) is not dict:
        raise _invalid("dataframe_split", f"'dataframe_split' must be an object, found {describe_value(content)}.")
    unknown = [name for name in content if name not in {"columns", "index", "data"}]
    if unknown:
        raise _invalid(
            "dataframe_split", f"'dataframe_split' takes columns, index and data; found {unknown[0][:200]!r}."
        )
    data, columns = content.get("data"), content.get("columns")
    if type(data) is not list:
        raise _invalid("dataframe_split", f"'data' of 'dataframe_split' must be a list, found {describe_value(data)}.")
    if columns is not None and type(columns) is not list:
        raise _invalid(
            "dataframe_split", f"'columns' of 'dataframe_split' must be a list, found {describe_value(columns)}."
        )
    return _split_rows(schema, columns, data)


def _split_rows(schema: Schema, names: Sequence[Any] | None, rows: Sequence[Any]) -> tuple[Any, int]:
    """Return rows whose columns are called `names`; in the schema's order where they have none, or numbers."""
    if names is None or names == list(range(len(schema.inputs))) or tuple(names) == schema.names:
        return _listed(schema, rows)
    for name in names:
        if type(name) is not str:
            raise _invalid("columns", f"A column's name must be a string, found {describe_value(name)}.")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _invalid("columns", f"The column {twice[:200]!r} stands twice; send it once.")
    for index, row in enumerate(rows):
        if type(row) is not list or len(row) != len(names):
            raise _invalid(
                "data", f"Row {index} must be a list of {len(names)}, one for each column; found {describe_value(row)}."
            )
    columns = {name: [row[index] for row in rows] for index, name in enumerate(names)}
    return as_rows(lambda: schema.from_columns(columns), len(rows)), len(rows)


def _invalid(field: str, message: str) -> HttpError:
    return HttpError(400, "invalid_request", message, field=field[:200])
