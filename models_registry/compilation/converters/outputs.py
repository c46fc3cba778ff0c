"""Converts scores to labels and probabilities, like scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from models_registry.compilation.context import Context, Outputs, Unsupported
from models_registry.compilation.graph import Array, Graph


def classes_of(estimator: Any) -> Array:
    """Return the labels; Unsupported for several outputs."""
    classes = estimator.classes_
    if isinstance(classes, list) or np.ndim(classes) != 1:
        raise Unsupported(f"{type(estimator).__name__} with several outputs answers lists of probabilities")
    return np.asarray(classes)


def sigmoid(graph: Graph, name: str) -> str:
    """Return 1 / (1 + e⁻ˣ).

    onnxruntime's own operator is not used, because it returns zero if the true value is very small. One-vs-rest
    classifiers divide by the sum of such values.
    """
    grown = graph.op("Exp", graph.op("Neg", name))
    return graph.op("Reciprocal", graph.add(grown, graph.constant(1.0)))


def complement(graph: Graph, name: str) -> str:
    """Return (1 - p, p) of a column p."""
    return graph.concat([graph.subtract(graph.constant([[1.0]]), name), name])


def softmax(graph: Graph, name: str) -> str:
    return graph.op("Softmax", name, axis=1)


def normalized(graph: Graph, name: str) -> str:
    """Return rows normalized to the sum 1; a row of zeros becomes uniform."""
    total = graph.total(name, 1, keep=True)
    is_zero = graph.op("Equal", total, graph.constant(0.0))
    one = graph.constant(1.0)
    filled = graph.where(is_zero, one, name)
    return graph.divide(filled, graph.total(filled, 1, keep=True))


def above(graph: Graph, column: str, threshold: float = 0.0, *, inclusive: bool = False) -> str:
    """Return label 1 if a column is above the threshold, else 0."""
    kind = "GreaterOrEqual" if inclusive else "Greater"
    return graph.flatten(graph.as_int64(graph.op(kind, column, graph.constant(threshold))))


def by_highest(context: Context, probabilities: str, classes: Array) -> Outputs:
    """Predict the class of the highest probability."""
    return Outputs(label=context.graph.argmax(probabilities), probabilities=probabilities, classes=classes)


def as_prediction(context: Context, name: str, outputs: int) -> Outputs:
    """Predict numbers: (rows,) for one output, else (rows, outputs)."""
    return Outputs(prediction=context.graph.flatten(name) if outputs == 1 else name)
