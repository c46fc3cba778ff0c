"""Calls a model, and holds its results."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from models_registry.artifacts import codes
from models_registry.artifacts.expected_warnings import ignore_missing_names
from models_registry.artifacts.input_errors import text_refusal
from models_registry.artifacts.outputs import as_labels, as_probabilities
from models_registry.errors import NoPrediction

ignore_missing_names()

# In scikit-learn's code, their `predict` is the class of the highest `predict_proba`: one pass gives both.
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
# The arrays of the methods that return them under other names.
METHOD_OUTPUTS = {"kneighbors": ("kneighbors_distances", "kneighbors_indices"), "return_std": ("std",)}


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predictions of a model for some rows.

    `labels` has shape (rows,) or (rows, outputs). `probabilities` has shape (rows, classes); it is a tuple of these for
    several outputs, or None. `waiting_seconds` is the time in the queue for the model. `call_rows` is the number of
    rows in the model call, or None if it had only these rows. It is counted once: the other requests in a call have 0.
    """

    labels: np.ndarray[Any, Any]
    probabilities: np.ndarray[Any, Any] | tuple[np.ndarray[Any, Any], ...] | None = None
    waiting_seconds: float = 0.0
    call_rows: int | None = None

    def part(self, start: int, stop: int, *, waiting_seconds: float = 0.0, call_rows: int | None = None) -> Prediction:
        """Return the rows from `start` up to `stop`."""
        held = self.probabilities
        if isinstance(held, tuple):
            part: Any = tuple(item[start:stop] for item in held)
        else:
            part = None if held is None else held[start:stop]
        return Prediction(self.labels[start:stop], part, waiting_seconds, call_rows)

    def predictions(self) -> list[Any]:
        """Return the labels or values as plain Python values."""
        return self.labels.tolist()  # type: ignore[no-any-return]

    def is_finite(self) -> bool:
        """Return whether every returned number is finite."""
        held = self.probabilities
        arrays = [self.labels, *(held if isinstance(held, tuple) else (() if held is None else (held,)))]
        return all(map(_is_finite, arrays))


def _is_finite(array: np.ndarray[Any, Any]) -> bool:
    if array.dtype.kind == "O":
        return all(math.isfinite(item) for item in array.ravel().tolist() if isinstance(item, float))
    if array.dtype.kind != "f":
        return True
    # The sum of squares is faster to compute; beyond its range each number is checked.
    return math.isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())


def call(model: Any, rows: Any) -> Prediction:
    """Return the predictions of `model` for `rows` (from `Schema.parse`), with probabilities if it has them.

    Raises the model's exceptions; InputError instead if the row with an invalid text is found; NoPrediction for results
    that JSON cannot represent, or not one result for each row.
    """
    try:
        return _call(model, rows)
    except ValueError as error:
        refusal = text_refusal(error, rows)
        if refusal is None:
            raise
        raise refusal from error


def _call(model: Any, rows: Any) -> Prediction:
    both = _one_pass(model)
    if both is not None:
        labels, probabilities = both(rows)
        return _answer(labels, as_probabilities(probabilities, rows), rows)
    if not offers_probabilities(model):
        return Prediction(as_labels(model.predict(rows), rows))
    probabilities = as_probabilities(model.predict_proba(rows), rows)
    if isinstance(getattr(_last_step(model), "_label_encoder", None), list):
        # For several labels, Stacking returns the probability that each is absent. All other estimators return the
        # probability that it is present.
        probabilities = 1 - probabilities  # type: ignore[operator]  # one array
    if isinstance(probabilities, np.ndarray) and predict_is_argmax(model):
        return _answer(np.asarray(model.classes_).take(probabilities.argmax(axis=1)), probabilities, rows)
    return _answer(model.predict(rows), probabilities, rows)


