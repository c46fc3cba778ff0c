"""Nearest neighbours, support vectors and naive Bayes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from models_registry.compilation.context import Context, Outputs, Tensor, Unsupported, Value, predicts
from models_registry.compilation.converters.outputs import above, as_prediction, classes_of, softmax
from models_registry.compilation.graph import Array, Graph

# How many more neighbours than asked for are held against each other by exact distances.
MORE_CANDIDATES = 16


def squared_distances(context: Context, tensor: Tensor, points: Array) -> str:
    """Return (rows, points): squared Euclidean distances."""
    context.measured_distances = True
    return (
        _by_products(context, tensor, points)
        if context.distances_by_products
        else _by_differences(context, tensor, points)
    )


def _by_products(context: Context, tensor: Tensor, points: Array) -> str:
    """|x|² - 2xy + |y|²: one matrix product; far from the origin it loses digits."""
    graph = context.graph
    context.needs(32 * len(points))
    own = graph.op("ReduceSumSquare", tensor.name, graph.constant([1], np.int64), keepdims=1)
    product = graph.matmul(tensor.name, graph.constant(-2.0 * points.T))
    sums = graph.add(graph.add(product, graph.constant((points * points).sum(axis=1))), own)
    return graph.op("Max", sums, graph.constant(0.0))


def _by_differences(context: Context, tensor: Tensor, points: Array) -> str:
    """The sum of squared differences, exact wherever the rows are."""
    graph = context.graph
    context.needs(16 * points.size)
    apart = graph.op("Unsqueeze", tensor.name, graph.constant([1], np.int64))
    difference = graph.subtract(apart, graph.constant(points))
    return graph.op("ReduceSumSquare", difference, graph.constant([2], np.int64), keepdims=0)


def _absolute_distances(context: Context, tensor: Tensor, points: Array, kind: str) -> str:
    graph = context.graph
    context.needs(24 * points.size)
    apart = graph.op("Unsqueeze", tensor.name, graph.constant([1], np.int64))
    size = graph.op("Abs", graph.subtract(apart, graph.constant(points)))
    return graph.op(kind, size, graph.constant([2], np.int64), keepdims=0)


def _ordering_distances(context: Context, tensor: Tensor, estimator: Any, points: Array) -> tuple[str, bool]:
    """Return distances that order as the metric does, and whether they are squared."""
    metric, power = estimator.effective_metric_, (estimator.effective_metric_params_ or {}).get("p", estimator.p)
    if metric == "minkowski":
        metric = {1: "manhattan", 2: "euclidean"}.get(power, f"minkowski of power {power}")
    if metric in {"euclidean", "sqeuclidean", "l2"}:
        return squared_distances(context, tensor, points), metric != "sqeuclidean"
    if metric in {"manhattan", "cityblock", "l1"}:
        return _absolute_distances(context, tensor, points, "ReduceSum"), False
    if metric in {"chebyshev", "infinity"}:
        return _absolute_distances(context, tensor, points, "ReduceMax"), False
    raise Unsupported(f"neighbours by the metric {metric!r} have no compiled form here")


def _neighbours(context: Context, estimator: Any, value: Value) -> tuple[str, str | None]:
    """Return the positions of the nearest points, (rows, k), and their weights where they differ."""
    if estimator.weights not in ("uniform", "distance", None):
        raise Unsupported("neighbours weighted by a function of one's own have no compiled form")
    points = estimator._fit_X
    if not isinstance(points, np.ndarray):
        raise Unsupported("neighbours of a sparse training set have no compiled form here")
    graph, tensor = context.graph, context.tensor(value)
    points = np.asarray(points, dtype=np.float64)
    context.remember_rows(tensor, points)
    distances, squared = _ordering_distances(context, tensor, estimator, points)
    if context.distances_by_products and context.measured_distances:
        nearest, positions = _nearest_of_candidates(context, tensor, distances, points, estimator.n_neighbors)
    else:
        nearest, positions = _nearest(graph, distances, estimator.n_neighbors)
    if estimator.weights != "distance":
        return positions, None
    distance = graph.op("Sqrt", nearest) if squared else nearest
    one, zero = graph.constant(1.0), graph.constant(0.0)
    touching = graph.op("Equal", distance, zero)
    marks = graph.as_float64(touching)
    any_touching = graph.op("Greater", graph.highest(marks), zero)
    return positions, graph.where(any_touching, marks, graph.divide(one, graph.where(touching, one, distance)))


def _nearest(graph: Graph, distances: str, count: int) -> list[str]:
    """Return the smallest distances, ascending, and their positions."""
    wanted = graph.constant([count], np.int64)
    return graph.ops("TopK", distances, wanted, outputs=2, axis=1, largest=0, sorted=1)


def _nearest_of_candidates(
    context: Context, tensor: Tensor, distances: str, points: Array, count: int
) -> tuple[str, str]:
    """Return the nearest by exact distance among a few more candidates by the quick one."""
    graph = context.graph
    _, candidates = _nearest(graph, distances, min(len(points), count + MORE_CANDIDATES))
    context.needs(32 * (count + MORE_CANDIDATES) * points.shape[1])
    found = graph.op("Gather", graph.constant(points), candidates, axis=0)
    apart = graph.op("Unsqueeze", tensor.name, graph.constant([1], np.int64))
    exact = graph.op("ReduceSumSquare", graph.subtract(apart, found), graph.constant([2], np.int64), keepdims=0)
    nearest, places = _nearest(graph, exact, count)
    return nearest, graph.op("GatherElements", candidates, places, axis=1)


@predicts("KNeighborsClassifier")
def _neighbours_classifier(context: Context, estimator: Any, value: Value) -> Outputs:
    graph, classes = context.graph, classes_of(estimator)
    positions, weights = _neighbours(context, estimator, value)
    table = np.eye(len(classes))[np.asarray(estimator._y).ravel()]
    context.needs(16 * estimator.n_neighbors * len(classes))
    votes = graph.op("Gather", graph.constant(table), positions, axis=0)
    if weights is not None:
        votes = graph.multiply(votes, graph.op("Unsqueeze", weights, graph.constant([2], np.int64)))
    counts = graph.total(votes, 1, keep=False)
    return Outputs(
        label=graph.argmax(counts),
        probabilities=graph.divide(counts, graph.total(counts, 1, keep=True)),
        classes=classes,
    )


@predicts("KNeighborsRegressor")
def _neighbours_regressor(context: Context, estimator: Any, value: Value) -> Outputs:
    graph = context.graph
    targets = np.asarray(estimator._y, dtype=np.float64)
    table = targets.reshape(len(targets), -1)
    positions, weights = _neighbours(context, estimator, value)
    found = graph.op("Gather", graph.constant(table), positions, axis=0)
    if weights is None:
        mean = graph.op("ReduceMean", found, graph.constant([1], np.int64), keepdims=0)
    else:
        weighted = graph.multiply(found, graph.op("Unsqueeze", weights, graph.constant([2], np.int64)))
        mean = graph.divide(graph.total(weighted, 1, keep=False), graph.total(weights, 1, keep=True))
    return Outputs(prediction=graph.flatten(mean) if targets.ndim == 1 else mean)


@predicts("NearestCentroid")
def _nearest_centroid(context: Context, estimator: Any, value: Value) -> Outputs:
    if estimator.metric != "euclidean" or not np.allclose(estimator.class_prior_, 1 / len(estimator.classes_)):
        raise Unsupported("nearest centroids by another metric or with priors have no compiled form here")
    graph, tensor, classes = context.graph, context.tensor(value), classes_of(estimator)
    distances = squared_distances(context, tensor, np.asarray(estimator.centroids_))
    label = graph.op("ArgMin", distances, axis=1, keepdims=0)
    # By its own centroids and spreads, scikit-learn scores what it answers as probabilities.
    spread = np.asarray(estimator.within_class_std_dev_)
    is_spread = spread != 0
    scale = np.where(is_spread, spread, 1.0)
    shrunken = np.where(is_spread, estimator.centroids_ / scale, estimator.centroids_)
    scaled = Tensor(graph.divide(tensor.name, graph.constant(scale)), tensor.width)
    away = squared_distances(context, scaled, shrunken)
    scores = graph.subtract(graph.constant(2.0 * np.log(estimator.class_prior_)), away)
    return Outputs(label=label, probabilities=softmax(graph, scores), classes=classes)


def _kernel(context: Context, estimator: Any, value: Value) -> str:
    """Return (rows, support vectors): the kernel's values."""
    graph, tensor = context.graph, context.tensor(value)
    if not isinstance(estimator.support_vectors_, np.ndarray) or estimator._sparse:
        raise Unsupported("support vectors fitted on sparse data have no compiled form here")
    vectors = np.asarray(estimator.support_vectors_)
    context.remember_rows(tensor, vectors)
    gamma, kernel = float(estimator._gamma), estimator.kernel
    if kernel == "rbf":
        distances = squared_distances(context, tensor, vectors)
        return graph.op("Exp", graph.multiply(distances, graph.constant(-gamma)))
    product = graph.matmul(tensor.name, graph.constant(vectors.T))
    context.needs(24 * len(vectors))
    if kernel == "linear":
        return product
    scaled = graph.add(graph.multiply(product, graph.constant(gamma)), graph.constant(float(estimator.coef0)))
    if kernel == "poly":
        return graph.op("Pow", scaled, graph.constant(float(estimator.degree)))
    if kernel == "sigmoid":
        return graph.op("Tanh", scaled)
    raise Unsupported(f"the kernel {kernel!r} has no compiled form here")


