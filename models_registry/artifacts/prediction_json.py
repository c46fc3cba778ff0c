"""Predictions as JSON: labels, the confidence in each, probabilities by label.

Requests and the validation of a version share this code, so a valid version cannot fail here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from models_registry.artifacts.outputs import Array
from models_registry.artifacts.prediction import Prediction
from models_registry.artifacts.schema import Schema


def content_of(answer: Prediction, schema: Schema, *, is_single: bool, with_probabilities: bool) -> dict[str, Any]:
    """Return a response's body: for one row `prediction` and `confidence`, for many rows the plurals."""
    predictions, found = answer.predictions(), confidences(answer, schema)
    if is_single:
        content = {"prediction": predictions[0], "confidence": None if found is None else found[0]}
    else:
        content = {"predictions": predictions, "confidences": found}
    if with_probabilities:
        labelled = labelled_probabilities(answer, schema)
        content["probabilities"] = labelled[0] if is_single else labelled
    return content


def encode(content: dict[str, Any]) -> bytes:
    """Return JSON; TypeError for a text that is not valid Unicode."""
    return orjson.dumps(content)


def confidences(answer: Prediction, schema: Schema) -> list[Any] | None:
    """Return the probability of each predicted label; a list per row for several outputs."""
    held, labels, classes = answer.probabilities, answer.labels, schema.classes
    if held is None:
        return None
    if isinstance(held, tuple):
        columns = [
            _of_labels(labels[:, index], part, _positions(classes[index] if classes else None))
            for index, part in enumerate(held)
        ]
        return [list(row) for row in zip(*columns, strict=True)]
    if labels.ndim == 2:
        return np.where(_is_second(labels, classes), held, 1 - held).tolist()  # type: ignore[no-any-return]
    return _of_labels(labels, held, _positions(classes[0]) if _is_nested(classes) and classes else schema.positions)


def probabilities_of(answer: Prediction, output: int | None) -> Array | None:
    """Return the model's probabilities, or one output's probabilities with a column for each of its classes."""
    held = answer.probabilities
    if held is None:
        return None
    if output is None:
        return None if isinstance(held, tuple) else held
    if isinstance(held, tuple):
        return held[output]
    return np.column_stack([1 - held[:, output], held[:, output]]) if answer.labels.ndim == 2 else held


def _of_labels(labels: Array, held: Array, positions: dict[Any, int] | None) -> list[Any]:
    """Return the probability of each label, None for a label that is not a class."""
    if positions is None:
        # A mixture numbers its components.
        places: list[Any] = labels.tolist() if labels.dtype.kind in "iu" else [None] * len(labels)
    else:
        places = list(map(positions.get, labels.tolist()))
    width = held.shape[1]
    if len(places) == 1:
        place = places[0]
        return [held[0].tolist()[place] if place is not None and 0 <= place < width else None]
    if None not in places and min(places) >= 0 and max(places) < width:
        return held[np.arange(len(places)), places].tolist()  # type: ignore[no-any-return]
    rows = held.tolist()
    return [
        row[place] if place is not None and 0 <= place < width else None
        for row, place in zip(rows, places, strict=True)
    ]


def _is_second(labels: Array, classes: Any) -> Array:
    """Return whether each label is its output's second class, of shape (rows, outputs)."""
    second = [item[1] for item in classes] if _is_nested(classes) else [1] * labels.shape[1]
    return np.column_stack([labels[:, index] == label for index, label in enumerate(second)])


def labelled_probabilities(answer: Prediction, schema: Schema) -> list[Any]:
    """Return each row's probabilities by class label; a list of these for several outputs."""
    held, classes = answer.probabilities, schema.classes or ()
    if held is None:
        return []
    if isinstance(held, tuple):
        return _by_output([part.tolist() for part in held], classes)
    by_output = _is_nested(classes)
    if by_output and len(classes) == 1 and held.shape[1] == len(classes[0]):
        return _labelled(held.tolist(), classes[0])
    if by_output or answer.labels.ndim == 2:
        columns = [[[1 - chance, chance] for chance in column] for column in held.T.tolist()]
        return _by_output(columns, classes if by_output else [(0, 1)] * len(columns))
    return _labelled(held.tolist(), classes)


def _by_output(outputs: list[list[list[float]]], classes: Any) -> list[list[dict[str, float]]]:
    labelled = [_labelled(rows, labels) for rows, labels in zip(outputs, classes, strict=True)]
    return [list(row) for row in zip(*labelled, strict=True)]


def _labelled(rows: list[list[float]], classes: Any) -> list[dict[str, float]]:
    labels = [label_key(label) for label in classes] or [str(index) for index in range(len(rows[0]))]
    return [dict(zip(labels, row, strict=True)) for row in rows]


def label_key(label: Any) -> str:
    """Return a class label as a JSON key."""
    if isinstance(label, bool):
        return "true" if label else "false"
    return str(label)


def _positions(classes: Any) -> dict[Any, int] | None:
    return None if classes is None else {label: index for index, label in enumerate(classes)}


def _is_nested(classes: Any) -> bool:
    return bool(classes) and isinstance(classes[0], tuple)