def _one_pass(model: Any) -> Callable[[Any], tuple[Any, Any]] | None:
    """Return the function that gives labels and probabilities in one pass over the rows; None without one."""
    best = _best(model)
    steps = best.steps if f"{type(best).__module__}.{type(best).__qualname__}" == "sklearn.pipeline.Pipeline" else []
    both: Callable[[Any], tuple[Any, Any]] | None = getattr(steps[-1][1] if steps else best, "predict_both", None)
    if both is None or len(steps) < 2:
        return both
    return lambda rows: both(best[:-1].transform(rows))


def _answer(labels: Any, probabilities: Any, rows: Any) -> Prediction:
    """Return labels and probabilities for the same outputs."""
    labels = as_labels(labels, rows)
    if isinstance(probabilities, tuple):
        fits = labels.ndim == 2 and labels.shape[1] == len(probabilities)
    else:
        fits = probabilities is None or labels.ndim == 1 or labels.shape == probabilities.shape
    if not fits:
        found = f"{len(probabilities)} arrays" if isinstance(probabilities, tuple) else f"shape {probabilities.shape}"
        raise NoPrediction(
            f"The model returns predictions of shape {labels.shape}, but probabilities of {found}; expected "
            "probabilities for each predicted output.",
            advice="Publish a model whose 'predict' and 'predict_proba' agree.",
            code=codes.UNEXPECTED_ANSWER,
        )
    return Prediction(labels, probabilities)


def offers_probabilities(model: Any) -> bool:
    """Return whether a model has probabilities; chains only have them for outputs of two classes."""
    if not callable(getattr(model, "predict_proba", None)):
        return False
    last = _last_step(model)
    return type(last).__name__ != "ClassifierChain" or all(len(item) == 2 for item in last.classes_)


def offers(model: Any, method: str) -> bool:
    """Return whether a model has `method`, one of a schema's methods."""
    if method == "predict_proba":
        return offers_probabilities(model)
    if method == "return_std":
        return _gives_deviations(model)
    return callable(getattr(model, method, None))


def call_method(model: Any, method: str, rows: Any) -> tuple[Any, ...]:
    """Return the results of one of a schema's other methods for `rows`, one array for each of `outputs_of`."""
    if method == "return_std":
        return (_best(model).predict(rows, return_std=True)[1],)
    value = getattr(model, method)(rows)
    return tuple(value) if method == "kneighbors" else (value,)


def outputs_of(method: str) -> tuple[str, ...]:
    """Return the names of the arrays that `method` returns."""
    return METHOD_OUTPUTS.get(method, (method,))


def method_of(output: str) -> str:
    """Return the method that returns the array called `output`."""
    return next((method for method, outputs in METHOD_OUTPUTS.items() if output in outputs), output)


def _gives_deviations(model: Any) -> bool:
    """Return whether `predict` can return standard deviations, as a Gaussian process does."""
    last = _best(model)
    while isinstance(getattr(last, "steps", None), list) and last.steps:
        last = last.steps[-1][1]
    predict = getattr(last, "predict", None)
    try:
        return callable(predict) and "return_std" in inspect.signature(predict).parameters
    except (TypeError, ValueError):
        # A function of a C extension may have no signature.
        return False


def _best(model: Any) -> Any:
    """Return the estimator that a search chose: the search's own `predict` takes no further arguments."""
    return getattr(model, "best_estimator_", model)


def _last_step(model: Any) -> Any:
    """Return the predicting estimator: the last step of a pipeline, the best of a search."""
    best = getattr(model, "best_estimator_", None)
    if best is not None:
        return _last_step(best)
    steps = getattr(model, "steps", None)
    return _last_step(steps[-1][1]) if isinstance(steps, list) and steps else model


def predict_is_argmax(model: Any) -> bool:
    """Return whether `predict` is known to be the class of the highest probability."""
    kind = type(_last_step(model))
    return f"{kind.__module__}.{kind.__qualname__}" in PREDICT_IS_ARGMAX
