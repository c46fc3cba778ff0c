"""Small models whose explanations are compared with those of the package shap."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeRegressor

FEATURES = 5
ASKED = 6


@cache
def rows() -> np.ndarray:
    """Return rows of which the trees split some columns several times on one path."""
    return np.random.default_rng(0).normal(size=(160, FEATURES)).round(3)


def targets(kind: str) -> np.ndarray:
    """Return what to learn: "values", "two" or "three" classes."""
    values = rows()[:, 0] * 2 + rows()[:, 1] * rows()[:, 2] + np.sin(3 * rows()[:, 3])
    return {"values": values, "two": (values > 0).astype(int), "three": np.digitize(values, [-1, 1])}[kind]


def asked() -> np.ndarray:
    """Return the rows that are explained."""
    return rows()[:ASKED] + 0.25


TREES: dict[str, tuple[Callable[..., Any], str, dict[str, Any]]] = {
    "decision tree": (DecisionTreeClassifier, "two", {}),
    "decision tree of three classes": (DecisionTreeClassifier, "three", {}),
    "decision tree of values": (DecisionTreeRegressor, "values", {}),
    "extra tree": (ExtraTreeRegressor, "values", {}),
    "forest": (RandomForestClassifier, "two", {"n_estimators": 5}),
    "forest of three classes": (RandomForestClassifier, "three", {"n_estimators": 5, "class_weight": "balanced"}),
    "forest of values": (RandomForestRegressor, "values", {"n_estimators": 5}),
    "extra trees": (ExtraTreesClassifier, "two", {"n_estimators": 5}),
    "extra trees of values": (ExtraTreesRegressor, "values", {"n_estimators": 5}),
    "gradient boosting": (GradientBoostingClassifier, "two", {"n_estimators": 12, "subsample": 0.7}),
    "gradient boosting of values": (GradientBoostingRegressor, "values", {"n_estimators": 12, "loss": "huber"}),
    "histogram boosting": (HistGradientBoostingClassifier, "two", {"max_iter": 12}),
    "histogram boosting of values": (HistGradientBoostingRegressor, "values", {"max_iter": 12}),
}
LINEAR: dict[str, tuple[Callable[..., Any], str, dict[str, Any]]] = {
    "linear regression": (LinearRegression, "values", {}),
    "ridge": (Ridge, "values", {}),
    "elastic net": (ElasticNet, "values", {"alpha": 0.1}),
    "logistic regression": (LogisticRegression, "two", {}),
    "logistic regression of three classes": (LogisticRegression, "three", {}),
    "ridge classifier": (RidgeClassifier, "three", {}),
    "linear support vectors": (LinearSVC, "two", {}),
    "stochastic gradient": (SGDClassifier, "two", {}),
    "discriminant": (LinearDiscriminantAnalysis, "three", {}),
    "poisson": (PoissonRegressor, "two", {}),
}


@cache
def fitted(name: str) -> Any:
    """Return the model of that name, trained."""
    kind, target, parameters = (TREES | LINEAR)[name]
    estimator = kind(**parameters)
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    return estimator.fit(rows(), targets(target))
