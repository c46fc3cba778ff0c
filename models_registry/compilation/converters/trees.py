"""Converters of decision trees and ensembles of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from models_registry.artifacts.boosters.forest import bits_of
from models_registry.compilation.context import (
    Context,
    Outputs,
    Tensor,
    Unsupported,
    Value,
    predicts,
    transform,
)
from models_registry.compilation.converters.outputs import (
    above,
    as_prediction,
    by_highest,
    classes_of,
    complement,
    sigmoid,
    softmax,
)
from models_registry.compilation.converters.split_columns import SplitColumns
from models_registry.compilation.converters.tree_ensembles import (
    Tree,
    add_up,
    constant_tree,
    of_sklearn,
    sum_of_leaves,
)
from models_registry.compilation.graph import Array

TREES = {"DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"}


def as_trees_see_it(context: Context, value: Value) -> Tensor:
    """Return the input rounded to float32, as scikit-learn's trees (except histogram boosting) compare it."""
    tensor = context.tensor(value)
    return Tensor(context.graph.through_float32(tensor.name), tensor.width, tensor.sources)


def is_tree(estimator: Any) -> bool:
    return type(estimator).__name__ in TREES and type(estimator).__module__.startswith("sklearn.")


def class_fractions(estimator: Any) -> Array:
    """Return each node's class fractions, shape (nodes, classes)."""
    if estimator.n_outputs_ != 1:
        raise Unsupported("trees with several outputs of classes answer lists of probabilities")
    return np.asarray(estimator.tree_.value[:, 0, : int(estimator.n_classes_)])


def _averaged_classes(context: Context, estimator: Any, members: list[Any], value: Value) -> Outputs:
    classes = classes_of(estimator)
    tensor, graph = as_trees_see_it(context, value), context.graph
    tables = [class_fractions(member) for member in members]
    trees = [of_sklearn(member.tree_, np.zeros(len(table))) for member, table in zip(members, tables, strict=True)]
    summed = sum_of_leaves(context, tensor, trees, tables)
    probabilities = summed if len(members) == 1 else graph.divide(summed, graph.constant(float(len(members))))
    return by_highest(context, probabilities, classes)


def _averaged_values(context: Context, estimator: Any, members: list[Any], value: Value) -> Outputs:
    tensor, graph = as_trees_see_it(context, value), context.graph
    count = int(estimator.n_outputs_)
    tables = [np.asarray(member.tree_.value[:, :, 0]) for member in members]
    if count == 1:
        trees = [of_sklearn(member.tree_, table[:, 0]) for member, table in zip(members, tables, strict=True)]
        summed = add_up(context, tensor, trees, 1)
    else:
        trees = [of_sklearn(member.tree_, table[:, 0]) for member, table in zip(members, tables, strict=True)]
        summed = sum_of_leaves(context, tensor, trees, tables)
    mean = summed if len(members) == 1 else graph.divide(summed, graph.constant(float(len(members))))
    return as_prediction(context, mean, count)


@predicts("DecisionTreeClassifier", "ExtraTreeClassifier")
def _tree_classifier(context: Context, estimator: Any, value: Value) -> Outputs:
    return _averaged_classes(context, estimator, [estimator], value)


@predicts("RandomForestClassifier", "ExtraTreesClassifier")
def _forest_classifier(context: Context, estimator: Any, value: Value) -> Outputs:
    return _averaged_classes(context, estimator, estimator.estimators_, value)


@predicts("DecisionTreeRegressor", "ExtraTreeRegressor")
def _tree_regressor(context: Context, estimator: Any, value: Value) -> Outputs:
    return _averaged_values(context, estimator, [estimator], value)


@predicts("RandomForestRegressor", "ExtraTreesRegressor")
def _forest_regressor(context: Context, estimator: Any, value: Value) -> Outputs:
    return _averaged_values(context, estimator, estimator.estimators_, value)


@predicts("GradientBoostingClassifier", "GradientBoostingRegressor")
def _gradient_boosting(context: Context, estimator: Any, value: Value) -> Outputs:
    tensor = as_trees_see_it(context, value)
    start = _starting_values(estimator)
    trees = [constant_tree(float(amount), target) for target, amount in enumerate(start)]
    for stage in estimator.estimators_:
        for target, member in enumerate(stage):
            scaled = estimator.learning_rate * member.tree_.value[:, 0, 0]
            trees.append(of_sklearn(member.tree_, scaled, target=target))
    margin = add_up(context, tensor, trees, len(start))
    if not hasattr(estimator, "classes_"):
        return as_prediction(context, margin, 1)
    return _boosted_classes(context, estimator, margin, len(start), inclusive=True)


