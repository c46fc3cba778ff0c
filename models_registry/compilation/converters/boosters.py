"""Converters of XGBoost and LightGBM models."""

from __future__ import annotations

from typing import Any

import numpy as np

from models_registry.artifacts.boosters import links
from models_registry.artifacts.boosters.forest import MISSING_NONE, MISSING_ZERO, ZERO, Forest
from models_registry.artifacts.boosters.model import LIGHTGBM, XGBOOST, BoostedModel
from models_registry.artifacts.boosters.names import STAND_INS
from models_registry.compilation.context import Context, Outputs, Raw, Tensor, Unsupported, Value, predicts
from models_registry.compilation.converters.outputs import above, as_prediction, complement, sigmoid, softmax
from models_registry.compilation.converters.split_columns import SplitColumns
from models_registry.compilation.converters.tree_ensembles import Tree, add_up, constant_tree
from models_registry.compilation.encoder import CodeColumn
from models_registry.compilation.graph import Array


@predicts(*{name.rpartition(".")[2] for name in STAND_INS})
def _boosted(context: Context, estimator: Any, value: Value) -> Outputs:
    model: BoostedModel = estimator.model_
    answers = _answers(context, model, _margins(context, model, _input(context, estimator, value)))
    graph = context.graph
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        if type(estimator).__name__ == "Booster" and model.objective == "multi:softmax":
            return Outputs(prediction=graph.as_float64(graph.argmax(answers)))
        return as_prediction(context, answers, model.n_outputs)
    if model.n_outputs > 1:
        return Outputs(label=graph.argmax(answers), probabilities=answers, classes=classes)
    both = complement(graph, answers)
    if model.sums_in_float32:
        both = graph.through_float32(both)
    return Outputs(label=above(graph, answers, 0.5), probabilities=both, classes=classes)


def _input(context: Context, estimator: Any, value: Value) -> Tensor:
    """Return the model's input numbers, with NaN for missing values."""
    graph, model = context.graph, estimator.model_
    tensor = _with_codes(context, estimator, value)
    if estimator.saw_sparse_ is None:
        raise Unsupported("it accepts no generated row, so the form of the booster's input is unknown")
    name = tensor.name
    if estimator.saw_sparse_ and model.library == XGBOOST and model.forest is not None:
        # XGBoost treats the absent entries of a sparse matrix as missing, not as zero.
        name = _missing_where(context, name, graph.op("Equal", name, graph.constant(0.0)))
    if not np.isnan(estimator.missing_):
        name = _missing_where(context, name, graph.op("Equal", name, graph.constant(estimator.missing_)))
    if model.sums_in_float32:
        name = graph.through_float32(name)
    return Tensor(name, tensor.width, tensor.sources)


def _missing_where(context: Context, name: str, condition: str) -> str:
    return context.graph.where(condition, context.graph.constant(np.nan), name)


def _with_codes(context: Context, estimator: Any, value: Value) -> Tensor:
    """Return the input with codes instead of the values of categorical columns."""
    known = estimator.categories_by_feature
    positions = [position for position, values in enumerate(known) if values is not None]
    if not positions:
        return context.tensor(value)
    if not isinstance(value, Raw):
        raise Unsupported("categories that another step makes have no compiled form")
    graph = context.graph
    numbers = [position for position, values in enumerate(known) if values is None]
    columns = [
        CodeColumn(
            value.columns[position],
            context.schema.inputs[value.columns[position]].name,
            tuple(known[position]),
            unknown=len(known[position]),
            missing=len(known[position]),
        )
        for position in positions
    ]
    codes = graph.as_float64(context.codes(columns))
    none = graph.constant([float(len(known[position])) for position in positions])
    parts = [_missing_where(context, codes, graph.op("Equal", codes, none))]
    if numbers:
        parts.append(context.tensor(Raw(tuple(value.columns[position] for position in numbers))).name)
    order = np.argsort([*positions, *numbers])
    return Tensor(graph.take(graph.concat(parts), order), len(known))


def _margins(context: Context, model: BoostedModel, tensor: Tensor) -> str:
    """Return the sums before the link, shape (rows, outputs)."""
    graph = context.graph
    if model.forest is None:
        weights = np.asarray(model.weights)
        numbers = graph.where(graph.op("IsNaN", tensor.name), graph.constant(0.0), tensor.name)
        sums = graph.add(graph.matmul(numbers, graph.constant(weights[:-1])), graph.constant(weights[-1] + model.start))
        return graph.through_float32(sums)
    if model.forest.linear:
        raise Unsupported("trees whose leaves are linear functions have no compiled form")
    tensor = _zeros_as_missing(context, model.forest, tensor)
    columns = SplitColumns(tensor.width)
    trees = [constant_tree(float(start), target) for target, start in enumerate(model.start)]
    sizes = _table_sizes(model.forest)
    trees += [_tree(model, number, columns, sizes) for number in range(model.forest.n_trees)]
    position = _position_of_xgboost if model.library == XGBOOST else _position_of_lightgbm
    extended = columns.extend(context, tensor, position)
    sums = add_up(context, extended, trees, model.n_outputs, in_float32=model.sums_in_float32)
    return sums if model.divisor == 1.0 else graph.divide(sums, graph.constant(model.divisor))


