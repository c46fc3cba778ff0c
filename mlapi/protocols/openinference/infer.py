"""Answers an inference request."""

from __future__ import annotations

import gzip
import reprlib
import zlib
from typing import Any

import numpy as np
import orjson

from mlapi.protocols.base import Call, CallStats, HttpError, Reply, choose_model
from mlapi.protocols.native import version_headers
from mlapi.protocols.openinference.metadata import PROBABILITIES, output_names
from mlapi.protocols.openinference.requests import HEADER_LENGTH, InferRequest, Output, read_request
from mlapi.protocols.openinference.tensors import Array, Tensor, write
from mlapi.protocols.predicting import as_rows, call_method, predict
from models_registry.artifacts.prediction import Prediction, method_of
from models_registry.artifacts.prediction_json import probabilities_of
from models_registry.artifacts.schema import Schema
from models_registry.errors import InputError
from models_registry.inference.runtime import LoadedModel, Runtime

COMPRESSORS = {"gzip": lambda body: gzip.compress(body, 1, mtime=0), "deflate": lambda body: zlib.compress(body, 1)}
WORTH_COMPRESSING_BYTES = 1024


async def infer(call: Call, runtime: Runtime) -> Reply:
    """Return the requested outputs of the model, by default `predict`, as JSON or as bytes after the JSON."""
    loaded = choose_model(call, runtime.snapshot)
    request = read_request(call, loaded.schema)
    outputs = request.outputs or (Output("predict", request.is_binary_by_default),)
    refuse_unknown_outputs(loaded, outputs)
    count = rows_of(request)
    rows = as_rows(lambda: to_model(loaded.schema, request), count)
    arrays = await compute(loaded, rows, count, [output.name for output in outputs], runtime=runtime, stats=call.stats)
    written = [write(output.name, arrays[output.name], is_binary=output.is_binary) for output in outputs]
    content = {
        "model_name": loaded.name,
        "model_version": str(loaded.number),
        **({} if request.id is None else {"id": request.id}),
        "outputs": [entry for entry, _ in written],
    }
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    reply = Reply(200, body, headers=version_headers(loaded), stats=call.stats)
    if any(output.is_binary for output in outputs):
        reply.headers.append((HEADER_LENGTH, str(len(body))))
        reply.content_type = "application/octet-stream"
        reply.body = b"".join((body, *(raw for _, raw in written)))
    compress(reply, call.headers.get("Accept-Encoding", ""))
    return reply


def rows_of(request: InferRequest) -> int:
    """Return the number of rows; HttpError 400 if the tensors have different numbers."""
    first = request.tensors[0]
    for tensor in request.tensors:
        if tensor.rows != first.rows:
            raise HttpError(
                400,
                "invalid_tensor",
                f"Input {first.name[:200]!r} has {first.rows} rows, {tensor.name[:200]!r} has {tensor.rows}; "
                "all need the same number.",
                field=tensor.name[:200],
            )
    return first.rows


def to_model(schema: Schema, request: InferRequest) -> Any:
    """Return the tensors in the form that the model takes: one matrix, or named columns."""
    tensors = request.tensors
    if request.ignores_extra and len(tensors) > 1 and schema.container != "records":
        tensors = tuple(tensor for tensor in tensors if tensor.name in schema.names)
    if len(tensors) == 1 and request.content_type != "pd" and is_matrix(tensors[0], schema):
        matrix = tensors[0].matrix()
        return schema.from_array(matrix) if isinstance(matrix, np.ndarray) else schema.parse(matrix)
    for tensor in tensors:
        if tensor.width != 1:
            raise InputError(
                f"Input {tensor.name[:200]!r}: a column by name has the shape [rows] or [rows, 1], found "
                f"{list(tensor.shape)}. Or send one tensor of shape [rows, {len(schema.inputs)}] and nothing else.",
                expected=[-1, 1],
                found=list(tensor.shape),
            )
    return schema.from_columns({tensor.name: tensor.column() for tensor in tensors})


def is_matrix(tensor: Tensor, schema: Schema) -> bool:
    """Return whether a single tensor, of any name, holds all features in order; else it is one named column."""
    if schema.container == "records":
        return False
    return tensor.width != 1 or len(schema.inputs) == 1 or tensor.name not in schema.names


def refuse_unknown_outputs(loaded: LoadedModel, outputs: tuple[Output, ...]) -> None:
    """Raise HttpError 400 for an output that this model does not have."""
    names = output_names(loaded)
    for output in outputs:
        if output.name not in names:
            raise HttpError(
                400,
                "unknown_output",
                f"{loaded.name} version {loaded.number} has no output {reprlib.repr(output.name)}; "
                f"it has {', '.join(names)}.",
                field=output.name[:200],
                expected=list(names),
            )


async def compute(
    loaded: LoadedModel, rows: Any, count: int, names: list[str], *, runtime: Runtime, stats: CallStats
) -> dict[str, Array]:
    """Return the arrays of the outputs `names`; one model call returns both `predict` and the probabilities."""
    found: dict[str, Array] = {}
    answer: Prediction | None = None
    for name in names:
        if name == "predict" or name.startswith(PROBABILITIES):
            answer = answer or await predict(loaded, rows, count, runtime, stats)
            found[name] = answer.labels if name == "predict" else probabilities(answer, name)
        elif name not in found:
            found |= await call_method(loaded, method_of(name), rows, count, runtime=runtime, stats=stats)
    return found


def probabilities(answer: Prediction, name: str) -> Array:
    """Return the probabilities for the output `name`; `predict_proba_1` is those of the model's second output."""
    index = int(name.removeprefix(f"{PROBABILITIES}_")) if name != PROBABILITIES else None
    found = probabilities_of(answer, index)
    if found is None:
        raise HttpError(400, "no_probabilities", f"The model has no {name} for these inputs. Ask for 'predict'.")
    return found


def compress(reply: Reply, accepted: str) -> None:
    """Compress the body if the client asks for one encoding only.

    Many clients list all encodings that they support by default; these get a faster response without compression.
    """
    encoding = accepted.strip().lower()
    if encoding in COMPRESSORS and len(reply.body) >= WORTH_COMPRESSING_BYTES:
        reply.body = COMPRESSORS[encoding](reply.body)
        reply.headers.append(("Content-Encoding", encoding))
        reply.headers.append(("Vary", "Accept-Encoding"))