@predicts("SVR", "NuSVR")
def _support_regressor(context: Context, estimator: Any, value: Value) -> Outputs:
    graph = context.graph
    scores = graph.matmul(_kernel(context, estimator, value), graph.constant(estimator._dual_coef_.T))
    return as_prediction(context, graph.add(scores, graph.constant(estimator._intercept_)), 1)


@predicts("OneClassSVM")
def _support_outlier(context: Context, estimator: Any, value: Value) -> Outputs:
    graph = context.graph
    scores = graph.matmul(_kernel(context, estimator, value), graph.constant(estimator._dual_coef_.T))
    scores = graph.add(scores, graph.constant(estimator._intercept_))
    # An outlier is -1; on the edge it is one.
    return Outputs(label=above(graph, scores), decision=graph.flatten(scores), classes=np.array([-1, 1]))


@predicts("SVC", "NuSVC")
def _support_classifier(context: Context, estimator: Any, value: Value) -> Outputs:
    graph, classes = context.graph, classes_of(estimator)
    pairs = _pairs(len(classes))
    coefficients = _pairwise_coefficients(estimator, pairs)
    scores = graph.matmul(_kernel(context, estimator, value), graph.constant(coefficients))
    scores = graph.add(scores, graph.constant(estimator._intercept_))
    if estimator.probability is True:
        raise Unsupported("the probabilities of a support vector machine are iterated, with a stop of libsvm's own")
    first_wins = graph.as_float64(graph.op("Greater", scores, graph.constant(0.0)))
    votes = _votes(context, first_wins, pairs, len(classes))
    if len(classes) == 2:
        return Outputs(
            label=graph.argmax(votes),
            decision=graph.flatten(graph.op("Neg", scores)),
            classes=classes,
        )
    if estimator.decision_function_shape != "ovr":
        return Outputs(label=graph.argmax(votes), decision=scores, classes=classes)
    decision = _one_against_rest(context, scores, pairs, len(classes))
    return Outputs(label=graph.argmax(decision if estimator.break_ties else votes), decision=decision, classes=classes)