def _zeros_as_missing(context: Context, forest: Forest, tensor: Tensor) -> Tensor:
    """Return the input with NaN for zero in the columns whose splits treat zero as missing."""
    inner = ~forest.is_leaf & (forest.set_words == 0)
    as_zero = np.unique(forest.feature[inner & (forest.missing == MISSING_ZERO)])
    if not as_zero.size:
        return tensor
    if np.isin(forest.feature[inner & (forest.missing != MISSING_ZERO)], as_zero).any():
        raise Unsupported("splits of one feature that treat zero in different ways have no compiled form")
    graph = context.graph
    is_zero = graph.op("LessOrEqual", graph.op("Abs", tensor.name), graph.constant(ZERO))
    concerned = graph.constant(np.isin(np.arange(tensor.width), as_zero), np.bool_)
    return Tensor(
        _missing_where(context, tensor.name, graph.op("And", is_zero, concerned)), tensor.width, tensor.sources
    )


def _table_sizes(forest: Forest) -> dict[int, int]:
    """Return for each feature the number of categories that its splits distinguish."""
    nodes = np.flatnonzero(forest.set_words > 0)
    sizes: dict[int, int] = {}
    for node in nodes.tolist():
        feature = int(forest.feature[node])
        sizes[feature] = max(sizes.get(feature, 0), 32 * int(forest.set_words[node]))
    return sizes


def _tree(model: BoostedModel, number: int, columns: SplitColumns, sizes: dict[int, int]) -> Tree:
    forest = model.forest
    assert forest is not None
    start, stop = int(forest.starts[number]), int(forest.starts[number + 1])
    feature, threshold = forest.feature[start:stop].copy(), forest.threshold[start:stop].copy()
    missing_left = forest.missing_left[start:stop].copy()
    # A missing value that counts as zero takes the path of zero.
    counts_as_zero = forest.missing[start:stop] == MISSING_NONE
    missing_left[counts_as_zero] = (threshold >= 0.0)[counts_as_zero]
    for node in np.flatnonzero(forest.set_words[start:stop] > 0).tolist():
        split = int(feature[node])
        table = _sides(
            model, forest.categories_of(start + node), sizes[split], is_missing_left=bool(missing_left[node])
        )
        feature[node], threshold[node] = columns.add(split, table), 0.5
    leaf = forest.is_leaf[start:stop]
    return Tree(
        feature=feature,
        threshold=threshold,
        left=np.where(leaf, -1, forest.left[start:stop] - start),
        right=np.where(leaf, -1, forest.right[start:stop] - start),
        missing_left=missing_left.astype(np.int64),
        is_leaf=leaf,
        value=forest.value[start:stop],
        target=int(forest.targets[number]),
    )


def _sides(model: BoostedModel, categories: Array, size: int, *, is_missing_left: bool) -> Array:
    """Return a split's table: the side of each category, then of non-categories, then of missing values."""
    in_set = np.isin(np.arange(size + 1), categories)
    goes_left = in_set == (model.library == LIGHTGBM)
    return np.where(np.append(goes_left, is_missing_left), 0.0, 1.0)


def _position_of_xgboost(context: Context, code: str, missing: int) -> str:
    return _position(context, code, missing, context.graph.op("GreaterOrEqual", code, context.graph.constant(0.0)))


def _position_of_lightgbm(context: Context, code: str, missing: int) -> str:
    # LightGBM truncates -0.5 to category 0; XGBoost treats it as no category.
    return _position(context, code, missing, context.graph.op("Greater", code, context.graph.constant(-1.0)))


def _position(context: Context, code: str, missing: int, is_high: str) -> str:
    graph = context.graph
    none = graph.constant(float(missing - 1))
    within = graph.op("And", is_high, graph.op("Less", code, none))
    known = graph.where(within, code, none)
    return graph.as_int64(graph.where(graph.op("IsNaN", code), graph.constant(float(missing)), known))


def _answers(context: Context, model: BoostedModel, margins: str) -> str:
    """Return the library's predictions for the sums."""
    graph = context.graph
    if model.link == links.IDENTITY:
        return margins
    if model.sums_in_float32 and model.link in {links.SIGMOID, links.SOFTMAX}:
        return _in_float32(context, model.link, margins)
    if model.link == links.SIGMOID:
        scaled = margins if model.scale == 1.0 else graph.multiply(margins, graph.constant(model.scale))
        answers = sigmoid(graph, scaled)
    elif model.link == links.SOFTMAX:
        answers = softmax(graph, margins)
    elif model.link == links.EXP:
        answers = graph.op("Exp", margins)
    elif model.link == links.STEP:
        answers = graph.as_float64(graph.op("Greater", margins, graph.constant(0.0)))
    elif model.link == links.SQUARE:
        answers = graph.multiply(graph.multiply(margins, margins), graph.op("Sign", margins))
    else:
        answers = graph.op("Log", graph.add(graph.op("Exp", margins), graph.constant(1.0)))
    return graph.through_float32(answers) if model.sums_in_float32 else answers


def _in_float32(context: Context, link: str, margins: str) -> str:
    """Return probabilities rounded to float32 after each step, like XGBoost."""
    graph = context.graph
    if link == links.SIGMOID:
        grown = graph.as_float32(graph.op("Exp", graph.op("Neg", margins)))
        return graph.as_float64(graph.op("Reciprocal", graph.add(grown, graph.constant(1.0, np.float32))))
    below = graph.through_float32(graph.subtract(margins, graph.highest(margins)))
    grown = graph.as_float32(graph.op("Exp", below))
    total = graph.as_float32(graph.total(graph.as_float64(grown), 1, keep=True))
    return graph.as_float64(graph.divide(grown, total))
