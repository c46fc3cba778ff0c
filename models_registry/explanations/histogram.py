"""Converts scikit-learn's histogram boosting to the form of `paths`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse

from models_registry.artifacts.boosters.forest import bits_of
from models_registry.explanations.base import DECISION, LOG_ODDS, RAW, VALUE, Array
from models_registry.explanations.paths import TreeEnsemble
from models_registry.explanations.trees import TreeModel


def of_sklearn(estimator: Any) -> TreeModel | None:
    """Return the trees in an estimator; None if it is not histogram boosting."""
    if type(estimator).__name__ not in {"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"}:
        return None
    if not type(estimator).__module__.startswith("sklearn."):
        return None
    n_outputs = np.size(estimator._baseline_prediction)
    return TreeModel(
        _output(estimator, n_outputs),
        n_outputs,
        lambda: _ensemble(estimator),
        order=_order(estimator),
        prepare=_prepared(estimator),
    )


def _ensemble(estimator: Any) -> TreeEnsemble:
    base = np.asarray(estimator._baseline_prediction, dtype=np.float64).ravel()
    members = [(predictor, target) for stage in estimator._predictors for target, predictor in enumerate(stage)]
    sizes = [len(predictor.nodes) for predictor, _ in members]
    starts = np.cumsum([0, *sizes])[:-1]
    nodes = np.concatenate([predictor.nodes for predictor, _ in members])
    offset, targets = np.repeat(starts, sizes), np.repeat([target for _, target in members], sizes)
    leaves = np.flatnonzero(nodes["is_leaf"])
    sets = [predictor.raw_left_cat_bitsets for predictor, _ in members]
    return TreeEnsemble(
        left=nodes["left"].astype(np.int64) + offset,
        right=nodes["right"].astype(np.int64) + offset,
        feature=nodes["feature_idx"].astype(np.int64),
        cover=nodes["count"].astype(np.float64),
        roots=starts,
        leaves=leaves,
        values=nodes["value"][leaves, None] * np.eye(len(base))[targets[leaves]],
        base=base,
        goes_left=_splits(estimator, nodes, np.repeat(np.arange(len(members)), sizes), sets),
    )


def _output(estimator: Any, n_outputs: int) -> str:
    if hasattr(estimator, "classes_"):
        return LOG_ODDS if n_outputs == 1 else DECISION
    return RAW if type(estimator._loss.link).__name__ == "LogLink" else VALUE


def _order(estimator: Any) -> Array:
    """Return the input column of each column of the trees: the encoder puts categories first."""
    if estimator._preprocessor is None:
        return np.arange(estimator.n_features_in_)
    return np.argsort(~np.asarray(estimator.is_categorical_), kind="stable")


def _prepared(estimator: Any) -> Callable[[Any], Array]:
    def prepare(rows: Any) -> Array:
        rows = rows.toarray() if scipy.sparse.issparse(rows) else rows
        if estimator._preprocessor is not None:
            rows = estimator._preprocessor.transform(rows)
        return np.asarray(rows, dtype=np.float64)

    return prepare


def _splits(estimator: Any, nodes: Array, tree: Array, sets: list[Array]) -> Callable[[Array, Array], Array]:
    """Return the direction of rows at `nodes` of the trees `tree`, like `predict_raw_data` in `_predictor.pyx`."""
    feature = nodes["feature_idx"].astype(np.int64)
    by_set = (nodes["is_categorical"] != 0) & (nodes["is_leaf"] == 0)
    missing_left = nodes["missing_go_to_left"] != 0
    threshold = nodes["num_threshold"]
    table = np.zeros((len(nodes), 257), dtype=bool) if by_set.any() else None
    if table is not None:
        bitsets, place = estimator._bin_mapper.make_known_categories_bitsets()
        for node in np.flatnonzero(by_set):
            known = bits_of(bitsets[place[feature[node]]])
            left = bits_of(sets[tree[node]][nodes["bitset_idx"][node]])
            # The last position is for missing and unknown values.
            table[node] = np.append(np.where(left | known, left, missing_left[node]), missing_left[node])

    def goes_left(rows: Array, chosen: Array) -> Array:
        values = rows[:, feature[chosen]]
        decided = np.where(np.isnan(values), missing_left[chosen], values <= threshold[chosen])
        if table is None:
            return decided
        is_code = (values >= 0) & (values < 256)
        code = np.where(is_code, values, 256).astype(np.int64)
        return np.where(by_set[chosen], table[chosen, code], decided)

    return goes_left