def _pairs(count: int) -> list[tuple[int, int]]:
    return [(first, second) for first in range(count) for second in range(first + 1, count)]


def _pairwise_coefficients(estimator: Any, pairs: list[tuple[int, int]]) -> Array:
    """Return (support vectors, pairs) from libsvm's layout: a vector has a row for each rival of its class."""
    ends = np.cumsum(estimator._n_support)
    starts = ends - estimator._n_support
    dual = estimator._dual_coef_
    table = np.zeros((dual.shape[1], len(pairs)))
    for position, (first, second) in enumerate(pairs):
        of_first, of_second = slice(starts[first], ends[first]), slice(starts[second], ends[second])
        table[of_first, position] = dual[second - 1, of_first]
        table[of_second, position] = dual[first, of_second]
    return table


def _votes(context: Context, first_wins: str, pairs: list[tuple[int, int]], count: int) -> str:
    """Return (rows, classes): how many of its pairs each class won."""
    graph = context.graph
    signs, base = np.zeros((len(pairs), count)), np.zeros(count)
    for position, (first, second) in enumerate(pairs):
        signs[position, first], signs[position, second] = 1.0, -1.0
        base[second] += 1.0
    return graph.add(graph.matmul(first_wins, graph.constant(signs)), graph.constant(base))


