"""Converters of nearest neighbours and nearest centroids."""

from __future__ import annotations

from typing import Any

import numpy as np

from models_registry.compilation.context import Context, Outputs, Tensor, Unsupported, Value, predicts
from models_registry.compilation.converters.outputs import classes_of, softmax
from models_registry.compilation.graph import Array, Graph

# Number of extra neighbours that are compared by exact distances.
MORE_CANDIDATES = 16


def squared_distances(context: Context, tensor: Tensor, points: Array) -> str:
    """Return squared Euclidean distances, shape (rows, points)."""
    context.measured_distances = True
    return (
        _by_products(context, tensor, points)
        if context.distances_by_products
        else _by_differences(context, tensor, points)
    )


def _by_products(context: Context, tensor: Tensor, points: Array) -> str:
    """|x|² - 2xy + |y|²: one matrix product; it loses digits far from the origin."""
    graph = context.graph
    context.needs(32 * len(points))
    own = graph.op("ReduceSumSquare", tensor.name, graph.constant([1], np.int64), keepdims=1)
    product = graph.matmul(tensor.name, graph.constant(-2.0 * points.T))
    sums = graph.add(graph.add(product, graph.constant((points * points).sum(axis=1))), own)
    return graph.op("Max", sums, graph.constant(0.0))


def _by_differences(context: Context, tensor: Tensor, points: Array) -> str:
    """The sum of squared differences; exact for all rows."""
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
    """Return distances with the order of the metric, and whether they are squared."""
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
    """Return the positions of the nearest points, (rows, k), and their weights if not uniform."""
    if estimator.weights not in ("uniform", "distance", None):
        raise Unsupported("neighbours weighted by a function of your own have no compiled form")
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
    """Return the nearest points by exact distance, among some extra candidates by the fast distance."""
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
        raise Unsupported("nearest centroids with another metric or with priors have no compiled form here")
    graph, tensor, classes = context.graph, context.tensor(value), classes_of(estimator)
    distances = squared_distances(context, tensor, np.asarray(estimator.centroids_))
    label = graph.op("ArgMin", distances, axis=1, keepdims=0)
    # With its own centroids and deviations, scikit-learn returns scores as probabilities.
    spread = np.asarray(estimator.within_class_std_dev_)
    is_spread = spread != 0
    scale = np.where(is_spread, spread, 1.0)
    shrunken = np.where(is_spread, estimator.centroids_ / scale, estimator.centroids_)
    scaled = Tensor(graph.divide(tensor.name, graph.constant(scale)), tensor.width)
    away = squared_distances(context, scaled, shrunken)
    scores = graph.subtract(graph.constant(2.0 * np.log(estimator.class_prior_)), away)
    return Outputs(label=label, probabilities=softmax(graph, scores), classes=classes)
