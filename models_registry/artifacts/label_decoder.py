"""Wraps a classifier that was trained on label positions, so that it predicts the labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if


def _has(method: str) -> Any:
    return available_if(lambda decoder: callable(getattr(decoder.estimator_, method, None)))


class LabelDecoder(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Predicts the labels in `labels`, of which `estimator` predicts the positions.

    `classes_` has shape (n_classes,), in the order of the probabilities' columns.
    """

    def __init__(self, estimator: Any, labels: Any) -> None:
        self.estimator = estimator
        self.labels = labels
        self.estimator_ = estimator
        self._labels = np.asarray(labels)
        self.classes_ = self._labels[np.asarray(estimator.classes_).astype(np.intp)]

    def predict(self, rows: Any) -> Any:
        """Return labels of shape (n_rows,)."""
        return self._labels[np.asarray(self.estimator_.predict(rows)).astype(np.intp)]

    @_has("predict_proba")  # type: ignore[untyped-decorator]
    def predict_proba(self, rows: Any) -> Any:
        """Return probabilities of shape (n_rows, n_classes)."""
        return self.estimator_.predict_proba(rows)

    @_has("decision_function")  # type: ignore[untyped-decorator]
    def decision_function(self, rows: Any) -> Any:
        """Return the scores of the wrapped estimator."""
        return self.estimator_.decision_function(rows)