def _starting_values(estimator: Any) -> Array:
    """Return the initial prediction of gradient boosting, one number per output."""
    init = estimator.init_
    if not (isinstance(init, str) and init == "zero") and not type(init).__name__.startswith("Dummy"):
        raise Unsupported(f"gradient boosting that starts from a {type(init).__name__} has no compiled form here")
    if type(init).__name__ == "DummyClassifier" and init.strategy not in {"prior", "most_frequent", "constant"}:
        raise Unsupported("gradient boosting that starts from random guesses has no compiled form")
    nothing = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
    return np.asarray(estimator._raw_predict_init(nothing)[0], dtype=np.float64)


def _boosted_classes(context: Context, estimator: Any, margin: str, width: int, *, inclusive: bool) -> Outputs:
    graph, classes = context.graph, classes_of(estimator)
    if width > 1:
        return Outputs(
            label=graph.argmax(margin),
            probabilities=softmax(graph, margin),
            decision=margin,
            classes=classes,
        )
    positive = sigmoid(graph, margin)
    if type(estimator._loss).__name__ == "ExponentialLoss":
        positive = sigmoid(graph, graph.multiply(margin, graph.constant(2.0)))
    return Outputs(
        label=above(graph, margin, inclusive=inclusive),
        probabilities=complement(graph, positive),
        decision=graph.flatten(margin),
        classes=classes,
    )


@predicts("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
def _histogram_boosting(context: Context, estimator: Any, value: Value) -> Outputs:
    preprocessor = getattr(estimator, "_preprocessor", None)
    tensor = context.tensor(value) if preprocessor is None else transform(context, preprocessor, value)
    start = np.asarray(estimator._baseline_prediction, dtype=np.float64).ravel()
    trees = [constant_tree(float(amount), target) for target, amount in enumerate(start)]
    categories = _CategorySplits(estimator)
    for stage in estimator._predictors:
        for target, predictor in enumerate(stage):
            trees.append(categories.tree(predictor, target))
    margin = add_up(context, categories.extend(context, tensor), trees, len(start))
    if hasattr(estimator, "classes_"):
        return _boosted_classes(context, estimator, margin, len(start), inclusive=False)
    if type(estimator._loss.link).__name__ == "LogLink":
        margin = context.graph.op("Exp", margin)
    return as_prediction(context, margin, 1)


class _CategorySplits:
    """Categorical splits of histogram boosting, as extra columns.

    The last row of each table is for unknown or missing values.
    """

    def __init__(self, estimator: Any) -> None:
        self._columns = SplitColumns(int(estimator._n_features))
        self._known: dict[int, Array] = {}
        if estimator.is_categorical_ is not None and estimator.is_categorical_.any():
            bitsets, positions = estimator._bin_mapper.make_known_categories_bitsets()
            for feature in np.flatnonzero(_categorical_positions(estimator)):
                self._known[int(feature)] = bits_of(bitsets[positions[feature]])

    def tree(self, predictor: Any, target: int) -> Tree:
        """Return a predictor's tree, with categorical splits replaced by splits of the extra columns."""
        nodes = predictor.nodes
        feature = nodes["feature_idx"].astype(np.int64)
        threshold = nodes["num_threshold"].astype(np.float64)
        for index in np.flatnonzero((nodes["is_categorical"] != 0) & (nodes["is_leaf"] == 0)):
            sides = bits_of(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][index]])
            feature[index] = self._column(int(feature[index]), sides, bool(nodes["missing_go_to_left"][index]))
            threshold[index] = 0.5
        is_leaf = nodes["is_leaf"] != 0
        return Tree(
            feature=np.where(is_leaf, 0, feature),
            threshold=threshold,
            left=nodes["left"].astype(np.int64),
            right=nodes["right"].astype(np.int64),
            missing_left=nodes["missing_go_to_left"].astype(np.int64),
            is_leaf=is_leaf,
            value=nodes["value"].astype(np.float64),
            target=target,
        )

    def _column(self, feature: int, left: Array, missing_left: bool) -> int:
        other = 0.0 if missing_left else 1.0
        known = self._known[feature]
        table = np.where(left, 0.0, np.where(known, 1.0, other))
        return self._columns.add(feature, np.append(table, other))

    def extend(self, context: Context, tensor: Tensor) -> Tensor:
        """Return the input with the extra columns appended."""
        return self._columns.extend(context, tensor, _position)


def _categorical_positions(estimator: Any) -> Array:
    """Return which columns are categorical after the encoder, which puts them first."""
    marks = np.asarray(estimator.is_categorical_)
    return np.arange(len(marks)) < marks.sum() if estimator._preprocessor is not None else marks


