"""Converters of support vector machines."""

from __future__ import annotations

from typing import Any

import numpy as np

from models_registry.compilation.context import Context, Outputs, Unsupported, Value, predicts
from models_registry.compilation.converters.neighbors import squared_distances
from models_registry.compilation.converters.outputs import above, as_prediction, classes_of
from models_registry.compilation.graph import Array


def _kernel(context: Context, estimator: Any, value: Value) -> str:
    """Return the kernel's values, shape (rows, support vectors)."""
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
    # An outlier is -1, and so is a row on the boundary.
    return Outputs(label=above(graph, scores), decision=graph.flatten(scores), classes=np.array([-1, 1]))


@predicts("SVC", "NuSVC")
def _support_classifier(context: Context, estimator: Any, value: Value) -> Outputs:
    graph, classes = context.graph, classes_of(estimator)
    pairs = _pairs(len(classes))
    coefficients = _pairwise_coefficients(estimator, pairs)
    scores = graph.matmul(_kernel(context, estimator, value), graph.constant(coefficients))
    scores = graph.add(scores, graph.constant(estimator._intercept_))
    if estimator.probability is True:
        raise Unsupported(
            "libsvm computes the probabilities of a support vector machine by an iteration, which has no compiled form"
        )
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
    """Return coefficients, shape (support vectors, pairs), from libsvm's layout: a row for each other class."""
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
    """Return the number of pairs that each class won, shape (rows, classes)."""
    graph = context.graph
    signs, base = np.zeros((len(pairs), count)), np.zeros(count)
    for position, (first, second) in enumerate(pairs):
        signs[position, first], signs[position, second] = 1.0, -1.0
        base[second] += 1.0
    return graph.add(graph.matmul(first_wins, graph.constant(signs)), graph.constant(base))


def _one_against_rest(context: Context, scores: str, pairs: list[tuple[int, int]], count: int) -> str:
    """Return the decision per class: votes, plus confidences scaled below half a vote.

    sklearn/utils/multiclass.py, `_ovr_decision_function`.
    """
    graph = context.graph
    signs = np.zeros((len(pairs), count))
    for position, (first, second) in enumerate(pairs):
        signs[position, first], signs[position, second] = 1.0, -1.0
    # A score of zero counts for the first class here, but for the second in libsvm's own vote.
    lost = graph.as_float64(graph.op("Less", scores, graph.constant(0.0)))
    votes = _votes(context, graph.subtract(graph.constant(1.0), lost), pairs, count)
    confidence = graph.matmul(scores, graph.constant(signs))
    bound = graph.multiply(graph.add(graph.op("Abs", confidence), graph.constant(1.0)), graph.constant(3.0))
    return graph.add(votes, graph.divide(confidence, bound))
