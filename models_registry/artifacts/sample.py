"""Compares a model's predictions with its sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models_registry.artifacts import codes
from models_registry.artifacts.manifest import Sample
from models_registry.artifacts.prediction import Prediction, call
from models_registry.artifacts.schema import Schema
from models_registry.artifacts.suggestions import shown
from models_registry.errors import NoPrediction, SampleMismatch

# Of predictions: larger than the rounding of another processor, smaller than the effect of a lost coefficient.
RELATIVE_TOLERANCE = 1e-5
ABSOLUTE_TOLERANCE = 1e-8
# Absolute, of each probability: the rounding in float32 graphs.
PROBABILITY_TOLERANCE = 1e-6
# Absolute, of the sum of the probabilities: the rounding of a thousand classes in float32.
SUM_TOLERANCE = 1e-3
SHOWN_CLASSES = 6


def verify_sample(model: Any, schema: Schema, sample: Sample) -> Prediction:
    """Return the model's predictions for `sample`; SampleMismatch names the first different row."""
    answer = call(model, schema.parse(list(sample.instances)))
    check_probabilities(answer)
    if sample.predictions is not None:
        compare(answer.predictions(), sample.predictions)
    if sample.probabilities is not None:
        compare_probabilities(answer, schema.classes, sample.probabilities)
    return answer


def check_probabilities(answer: Prediction) -> None:
    """Raise NoPrediction for the first row whose probabilities are outside 0 to 1, or do not sum to 1."""
    held = answer.probabilities
    matrices = held if isinstance(held, tuple) else () if held is None else (held,)
    # For several labels at once, each has its own probability.
    are_shares = isinstance(held, tuple) or answer.labels.ndim == 1
    for matrix in matrices:
        if matrix.ndim != 2 or matrix.dtype.kind not in "fiub":
            continue
        outside = ~((matrix >= -SUM_TOLERANCE) & (matrix <= 1 + SUM_TOLERANCE)).all(axis=1)
        total = matrix.sum(axis=1, dtype=float)
        # A radius neighbours classifier returns zeros for a row without neighbours.
        wrong = outside | (are_shares & (np.abs(total - 1) > SUM_TOLERANCE) & (total != 0))
        if wrong.any():
            row = int(wrong.argmax())
            raise NoPrediction(
                f"The model returns invalid probabilities (row {row}: {_shown(matrix[row])}); expected numbers "
                "from 0 to 1 that sum to 1.",
                advice="Probably other library versions wrote it, or its scores are not probabilities. "
                "Train it again with the server's versions and publish that.",
                code=codes.UNEXPECTED_ANSWER,
            )


def _shown(row: np.ndarray[Any, Any]) -> str:
    text = ", ".join(f"{value:.6g}" for value in row[:SHOWN_CLASSES].tolist())
    return f"{text}, …" if len(row) > SHOWN_CLASSES else text


def compare_probabilities(answer: Prediction, classes: Sequence[Any] | None, expected: Sequence[Any]) -> None:
    """Raise SampleMismatch for the first row with another probability than `expected`.

    `expected` has a mapping from label to probability for each row; for several outputs, a list of these. Missing
    classes are not compared.
    """
    held = answer.probabilities
    if held is None or not classes:
        raise SampleMismatch(
            "The sample has probabilities, but the model returns none.",
            advice="Remove them from the sample, or publish a classifier with predict_proba.",
            code=codes.UNEXPECTED_ANSWER,
        )
    outputs = [(held, tuple(classes))] if not isinstance(held, tuple) else list(zip(held, classes, strict=True))
    for row, wanted in enumerate(expected):
        for (matrix, labels), mapping in zip(outputs, wanted if isinstance(wanted, list) else [wanted], strict=False):
            _compare_row(row, dict(zip(map(_label, labels), matrix[row].tolist(), strict=True)), mapping)


def _compare_row(row: int, found: dict[str, float], wanted: Mapping[str, float]) -> None:
    for label, probability in wanted.items():
        if label not in found:
            raise SampleMismatch(
                f"Row {row} of the sample has a probability for the class {label!r}; the model's classes are "
                f"{shown(list(found))}. Correct the sample's probabilities."
            )
        if not math.isclose(found[label], probability, rel_tol=RELATIVE_TOLERANCE, abs_tol=PROBABILITY_TOLERANCE):
            raise SampleMismatch(
                f"Row {row} of the sample: the model returns {found[label]!r} as the probability of {label!r}, "
                f"expected {probability!r}.",
                advice="Correct the sample's probabilities, or publish the artifact that gave them.",
                code=codes.OTHER_ANSWER,
            )


def _label(label: Any) -> str:
    """Return a class as its JSON key."""
    if isinstance(label, bool):
        return "true" if label else "false"
    return str(label)


def compare(found: Sequence[Any], expected: Sequence[Any]) -> None:
    """Raise SampleMismatch for the first row in which `found` and `expected` differ."""
    if len(found) != len(expected):
        raise SampleMismatch(
            f"The sample has {len(expected)} predictions, but the model returned {len(found)}. Correct the sample, or "
            "publish a model that predicts each row by itself."
        )
    for row, (got, wanted) in enumerate(zip(found, expected, strict=True)):
        if not is_same(got, wanted):
            raise SampleMismatch(
                f"Row {row} of the sample: the model answers {got!r}, expected {wanted!r}.",
                advice="Correct the sample's predictions, or publish the artifact that gave them.",
                code=codes.OTHER_ANSWER,
            )


def is_same(found: Any, expected: Any) -> bool:
    """Return whether two predictions agree: labels exactly, numbers within the tolerance."""
    if isinstance(found, list) and isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(is_same, found, expected))
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, float) and isinstance(expected, int | float):
        return math.isclose(found, expected, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)
    return bool(found == expected)


def ranges(sample: Sample, schema: Schema) -> dict[str, tuple[float, float]]:
    """Return the lowest and highest sample value of each numeric feature."""
    columns = {
        feature.name: [_value(row, feature.name, index) for row in sample.instances]
        for index, feature in enumerate(schema.inputs)
        if feature.type in {"float", "integer"}
    }
    numbers = {name: [item for item in values if _is_number(item)] for name, values in columns.items()}
    return {name: (min(values), max(values)) for name, values in numbers.items() if values}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _value(row: Any, name: str, index: int) -> Any:
    if isinstance(row, dict):
        return row.get(name)
    return row[index] if isinstance(row, list | tuple) else row
