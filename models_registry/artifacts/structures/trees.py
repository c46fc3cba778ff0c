"""Decision trees and ensembles, which compiled code traverses without bounds checks."""

from typing import Any

import numpy as np

from models_registry.artifacts.structures.bounds import are_within, refuse

_LEAF = -1
_BITSET_WORDS = 8
_MAX_CATEGORIES = 256
# Initial predictions may depend on the number of rows, so several numbers are tried.
_ROW_COUNTS = (1, 2, 5)


def check_tree(tree: Any) -> None:
    """Refuse a decision tree whose path could leave its nodes, never end, or use a feature that does not exist."""
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    count = len(left)
    if count == 0:
        raise refuse("holds a decision tree without nodes")
    inner = left != _LEAF
    number = np.arange(count)[inner]
    for children in (left[inner], right[inner]):
        # Every builder writes a child after its parent; this order excludes cycles.
        if not ((children > number) & (children < count)).all():
            raise refuse("holds a decision tree whose nodes point outside of it or in a circle")
    asked = feature[inner]
    if not are_within(asked, tree.n_features):
        raise refuse(f"holds a decision tree that uses a feature outside of its {tree.n_features} features")


def check_tree_owner(estimator: Any) -> None:
    """Refuse an estimator whose tree takes another number of features than the estimator validates."""
    if estimator.tree_.n_features != estimator.n_features_in_:
        raise refuse(
            f"holds a decision tree of {estimator.tree_.n_features} features in an estimator "
            f"of {estimator.n_features_in_}"
        )


def check_forest(forest: Any) -> None:
    """Refuse a forest in which a tree takes another number of features than the forest passes to it."""
    chosen = getattr(forest, "estimators_features_", None)
    for number, estimator in enumerate(np.ravel(forest.estimators_)):
        tree = getattr(estimator, "tree_", None)
        given = forest.n_features_in_ if chosen is None else len(chosen[number])
        if tree is not None and tree.n_features != given:
            raise refuse(f"holds a forest of {given} features with a tree of {tree.n_features}")


def check_gradient_boosting(model: Any) -> None:
    """Refuse gradient boosting with more trees per stage than output columns."""
    estimators = model.estimators_
    if not isinstance(estimators, np.ndarray) or estimators.ndim != 2:
        raise refuse("holds gradient boosting whose stages are not a table")
    check_forest(model)
    if any(estimator.tree_.value.shape[1:] != (1, 1) for estimator in estimators.flat):
        raise refuse("holds gradient boosting whose trees have more than one value per node")
    for rows in _ROW_COUNTS:
        start = model._raw_predict_init(np.zeros((rows, model.n_features_in_), dtype=np.float32))
        if start.shape != (rows, estimators.shape[1]):
            raise refuse(
                f"holds gradient boosting with {estimators.shape[1]} trees per stage that starts with predictions of "
                f"shape {start.shape} for {rows} rows"
            )


def check_histogram_boosting(model: Any) -> None:
    """Refuse histogram boosting with nodes or categories outside of their arrays."""
    mapper = model._bin_mapper
    is_categorical = np.asarray(mapper.is_categorical_)
    if is_categorical.shape != (model.n_features_in_,):
        raise refuse("holds histogram boosting with a wrong number of features in its bins")
    for feature in np.flatnonzero(is_categorical):
        categories = np.asarray(mapper.bin_thresholds_[feature])
        if not are_within(categories, _MAX_CATEGORIES):
            raise refuse("holds histogram boosting with a category outside of its bit set")
    for predictors in model._predictors:
        for predictor in predictors:
            _check_predictor(predictor, is_categorical)


def _check_predictor(predictor: Any, is_categorical: np.ndarray[Any, Any]) -> None:
    nodes = predictor.nodes
    if nodes.ndim != 1 or not len(nodes):
        raise refuse("holds histogram boosting with a tree without nodes")
    inner = nodes[nodes["is_leaf"] == 0]
    number = np.flatnonzero(nodes["is_leaf"] == 0)
    for side in ("left", "right"):
        children = inner[side].astype(np.int64)
        if not ((children > number) & (children < len(nodes))).all():
            raise refuse("holds histogram boosting whose nodes point outside of their tree or in a circle")
    feature = inner["feature_idx"]
    if not are_within(feature, len(is_categorical)):
        raise refuse("holds histogram boosting that uses a feature that does not exist")
    by_category = inner[inner["is_categorical"] != 0]
    bits = predictor.raw_left_cat_bitsets
    inside = bits.ndim == 2 and bits.shape[1] == _BITSET_WORDS
    if not inside or not (by_category["bitset_idx"] < len(bits)).all():
        raise refuse("holds histogram boosting that uses a missing bit set")
    if not is_categorical[by_category["feature_idx"]].all():
        raise refuse("holds histogram boosting that uses a number as a category")