def _position(context: Context, code: str, other: int) -> str:
    """Return the table row: the category truncated to an integer, or the last row for other values."""
    graph = context.graph
    within = graph.op(
        "And",
        graph.op("GreaterOrEqual", code, graph.constant(0.0)),
        graph.op("Less", code, graph.constant(float(other))),
    )
    return graph.as_int64(graph.where(within, code, graph.constant(float(other))))


@predicts("AdaBoostClassifier")
def _adaboost_classifier(context: Context, estimator: Any, value: Value) -> Outputs:
    graph, classes = context.graph, classes_of(estimator)
    _only_trees(estimator, estimator.estimators_)
    if len(classes) < 2:
        raise Unsupported("AdaBoost with a single class has no compiled form here")
    trees, tables = [], []
    for member, weight in zip(estimator.estimators_, estimator.estimator_weights_, strict=False):
        chosen = np.asarray(member.classes_)[class_fractions(member).argmax(axis=1)]
        tables.append(np.where(chosen[:, None] == classes[None, :], weight, -1 / (len(classes) - 1) * weight))
        trees.append(of_sklearn(member.tree_, np.zeros(len(chosen))))
    summed = sum_of_leaves(context, as_trees_see_it(context, value), trees, tables)
    scores = graph.divide(summed, graph.constant(float(estimator.estimator_weights_.sum())))
    if len(classes) > 2:
        proportional = graph.divide(scores, graph.constant(float(len(classes) - 1)))
        return Outputs(
            label=graph.argmax(scores),
            probabilities=softmax(graph, proportional),
            decision=scores,
            classes=classes,
        )
    margin = graph.subtract(graph.take(scores, [1]), graph.take(scores, [0]))
    both = graph.concat([graph.op("Neg", margin), margin])
    return Outputs(
        label=above(graph, margin),
        probabilities=softmax(graph, graph.divide(both, graph.constant(2.0))),
        decision=graph.flatten(margin),
        classes=classes,
    )


@predicts("AdaBoostRegressor")
def _adaboost_regressor(context: Context, estimator: Any, value: Value) -> Outputs:
    """The weighted median of the trees' predictions."""
    graph, members = context.graph, estimator.estimators_
    _only_trees(estimator, members)
    trees = [
        of_sklearn(member.tree_, member.tree_.value[:, 0, 0], target=position)
        for position, member in enumerate(members)
    ]
    answered = add_up(context, as_trees_see_it(context, value), trees, len(trees))
    context.needs(40 * len(trees))
    count = graph.constant([len(trees)], np.int64)
    ordered, positions = graph.ops("TopK", answered, count, outputs=2, axis=1, largest=0, sorted=1)
    weights = graph.op("Gather", graph.constant(estimator.estimator_weights_[: len(trees)]), positions)
    grown = graph.op("CumSum", weights, graph.constant(1, np.int64))
    half = graph.multiply(graph.take(grown, [len(trees) - 1]), graph.constant(0.5))
    reached = graph.as_int64(graph.op("GreaterOrEqual", grown, half))
    first = graph.op("ArgMax", reached, axis=1, keepdims=1)
    return as_prediction(context, graph.op("GatherElements", ordered, first, axis=1), 1)


def _only_trees(estimator: Any, members: list[Any]) -> None:
    for member in members:
        if not is_tree(member):
            raise Unsupported(
                f"{type(estimator).__name__} over {type(member).__name__} has no compiled form, only over trees"
            )


@predicts("BaggingClassifier", "BaggingRegressor")
def _bagging(context: Context, estimator: Any, value: Value) -> Outputs:
    members = estimator.estimators_
    _only_trees(estimator, members)
    tensor, graph = as_trees_see_it(context, value), context.graph
    choices = estimator.estimators_features_
    count = graph.constant(float(len(members)))
    if not hasattr(estimator, "classes_"):
        if members[0].n_outputs_ != 1:
            raise Unsupported("bagging with several outputs has no compiled form here")
        trees = [
            of_sklearn(member.tree_, member.tree_.value[:, 0, 0], features=features)
            for member, features in zip(members, choices, strict=True)
        ]
        return as_prediction(context, graph.divide(add_up(context, tensor, trees, 1), count), 1)
    classes = classes_of(estimator)
    trees, tables = [], []
    for member, features in zip(members, choices, strict=True):
        table = np.zeros((member.tree_.node_count, len(classes)))
        table[:, np.asarray(member.classes_, dtype=np.int64)] = class_fractions(member)
        tables.append(table)
        trees.append(of_sklearn(member.tree_, np.zeros(len(table)), features=features))
    probabilities = graph.divide(sum_of_leaves(context, tensor, trees, tables), count)
    return by_highest(context, probabilities, classes)
