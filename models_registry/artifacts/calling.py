"""Calls a model, and keeps what it answers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from models_registry.artifacts.text_refusals import text_refusal

# The signature has put the columns in order by name; an array is quicker than a frame that says so again.
warnings.filterwarnings("ignore", message="X does not have valid feature names", category=UserWarning)

# Their `predict` is, by scikit-learn's own code, the class of the highest `predict_proba`:
# one pass gives both.
PREDICT_IS_ARGMAX = frozenset(
    f"sklearn.{name}"
    for name in (
        "ensemble._forest.RandomForestClassifier",
        "ensemble._forest.ExtraTreesClassifier",
        "tree._classes.DecisionTreeClassifier",
        "tree._classes.ExtraTreeClassifier",
        "ensemble._bagging.BaggingClassifier",
        "calibration.CalibratedClassifierCV",
    )
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said of some rows.

    `labels` has shape (rows,) or (rows, outputs). `probabilities` has shape (rows, classes), is a tuple of
    such arrays where there are several outputs, or None where the model has none. `waiting_seconds` is how long the
    rows waited for the model to be free. `call_rows` is how many rows went through it together, told once for each
    call: 0 for those that went along, None where the rows went alone.
    """

    labels: np.ndarray[Any, Any]
    probabilities: np.ndarray[Any, Any] | tuple[np.ndarray[Any, Any], ...] | None = None
    waiting_seconds: float = 0.0
    call_rows: int | None = None

    def part(self, start: int, stop: int, *, waiting_seconds: float = 0.0, call_rows: int | None = None) -> Answer:
        """Return the rows from `start` up to `stop`."""
        held = self.probabilities
        if isinstance(held, tuple):
            part: Any = tuple(item[start:stop] for item in held)
        else:
            part = None if held is None else held[start:stop]
        return Answer(self.labels[start:stop], part, waiting_seconds, call_rows)

    def predictions(self) -> list[Any]:
        """Return the labels or values as plain Python values, each of its own type."""
        return self.labels.tolist()  # type: ignore[no-any-return]

    def confidences(self) -> list[Any] | None:
        """Return each row's highest class probability; a list per row where there are several outputs."""
        held = self.probabilities
        if held is None:
            return None
        if isinstance(held, tuple):
            highest: list[Any] = np.column_stack([item.max(axis=1) for item in held]).tolist()
            return highest
        if self.labels.ndim == 2:
            return np.maximum(held, 1 - held).tolist()  # type: ignore[no-any-return]
        if len(held) == 1:
            return [max(held[0].tolist())]
        return held.max(axis=1).tolist()  # type: ignore[no-any-return]

    def is_finite(self) -> bool:
        """Say whether every number that is answered is finite."""
        held = self.probabilities
        arrays = [self.labels, *(held if isinstance(held, tuple) else (() if held is None else (held,)))]
        return all(bool(np.isfinite(item).all()) for item in arrays if item.dtype.kind == "f")


def call(model: Any, rows: Any) -> Answer:
    """Return what `model` says of `rows` (as `Signature.parse` gives them), with probabilities where it has them.

    Raises what the model raises; InputError in its place where the row is found that holds a text it cannot take.
    """
    try:
        return _call(model, rows)
    except ValueError as error:
        refusal = text_refusal(error, rows)
        if refusal is None:
            raise
        raise refusal from error


def _call(model: Any, rows: Any) -> Answer:
    both = getattr(model, "predict_both", None)
    if both is not None:
        labels, probabilities = both(rows)
        return Answer(_labels(labels), _probabilities(probabilities))
    if not callable(getattr(model, "predict_proba", None)):
        return Answer(_labels(model.predict(rows)))
    probabilities = _probabilities(model.predict_proba(rows))
    if isinstance(probabilities, np.ndarray) and predict_is_argmax(model):
        return Answer(np.asarray(model.classes_).take(probabilities.argmax(axis=1)), probabilities)
    return Answer(_labels(model.predict(rows)), probabilities)


def predict_is_argmax(model: Any) -> bool:
    """Say whether `predict` is known to be the class of the highest probability."""
    steps = getattr(model, "steps", None)
    last = steps[-1][1] if isinstance(steps, list) and steps else model
    kind = type(last)
    return f"{kind.__module__}.{kind.__qualname__}" in PREDICT_IS_ARGMAX


def _labels(value: Any) -> np.ndarray[Any, Any]:
    labels = np.asarray(value)
    if labels.ndim == 0:
        return labels.reshape(1)
    # Several estimators answer one output as a column.
    return labels.ravel() if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _probabilities(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, list | tuple):
        arrays = tuple(np.asarray(item) for item in value)
        return arrays[0] if len(arrays) == 1 else arrays
    return np.asarray(value)
