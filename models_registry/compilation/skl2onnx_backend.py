"""The second attempt: skl2onnx, for estimators without a converter in this package.

Only for numeric matrices: its text steps split words differently from scikit-learn, and need a locale.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from models_registry.artifacts.schema import Schema
from models_registry.compilation.compiled import INPUT, labels_to_json
from models_registry.compilation.context import Unsupported
from models_registry.compilation.encoder import NumberColumn

# The opsets that both skl2onnx 1.20 and onnxruntime support.
OPERATOR_SETS = {"": 21, "ai.onnx.ml": 3}
FLOAT32 = 1
# The machine learning operators that only select or rename values.
WIDE = {"ArrayFeatureExtractor", "LabelEncoder"}
# skl2onnx may hold copies between input and output: this guess limits the rows of one run.
ROW_BYTES = 16_384


def convert(estimator: Any, schema: Schema) -> tuple[bytes, dict[str, Any]]:
    """Return skl2onnx's float64 graph of `estimator` and its plan; raises Unsupported."""
    if schema.container != "array":
        raise Unsupported("")  # the reason of the first attempt suffices
    if any(feature.dtype is not None for feature in schema.inputs):
        raise Unsupported("")  # its encoders compare in other dtypes
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType

    is_classifier = getattr(estimator, "classes_", None) is not None
    options = {id(estimator): {"zipmap": False}} if is_classifier else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = convert_sklearn(
                estimator,
                initial_types=[(INPUT, DoubleTensorType([None, len(schema.inputs)]))],
                options=options,
                target_opset=OPERATOR_SETS,
            )
    except Exception as error:  # skl2onnx raises exceptions of many types
        raise Unsupported(_first_line(error)) from error
    if narrow := _narrow(model.graph):
        raise Unsupported(f"{narrow} computes in float32, which distinguishes fewer rows")
    names = [output.name for output in model.graph.output]
    return model.SerializeToString(), _plan(estimator, schema, names)


def _narrow(graph: Any) -> str:
    """Return the first operator that computes in float32, like those for machine learning do with any input."""
    for node in graph.node:
        if node.domain == "ai.onnx.ml" and node.op_type not in WIDE:
            return str(node.op_type)
        if node.op_type == "Cast" and any(item.name == "to" and item.i == FLOAT32 for item in node.attribute):
            return "Cast"
    return ""


def _plan(estimator: Any, schema: Schema, names: list[str]) -> dict[str, Any]:
    classes = getattr(estimator, "classes_", None)
    outputs = {"label" if classes is not None else "prediction": names[0]}
    if classes is not None and len(names) > 1 and callable(getattr(estimator, "predict_proba", None)):
        outputs["probabilities"] = names[1]
    width = len(schema.inputs)
    return {
        "kind": "onnx64",
        "compiled_by": "skl2onnx",
        "names": list(schema.names),
        "columns": [NumberColumn(position).to_json() for position in range(width)],
        "outputs": outputs,
        "label_is_value": True,
        "classes": None if classes is None else labels_to_json(np.asarray(classes)),
        "n_outputs": schema.outputs,
        "row_bytes": ROW_BYTES,
    }


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:160]}" if text else type(error).__name__
