"""Replacements for the libraries' estimators: each holds a validated model and predicts with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import NotFittedError

from models_registry.artifacts.boosters import links
from models_registry.artifacts.boosters.forest import Array
from models_registry.artifacts.boosters.model import XGBOOST, BoostedModel
from models_registry.errors import NoPrediction

# From float64 rows to the sums before the link, shape (rows, outputs).
Margins = Callable[[Array], Array]

# Cells of the dense table that is made from a block of sparse rows.
CELLS_AT_ONCE = 4_000_000


class BoosterSource(Protocol):
    """A model of XGBoost or LightGBM, as decoded from the file."""

    model: BoostedModel
    blob: Any


class Boosted(BaseEstimator):  # type: ignore[misc]  # untyped library
    """An estimator that predicts with a validated model.

    `model_` predicts: it has the iterations that early stopping keeps. `source_` is the whole model with its original
    bytes. `missing_` is the number that marks a missing value. `saw_sparse_` tells whether the last rows were sparse:
    XGBoost treats absent entries as missing values. `library_`, if set, computes the sums with the library itself
    (`library.py`).
    """

    model_: BoostedModel
    source_: BoosterSource
    missing_: float = np.nan
    saw_sparse_: bool | None = None
    library_: Margins | None = None

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags

    def fit(self, *arguments: Any, **keywords: Any) -> Any:
        """Raise an error: a server does not train."""
        raise NotImplementedError(f"A {type(self).__name__} is not trained here.")

    def take(self, source: BoosterSource, *, iterations: int | None, missing: Any = np.nan) -> None:
        """Predict with `source`, limited to its first `iterations`."""
        self.source_ = source
        self.model_ = source.model.kept(iterations)
        self.missing_ = float(missing) if isinstance(missing, int | float | np.number) else np.nan
        self.n_features_in_ = self.model_.n_features
        if self.model_.feature_names:
            self.feature_names_in_ = np.array(self.model_.feature_names, dtype=object)

    @property
    def categories_by_feature(self) -> tuple[tuple[Any, ...] | None, ...]:
        """The category values behind the codes of each feature, if the model was trained on categorical columns."""
        return self.model_.categories if hasattr(self, "model_") else ()

    @property
    def refuses_unknown_(self) -> bool:
        """Whether an unknown category is an error, as in XGBoost; LightGBM treats it as missing."""
        return self.model_.library == XGBOOST

    def _answers(self, rows: Any) -> Array:
        """Return the library booster's predictions, shape (rows, outputs)."""
        return np.concatenate([self._answers_of_part(part) for part in self.matrices(rows)])

    def _answers_of_part(self, matrix: Array) -> Array:
        margins = self.model_.margins(matrix) if self.library_ is None else self.library_(matrix)
        return self.model_.answers_of(margins)

    def matrices(self, rows: Any) -> Iterator[Array]:
        """Yield rows as float64 with NaN for missing values, in blocks that fit into memory; at least one block."""
        if not hasattr(self, "model_"):
            raise NotFittedError(f"The {type(self).__name__} was never fitted.")
        self.saw_sparse_ = scipy.sparse.issparse(rows)
        if not self.saw_sparse_:
            matrix = self._dense(rows)
            self._require_width(matrix.shape)
            yield self._with_missing(matrix)
            return
        self._require_width(rows.shape)
        step = max(1, CELLS_AT_ONCE // max(1, rows.shape[1]))
        for start in range(0, max(1, rows.shape[0]), step):
            yield self._with_missing(self._from_sparse(rows[start : start + step]))

    def _require_width(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 2 or shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {shape[-1] if shape else 0} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )

    def _dense(self, rows: Any) -> Array:
        known = self.categories_by_feature
        if not any(values is not None for values in known):
            return np.asarray(rows, dtype=np.float64)
        columns = _columns(rows)
        codes = [
            np.asarray(column, dtype=np.float64) if values is None else _codes(column, values)
            for column, values in zip(columns, known, strict=True)
        ]
        return np.column_stack(codes)

    def _from_sparse(self, rows: Any) -> Array:
        rows = rows.tocoo()
        absent = np.nan if self.model_.library == XGBOOST and self.model_.forest is not None else 0.0
        matrix = np.full(rows.shape, absent)
        matrix[rows.row, rows.col] = rows.data
        return matrix

    def _with_missing(self, matrix: Array) -> Array:
        if np.isnan(self.missing_):
            return matrix
        return np.where(matrix == self.missing_, np.nan, matrix)


def _columns(rows: Any) -> list[Sequence[Any]]:
    if hasattr(rows, "iloc"):
        return [rows.iloc[:, position].tolist() for position in range(rows.shape[1])]
    return [rows[:, position].tolist() for position in range(rows.shape[1])]


def _codes(column: Sequence[Any], values: Sequence[Any]) -> Array:
    """Return the code of each value; NaN for unknown or missing values."""
    positions = {value: float(position) for position, value in enumerate(values)}
    # A dictionary finds NaN only by identity.
    return np.array([positions.get(value, np.nan) for value in column])


class BoostedRegressor(RegressorMixin, Boosted):  # type: ignore[misc]  # untyped library
    """Predicts numbers: values, ranks, or the raw predictions of a booster."""

    def predict(self, rows: Any) -> Array:
        """Return predictions, shape (rows,) or (rows, outputs)."""
        answers = self._answers(rows)
        return answers[:, 0] if answers.shape[1] == 1 else answers


class BoostedClassifier(ClassifierMixin, Boosted):  # type: ignore[misc]  # untyped library
    """Predicts one label of `classes_`."""

    classes_: Array

    def take_classes(self, classes: Any) -> None:
        """Set `classes`: one for each output, or two for a single output."""
        count = self.model_.n_outputs
        if self.model_.link == links.SIGMOID and self.model_.library == XGBOOST and count > 1:
            raise NoPrediction(
                f"The {type(self).__name__} answers yes or no to each of {count} labels at once, which is not served. "
                "Train one classifier for each label, with scikit-learn's MultiOutputClassifier around it, or export "
                "it as ONNX."
            )
        if self.model_.link not in {links.SIGMOID, links.SOFTMAX, links.STEP}:
            raise NoPrediction(
                f"The {type(self).__name__} has the objective {self.model_.objective!r} with {count} outputs, which "
                "gives no probability of one class among others. Train it with binary:logistic or multi:softprob "
                "(LightGBM: binary or multiclass), or export it as ONNX."
            )
        self.classes_ = np.arange(max(2, count)) if classes is None else np.asarray(classes)
        if self.classes_.ndim != 1 or len(self.classes_) != max(2, count):
            raise NoPrediction(
                f"The {type(self).__name__} has classes of shape {np.shape(self.classes_)} for {count} outputs; "
                f"expected {max(2, count)} classes. Publish it again from its training script."
            )

    def predict(self, rows: Any) -> Array:
        """Return the labels, shape (rows,)."""
        return self.predict_both(rows)[0]

    def predict_proba(self, rows: Any) -> Array:
        """Return the probabilities, shape (rows, classes)."""
        return self.predict_both(rows)[1]

    def predict_both(self, rows: Any) -> tuple[Array, Array]:
        """Return labels and probabilities from one evaluation."""
        answers = self._answers(rows)
        if answers.shape[1] == 1:
            other = 1.0 - answers[:, 0]
            if self.model_.sums_in_float32:
                other = other.astype(np.float32)
            probabilities = np.column_stack([other.astype(np.float64), answers[:, 0]])
            chosen = (answers[:, 0] > 0.5).astype(np.int64)
        else:
            probabilities, chosen = answers, answers.argmax(axis=1)
        return self.classes_.take(chosen), probabilities
