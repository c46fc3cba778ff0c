"""Describes a model's inputs and outputs as tensors."""

from __future__ import annotations

from typing import Any

from mlapi.protocols.base import Call, Reply, find_model, require_ready
from mlapi.protocols.openinference.replies import json_reply
from mlapi.protocols.openinference.requests import MATRIX, MATRIX_DATATYPE
from mlapi.protocols.openinference.tensors import LARGEST_INT64
from mlapi.version import VERSION
from models_registry.artifacts.features import Feature
from models_registry.artifacts.prediction import offers, outputs_of
from models_registry.artifacts.schema import TRANSFORMER, Schema
from models_registry.inference.runtime import LoadedModel, Runtime

EXTENSIONS = ["binary_tensor_data", "model_repository", "model_configuration", "statistics"]
PROBABILITIES = "predict_proba"
# The predictor computes these outputs; the other methods are called on the estimator.
PREDICTED = frozenset({"predict", PROBABILITIES})
DATATYPE_OF = {
    "float": "FP64",
    "integer": "INT64",
    "string": "BYTES",
    "boolean": "BOOL",
    "datetime": "BYTES",
    "any": "BYTES",
}
DATATYPE_OF_KIND = {"f": "FP64", "i": "INT64", "u": "INT64", "b": "BOOL", "U": "BYTES"}
CONFIG_TYPE_OF = {
    "FP64": "TYPE_FP64",
    "INT64": "TYPE_INT64",
    "UINT64": "TYPE_UINT64",
    "BYTES": "TYPE_STRING",
    "BOOL": "TYPE_BOOL",
}


def server(call: Call, runtime: Runtime) -> Reply:
    """Return the server's name, version and extensions."""
    return json_reply({"name": "mlapi", "version": VERSION, "extensions": EXTENSIONS})


def model(call: Call, runtime: Runtime) -> Reply:
    """Return a model's metadata, derived from its own schema."""
    loaded = find_model(runtime.snapshot, call.model, call.version)
    return json_reply(
        {
            "name": loaded.name,
            "versions": [str(loaded.number)],
            "platform": platform(loaded),
            "inputs": inputs(loaded.schema),
            "outputs": outputs(loaded),
            "parameters": {"content_type": "pd" if takes_columns(loaded.schema) else "np"},
        }
    )


def model_ready(call: Call, runtime: Runtime) -> Reply:
    """Return that the model, or the named version, is ready: loaded, or loaded on demand.

    Otherwise the error's status says so.
    """
    return json_reply({"name": require_ready(runtime.snapshot, call.model, call.version), "ready": True})


def model_config(call: Call, runtime: Runtime) -> Reply:
    """Return the model's configuration in Triton's terms; every field is derived from the model."""
    loaded = find_model(runtime.snapshot, call.model, call.version)
    return json_reply(
        {
            "name": loaded.name,
            "platform": platform(loaded),
            "backend": "mlapi",
            "version_policy": {"specific": {"versions": [loaded.number]}},
            # 0: the batch is the first dimension of `dims`.
            "max_batch_size": 0,
            "input": [_configured(item) for item in inputs(loaded.schema)],
            "output": [_configured(item) for item in outputs(loaded)],
            "parameters": {
                "digest": {"string_value": loaded.digest},
                "runs": {"string_value": str(loaded.runs.get("form", "native"))},
            },
        }
    )


def _configured(item: dict[str, Any]) -> dict[str, Any]:
    return {"name": item["name"], "data_type": CONFIG_TYPE_OF[item["datatype"]], "dims": item["shape"]}


def platform(loaded: LoadedModel) -> str:
    """Return `onnx` for a published ONNX graph, else `sklearn`; a compiled form counts as what was published."""
    is_graph = "onnx" in type(loaded.estimator).__module__ and loaded.runs.get("form") != "compiled"
    return "onnx" if is_graph else "sklearn"


def takes_columns(schema: Schema) -> bool:
    """Return whether each input has its own entry: inputs have names, or are not all numbers."""
    return schema.named or schema.container != "array"


def inputs(schema: Schema) -> list[dict[str, Any]]:
    """Return the recommended inputs: one tensor per feature, or one tensor for all. The service accepts both."""
    if not takes_columns(schema):
        return [{"name": MATRIX, "datatype": MATRIX_DATATYPE, "shape": [-1, len(schema.inputs)]}]
    return [{"name": feature.name, "datatype": datatype_of(feature), "shape": [-1, 1]} for feature in schema.inputs]


def datatype_of(feature: Feature) -> str:
    """Return the datatype that holds every value of an input."""
    if feature.type == "integer" and feature.dtype == "uint64":
        return "UINT64"
    return DATATYPE_OF[feature.type]


def outputs(loaded: LoadedModel) -> list[dict[str, Any]]:
    """Return the available outputs; -1 is a dimension that is known only after a prediction."""
    schema = loaded.schema
    return [
        {"name": name, "datatype": _datatype(loaded, name), "shape": [-1, _width(schema, name)]}
        for name in output_names(loaded)
    ]


def output_names(loaded: LoadedModel) -> tuple[str, ...]:
    """Return the outputs' names: the model's methods, with separate probabilities for each of several outputs."""
    schema = loaded.schema
    names: list[str] = []
    for method in schema.methods:
        if method not in PREDICTED and not offers(loaded.estimator, method):
            # A compiled form may lack this attribute.
            continue
        if method == PROBABILITIES and has_classes_per_output(schema):
            names.extend(f"{PROBABILITIES}_{index}" for index in range(schema.outputs))
        else:
            names.extend(outputs_of(method))
    return tuple(names)


def has_classes_per_output(schema: Schema) -> bool:
    """Return whether the model has several outputs, each with its own classes and probabilities."""
    return bool(schema.classes) and all(isinstance(item, tuple) for item in schema.classes or ())


def _datatype(loaded: LoadedModel, name: str) -> str:
    schema = loaded.schema
    if name == "kneighbors_indices":
        return "INT64"
    if name != "predict":
        return "FP64"
    if schema.classes is None and (kind := getattr(loaded.estimator, "output_kind_", None)) is not None:
        # An ONNX graph declares its outputs.
        return DATATYPE_OF_KIND[kind]
    if schema.kind in {"clusterer", "outlier_detector"}:
        return "INT64"
    labels = schema.classes or ()
    flat = [label for item in labels for label in (item if isinstance(item, tuple) else (item,))]
    kinds = set(map(type, flat))
    if not kinds:
        return "FP64"
    if kinds == {int}:
        return "INT64" if max(flat) <= LARGEST_INT64 else "UINT64"
    return "BOOL" if kinds == {bool} else "FP64" if kinds <= {int, float} else "BYTES"


def _width(schema: Schema, name: str) -> int:
    if name in {"predict", "std"} or (name == "transform" and schema.kind == TRANSFORMER):
        return schema.outputs
    if name == PROBABILITIES and schema.classes:
        return len(schema.classes)
    if name.startswith(PROBABILITIES) and schema.classes:
        return len(schema.classes[int(name.removeprefix(f"{PROBABILITIES}_"))])
    if name == "decision_function" and schema.outputs == 1 and schema.classes:
        return 1 if len(schema.classes) == 2 else -1
    return -1
