"""Converts XGBoost and LightGBM models to the forms of `paths` and `linear`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models_registry.artifacts.boosters import links
from models_registry.artifacts.boosters.estimators import Boosted
from models_registry.artifacts.boosters.forest import Forest
from models_registry.artifacts.boosters.model import LIGHTGBM, BoostedModel
from models_registry.errors import NotExplainable
from models_registry.explanations.base import DECISION, LOG_ODDS, RAW, VALUE, Array
from models_registry.explanations.linear import LinearModel
from models_registry.explanations.paths import TreeEnsemble
from models_registry.explanations.trees import TreeModel


def of_boosted(estimator: Any) -> TreeModel | LinearModel | None:
    """Return the trees or weights in an estimator; None for other libraries. Raises NotExplainable."""
    if not isinstance(estimator, Boosted):
        return None
    model, forest = estimator.model_, estimator.model_.forest
    output = _output(estimator, model)

    def prepare(rows: Any) -> Array:
        return model.as_seen(np.concatenate(list(estimator.matrices(rows))))

    if forest is None:
        weights = np.asarray(model.weights)
        return LinearModel(
            output, weights[:-1].T, weights[-1] + model.start, prepare=lambda rows: np.nan_to_num(prepare(rows))
        )
    name = type(estimator).__name__
    if forest.linear:
        raise NotExplainable(f"the leaves of its {name} are linear functions")
    if forest.cover is None:
        raise NotExplainable(f"the file of its {name} does not store how many training rows reached each node")
    cover = forest.cover
    return TreeModel(
        output,
        model.n_outputs,
        lambda: _ensemble(model, forest, cover),
        order=np.arange(model.n_features),
        prepare=prepare,
    )


def _output(estimator: Boosted, model: BoostedModel) -> str:
    if model.link == links.SIGMOID and model.n_outputs == 1 and model.scale == 1.0:
        return LOG_ODDS
    if hasattr(estimator, "classes_"):
        return DECISION
    return VALUE if model.link == links.IDENTITY else RAW


def _ensemble(model: BoostedModel, forest: Forest, cover: Array) -> TreeEnsemble:
    leaves = np.flatnonzero(forest.is_leaf)
    tree = np.searchsorted(forest.starts, leaves, side="right") - 1
    return TreeEnsemble(
        left=forest.left,
        right=forest.right,
        feature=forest.feature,
        cover=cover,
        roots=forest.starts[:-1],
        leaves=leaves,
        values=forest.value[leaves, None] * np.eye(model.n_outputs)[forest.targets[tree]] / model.divisor,
        base=model.start / model.divisor,
        goes_left=_splits(forest, set_goes_left=model.library == LIGHTGBM),
    )


def _splits(forest: Forest, *, set_goes_left: bool) -> Callable[[Array, Array], Array]:
    def goes_left(rows: Array, nodes: Array) -> Array:
        return forest.goes_left(rows[:, forest.feature[nodes]], nodes[None], set_goes_left=set_goes_left)

    return goes_left
