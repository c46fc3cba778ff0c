"""Converts scikit-learn's trees and ensembles of them to the form of `paths`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse

from models_registry.errors import NotExplainable
from models_registry.explanations import paths
from models_registry.explanations.base import DECISION, LOG_ODDS, PROBABILITY, VALUE, Array
from models_registry.explanations.paths import Ancestry, TreeEnsemble

TREES = frozenset({"DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"})
FORESTS = frozenset({"RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"})
BOOSTING = frozenset({"GradientBoostingClassifier", "GradientBoostingRegressor"})


@dataclass(frozen=True, slots=True)
class PreparedTrees:
    """Trees with values that every explanation needs: the mean prediction, and the cost of one row."""

    ensemble: TreeEnsemble
    above: Ancestry
    base: Array
    cost: int


class TreeModel:
    """Trees and their input columns.

    `make` returns the trees at the first explanation. `prepare` converts the previous step's output to the trees'
    numeric columns; `order` maps the trees' columns to those of the previous step.
    """

    def __init__(
        self,
        output: str,
        n_outputs: int,
        make: Callable[[], TreeEnsemble],
        *,
        order: Array,
        prepare: Callable[[Any], Array],
    ) -> None:
        self.output = output
        self.n_outputs = n_outputs
        self._make = make
        self._order = order
        self._prepare = prepare

    @cached_property
    def _trees(self) -> PreparedTrees:
        ensemble = self._make()
        above = paths.ancestry(ensemble)
        if paths.has_long_path(above, len(self._order)):
            raise NotExplainable(f"its trees may use more than {paths.MAX_SLOTS} features on one path")
        cost = paths.cost(ensemble, above, len(self._order)) * self.n_outputs
        return PreparedTrees(ensemble, above, paths.expected_value(ensemble, above), cost)

    def cost_of_row(self) -> int:
        """Return the number of computation steps for one row."""
        return self._trees.cost

    def base(self) -> Array:
        """Return the mean prediction over the training rows, by the trees' cover, shape (outputs,)."""
        return self._trees.base

    def contributions(self, rows: Any, owners: Array, n_inputs: int) -> Array:
        """Return contributions, shape (rows, outputs, inputs)."""
        trees = self._trees
        return paths.contributions(trees.ensemble, trees.above, self._prepare(rows), owners[self._order], n_inputs)


@dataclass(frozen=True, slots=True)
class Member:
    """One tree of an ensemble: scikit-learn's structure, and each node's contribution, shape (nodes, outputs)."""

    tree: Any
    values: Array


def of_sklearn(estimator: Any) -> TreeModel | None:
    """Return the trees in a scikit-learn estimator; None for other estimators. Raises NotExplainable."""
    kind = type(estimator).__name__
    if not type(estimator).__module__.startswith("sklearn."):
        return None
    if kind in TREES:
        return _averaged(estimator, [estimator])
    if kind in FORESTS:
        return _averaged(estimator, estimator.estimators_)
    return _boosted(estimator) if kind in BOOSTING else None


def _averaged(estimator: Any, members: Sequence[Any]) -> TreeModel:
    if estimator.n_outputs_ != 1:
        raise NotExplainable(f"its {type(estimator).__name__} has several outputs")
    has_classes = hasattr(estimator, "classes_")
    n_outputs = len(estimator.classes_) if has_classes else 1

    def make() -> TreeEnsemble:
        trees = [Member(member.tree_, member.tree_.value[:, 0, :] / len(members)) for member in members]
        return _ensemble(trees, np.zeros(n_outputs))

    return _model(estimator, PROBABILITY if has_classes else VALUE, n_outputs, make)


def _boosted(estimator: Any) -> TreeModel:
    init = estimator.init_
    if not (isinstance(init, str) and init == "zero") and not type(init).__name__.startswith("Dummy"):
        raise NotExplainable(f"its gradient boosting starts from a {type(init).__name__}, not from a constant")
    n_outputs = estimator.estimators_.shape[1]
    has_classes = hasattr(estimator, "classes_")

    def make() -> TreeEnsemble:
        trees = [
            Member(member.tree_, np.eye(n_outputs)[target] * member.tree_.value[:, 0] * estimator.learning_rate)
            for stage in estimator.estimators_
            for target, member in enumerate(stage)
        ]
        ensemble = _ensemble(trees, np.zeros(n_outputs))
        # The initial prediction is the difference between a prediction and the sum of the trees.
        anything = np.zeros((1, estimator.n_features_in_))
        answer = estimator.decision_function(anything) if has_classes else estimator.predict(anything)
        return replace(ensemble, base=np.reshape(answer, n_outputs) - paths.answers(ensemble, anything)[0])

    is_logistic = has_classes and n_outputs == 1 and estimator.loss == "log_loss"
    return _model(estimator, LOG_ODDS if is_logistic else DECISION if has_classes else VALUE, n_outputs, make)


def _model(estimator: Any, output: str, n_outputs: int, make: Callable[[], TreeEnsemble]) -> TreeModel:
    return TreeModel(output, n_outputs, make, order=np.arange(estimator.n_features_in_), prepare=as_float32)


def _ensemble(members: Sequence[Member], base: Array) -> TreeEnsemble:
    sizes = [member.tree.node_count for member in members]
    starts = np.cumsum([0, *sizes])[:-1]

    def joined(name: str) -> Array:
        return np.concatenate([getattr(member.tree, name) for member in members])

    left, offset = joined("children_left"), np.repeat(starts, sizes)
    leaves = np.flatnonzero(left < 0)
    feature, threshold, missing_left = joined("feature"), joined("threshold"), joined("missing_go_to_left") != 0

    def goes_left(rows: Array, nodes: Array) -> Array:
        values = rows[:, np.maximum(feature[nodes], 0)]
        return np.where(np.isnan(values), missing_left[nodes], values <= threshold[nodes])

    return TreeEnsemble(
        left=left + offset,
        right=joined("children_right") + offset,
        feature=feature,
        cover=joined("weighted_n_node_samples"),
        roots=starts,
        leaves=leaves,
        values=np.concatenate([member.values for member in members])[leaves],
        base=base,
        goes_left=goes_left,
    )


def as_float32(rows: Any) -> Array:
    """Return rows as float64, rounded to float32 like the values that scikit-learn's trees compare."""
    dense = rows.toarray() if scipy.sparse.issparse(rows) else rows
    return np.asarray(dense, dtype=np.float32).astype(np.float64)
