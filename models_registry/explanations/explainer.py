"""Builds the explainer of a fitted estimator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models_registry.artifacts.schema import Schema
from models_registry.artifacts.wrappers import ONE, steps_of
from models_registry.errors import InputError, NotExplainable
from models_registry.explanations import boosters, histogram, linear, trees
from models_registry.explanations.base import CONTAINERS_WITHOUT_FEATURES, ExactModel, Explanation
from models_registry.explanations.columns import owners_after

# Computation steps for one request: about two seconds.
MAX_STEPS = 250_000_000
# Columns of the last step, times rows and outputs: 80 MB as float64.
MAX_CELLS = 10_000_000
# Wrappers that change the decision but not the score of the wrapped estimator.
TRANSPARENT = frozenset({"FrozenEstimator", "FixedThresholdClassifier", "LabelDecoder", "TunedThresholdClassifierCV"})

NAMES = {"OnnxPredictor": "an ONNX graph"}


class Explainer:
    """Explains the predictions of one model; thread-safe."""

    def __init__(self, estimator: Any, schema: Schema) -> None:
        """Prepare explanations of a native `estimator`.

        Raises NotExplainable, with a reason that names the inexact step.
        """
        if schema.container in CONTAINERS_WITHOUT_FEATURES:
            raise NotExplainable(f"it takes {schema.container}, which has no fixed input features")
        self.names = schema.names
        self._takes_frame = schema.container == "objects" and hasattr(estimator, "feature_names_in_")
        self._schema = schema
        self._steps, last = _unwrapped(estimator)
        self._model = _exact_model(last)
        self._owners = np.arange(len(schema.inputs))
        for step in self._steps:
            self._owners = owners_after(step, self._owners)
        columns = getattr(last, "n_features_in_", len(self._owners))
        if len(self._owners) != columns or (self._owners < 0).any():
            raise NotExplainable(
                f"its {type(last).__name__} takes {columns} columns, and its input features give {len(self._owners)}"
            )
        if self._model.n_outputs > 1 and (schema.classes is None or schema.outputs != 1):
            raise NotExplainable("it has several outputs")

    def explain(self, rows: Any) -> Explanation:
        """Return the contributions to the predictions for `rows` (from `Schema.parse`)."""
        for step in self._steps:
            rows = step.transform(self._framed(rows) if step is self._steps[0] else rows)
        if not self._steps:
            rows = self._framed(rows)
        contributions = self._model.contributions(rows, self._owners, len(self.names))
        return Explanation(self._model.output, self._model.base(), contributions)

    def _framed(self, rows: Any) -> Any:
        # Rows for the compiled form are an array; the native form takes columns by name.
        return self._schema.as_frame(rows) if self._takes_frame else rows

    def require_affordable(self, count: int) -> None:
        """Raise InputError for more rows than one request may explain."""
        width = max(len(self._owners), len(self.names)) * self._model.n_outputs
        most = min(MAX_STEPS // max(1, self._model.cost_of_row()), MAX_CELLS // max(1, width))
        if count <= most:
            return
        advice = f"Send at most {most} rows at a time" if most else "Omit 'explain': one row takes too long"
        raise InputError(
            f"Explaining {count} rows of this model takes too long; at most {most} are explained at once. {advice}.",
            code="explanation_too_large",
            expected=most,
            found=count,
        )


def _unwrapped(estimator: Any) -> tuple[list[Any], Any]:
    """Return the preprocessing steps, and the final estimator."""
    best = getattr(estimator, "best_estimator_", None)
    if best is not None:
        return _unwrapped(best)
    if type(estimator).__name__ in TRANSPARENT:
        inner = getattr(estimator, ONE[type(estimator).__name__], None)
        return _unwrapped(inner)
    steps = steps_of(estimator)
    if not steps:
        return [], estimator
    before, last = _unwrapped(steps[-1])
    return [*steps[:-1], *before], last


def _exact_model(estimator: Any) -> ExactModel:
    readers: tuple[Callable[[Any], ExactModel | None], ...] = (
        linear.of_sklearn,
        trees.of_sklearn,
        histogram.of_sklearn,
        boosters.of_boosted,
    )
    for read in readers:
        model = read(estimator)
        if model is not None:
            return model
    kind = NAMES.get(type(estimator).__name__, type(estimator).__name__)
    raise NotExplainable(f"contributions are exact for linear models and trees, and this is {kind}")
