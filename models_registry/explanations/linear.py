"""Linear models: a column's contribution is its coefficient times its value, relative to 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from models_registry.explanations.base import DECISION, LOG_ODDS, RAW, VALUE, Array

CLASSIFIERS = frozenset(
    {
        "LinearDiscriminantAnalysis",
        "LinearSVC",
        "LogisticRegression",
        "LogisticRegressionCV",
        "PassiveAggressiveClassifier",
        "Perceptron",
        "RidgeClassifier",
        "RidgeClassifierCV",
        "SGDClassifier",
    }
)
# Their prediction is a function of the linear one.
GENERALIZED = frozenset({"GammaRegressor", "PoissonRegressor", "TweedieRegressor"})
REGRESSORS = frozenset(
    {
        "ARDRegression",
        "BayesianRidge",
        "ElasticNet",
        "ElasticNetCV",
        "HuberRegressor",
        "Lars",
        "LarsCV",
        "Lasso",
        "LassoCV",
        "LassoLars",
        "LassoLarsCV",
        "LassoLarsIC",
        "LinearRegression",
        "LinearSVR",
        "OrthogonalMatchingPursuit",
        "OrthogonalMatchingPursuitCV",
        "PassiveAggressiveRegressor",
        "QuantileRegressor",
        "Ridge",
        "RidgeCV",
        "SGDRegressor",
        "TheilSenRegressor",
        *GENERALIZED,
    }
)


@dataclass(frozen=True, slots=True)
class LinearModel:
    """Coefficients of shape (outputs, columns) and an intercept of shape (outputs,).

    `prepare` converts the previous step's output to numbers; None if it already is numeric.
    """

    output: str
    coefficients: Array
    intercept: Array
    prepare: Callable[[Any], Array] | None = None

    @property
    def n_outputs(self) -> int:
        """The number of explained values for each row."""
        return len(self.coefficients)

    def cost_of_row(self) -> int:
        """Return the number of coefficients."""
        return int(self.coefficients.size)

    def base(self) -> Array:
        """Return the prediction with all columns at 0, shape (outputs,)."""
        return self.intercept

    def contributions(self, rows: Any, owners: Array, n_inputs: int) -> Array:
        """Return contributions, shape (rows, outputs, inputs)."""
        rows = rows if self.prepare is None else self.prepare(rows)
        columns = rows.shape[1]
        members = scipy.sparse.csr_matrix((np.ones(columns), (np.arange(columns), owners)), shape=(columns, n_inputs))
        by_output = [_dense(_scaled(rows, weights) @ members) for weights in self.coefficients]
        return np.stack(by_output, axis=1)


def _scaled(rows: Any, weights: Array) -> Any:
    return rows.multiply(weights).tocsr() if scipy.sparse.issparse(rows) else np.asarray(rows, np.float64) * weights


def _dense(values: Any) -> Array:
    return np.asarray(values.toarray() if scipy.sparse.issparse(values) else values)


def of_sklearn(estimator: Any) -> LinearModel | None:
    """Return the linear model in a scikit-learn estimator; None for other estimators."""
    kind = type(estimator).__name__
    if not type(estimator).__module__.startswith("sklearn.") or kind not in CLASSIFIERS | REGRESSORS:
        return None
    coefficients = np.atleast_2d(_dense(estimator.coef_).astype(np.float64))
    intercept = np.atleast_1d(np.asarray(estimator.intercept_, dtype=np.float64))
    return LinearModel(
        _output(estimator, kind, len(coefficients)), coefficients, np.broadcast_to(intercept, len(coefficients))
    )


def _output(estimator: Any, kind: str, n_outputs: int) -> str:
    if kind in GENERALIZED:
        return RAW
    if kind in REGRESSORS:
        return VALUE
    # Each of several classes has a score; a binary "multinomial" model has half of the log-odds.
    is_logistic = kind.startswith("LogisticRegression") and getattr(estimator, "multi_class", "") != "multinomial"
    return LOG_ODDS if is_logistic and n_outputs == 1 else DECISION