def _one_against_rest(context: Context, scores: str, pairs: list[tuple[int, int]], count: int) -> str:
    """Return scikit-learn's decision per class: votes, with the confidences squeezed below half a vote."""
    graph = context.graph
    signs = np.zeros((len(pairs), count))
    for position, (first, second) in enumerate(pairs):
        signs[position, first], signs[position, second] = 1.0, -1.0
    # A score of zero counts for the first class here, and for the second in libsvm's own vote.
    lost = graph.as_float64(graph.op("Less", scores, graph.constant(0.0)))
    votes = _votes(context, graph.subtract(graph.constant(1.0), lost), pairs, count)
    confidence = graph.matmul(scores, graph.constant(signs))
    bound = graph.multiply(graph.add(graph.op("Abs", confidence), graph.constant(1.0)), graph.constant(3.0))
    return graph.add(votes, graph.divide(confidence, bound))


def _bayes(context: Context, estimator: Any, joint: str) -> Outputs:
    graph = context.graph
    return Outputs(
        label=graph.argmax(joint),
        probabilities=softmax(graph, joint),
        classes=classes_of(estimator),
    )


@predicts("GaussianNB")
def _gaussian(context: Context, estimator: Any, value: Value) -> Outputs:
    graph, tensor = context.graph, context.tensor(value)
    context.needs(24 * estimator.theta_.size)
    apart = graph.op("Unsqueeze", tensor.name, graph.constant([1], np.int64))
    difference = graph.subtract(apart, graph.constant(estimator.theta_))
    scaled = graph.divide(graph.multiply(difference, difference), graph.constant(estimator.var_))
    spread = graph.multiply(graph.total(scaled, 2, keep=False), graph.constant(0.5))
    constant = -0.5 * np.sum(np.log(2.0 * math.pi * estimator.var_), axis=1)
    likelihood = graph.subtract(graph.constant(constant), spread)
    return _bayes(context, estimator, graph.add(likelihood, graph.constant(np.log(estimator.class_prior_))))


@predicts("MultinomialNB", "ComplementNB")
def _counting(context: Context, estimator: Any, value: Value) -> Outputs:
    graph, tensor = context.graph, context.tensor(value)
    joint = graph.matmul(tensor.name, graph.constant(estimator.feature_log_prob_.T))
    if type(estimator).__name__ == "MultinomialNB" or len(estimator.classes_) == 1:
        joint = graph.add(joint, graph.constant(estimator.class_log_prior_))
    return _bayes(context, estimator, joint)


@predicts("BernoulliNB")
def _bernoulli(context: Context, estimator: Any, value: Value) -> Outputs:
    graph, tensor = context.graph, context.tensor(value)
    name = tensor.name
    if estimator.binarize is not None:
        name = graph.as_float64(graph.op("Greater", name, graph.constant(float(estimator.binarize))))
    absent = np.log(1 - np.exp(estimator.feature_log_prob_))
    joint = graph.matmul(name, graph.constant((estimator.feature_log_prob_ - absent).T))
    return _bayes(context, estimator, graph.add(joint, graph.constant(estimator.class_log_prior_ + absent.sum(axis=1))))
