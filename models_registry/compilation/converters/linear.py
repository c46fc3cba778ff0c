"""Converters of linear models, discriminant analysis, neural networks, and dummy estimators."""

from __future__ import annotations

from typing import Any

import numpy as np

from models_registry.compilation.context import Context, Outputs, Unsupported, Value, predicts
from models_registry.compilation.converters.outputs import (
    above,
    as_prediction,
    by_highest,
    classes_of,
    complement,
    normalized,
    sigmoid,
    softmax,
)
from models_registry.compilation.graph import INPUT, Graph

REGRESSORS = (
    "LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "LassoLars", "LassoLarsCV", "LassoLarsIC",
    "ElasticNet", "ElasticNetCV", "MultiTaskLasso", "MultiTaskLassoCV", "MultiTaskElasticNet",
    "MultiTaskElasticNetCV", "Lars", "LarsCV", "OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV",
    "BayesianRidge", "ARDRegression", "SGDRegressor", "PassiveAggressiveRegressor", "HuberRegressor",
    "TheilSenRegressor", "QuantileRegressor", "LinearSVR",
)  # fmt: skip
LINKED_REGRESSORS = ("PoissonRegressor", "GammaRegressor", "TweedieRegressor")


def affine(context: Context, value: Value, coefficients: Any, intercept: Any) -> str:
    """Return x · coefficientsᵀ + intercept, shape (rows, outputs)."""
    graph = context.graph
    product = context.product(value, np.atleast_2d(np.asarray(coefficients)).T)
    return graph.add(product, graph.constant(np.atleast_1d(np.asarray(intercept, dtype=np.float64)).ravel()))


@predicts(*REGRESSORS)
def _linear_regressor(context: Context, estimator: Any, value: Value) -> Outputs:
    dimensions = np.ndim(estimator.coef_)
    scores = affine(context, value, estimator.coef_, estimator.intercept_)
    # A single target that was fitted as a matrix is predicted as a matrix.
    return Outputs(prediction=context.graph.flatten(scores) if dimensions == 1 else scores)


@predicts(*LINKED_REGRESSORS)
def _linked_regressor(context: Context, estimator: Any, value: Value) -> Outputs:
    scores = affine(context, value, estimator.coef_, estimator.intercept_)
    if type(estimator._base_loss.link).__name__ == "LogLink":
        scores = context.graph.op("Exp", scores)
    return as_prediction(context, scores, 1)


@predicts("RANSACRegressor")
def _ransac(context: Context, estimator: Any, value: Value) -> Outputs:
    from models_registry.compilation.context import predict

    return predict(context, estimator.estimator_, value)


def linear_outputs(context: Context, scores: str, width: int, estimator: Any) -> Outputs:
    """Return label and decision for scores with one column (binary) or one per class."""
    graph, classes = context.graph, classes_of(estimator)
    if width == 1:
        return Outputs(label=above(graph, scores), decision=graph.flatten(scores), classes=classes)
    return Outputs(label=graph.argmax(scores), decision=scores, classes=classes)


def _scores(context: Context, estimator: Any, value: Value) -> tuple[str, int]:
    return (
        affine(context, value, estimator.coef_, estimator.intercept_),
        np.atleast_2d(estimator.coef_).shape[0],
    )


@predicts("LinearSVC", "Perceptron", "PassiveAggressiveClassifier", "RidgeClassifier", "RidgeClassifierCV")
def _margin_classifier(context: Context, estimator: Any, value: Value) -> Outputs:
    binarizer = getattr(estimator, "_label_binarizer", None)
    if binarizer is not None and binarizer.y_type_.startswith("multilabel"):
        raise Unsupported("several labels at once have no compiled form here")
    return linear_outputs(context, *_scores(context, estimator, value), estimator)


@predicts("LogisticRegression", "LogisticRegressionCV", "LinearDiscriminantAnalysis")
def _logistic(context: Context, estimator: Any, value: Value) -> Outputs:
    scores, width = _scores(context, estimator, value)
    graph = context.graph
    if type(estimator).__name__ == "LinearDiscriminantAnalysis" and width == 1:
        outputs = linear_outputs(context, scores, width, estimator)
        return _with(outputs, complement(graph, sigmoid(graph, scores)))
    outputs = linear_outputs(context, scores, width, estimator)
    if width == 1:
        return _with(outputs, complement(graph, sigmoid(graph, scores)))
    return _with(outputs, softmax(graph, scores))


@predicts("SGDClassifier")
def _stochastic_gradient(context: Context, estimator: Any, value: Value) -> Outputs:
    scores, width = _scores(context, estimator, value)
    graph = context.graph
    outputs = linear_outputs(context, scores, width, estimator)
    if estimator.loss == "log_loss":
        positive = sigmoid(graph, scores)
    elif estimator.loss == "modified_huber":
        clipped = graph.op("Clip", scores, graph.constant(-1.0), graph.constant(1.0))
        positive = graph.divide(graph.add(clipped, graph.constant(1.0)), graph.constant(2.0))
    else:
        return outputs
    if width == 1:
        return _with(outputs, complement(graph, positive))
    return _with(outputs, normalized(graph, positive))


def _with(outputs: Outputs, probabilities: str) -> Outputs:
    return Outputs(label=outputs.label, probabilities=probabilities, decision=outputs.decision, classes=outputs.classes)


@predicts("QuadraticDiscriminantAnalysis")
def _quadratic(context: Context, estimator: Any, value: Value) -> Outputs:
    graph, tensor = context.graph, context.tensor(value)
    norms = []
    for mean, rotation, scaling in zip(estimator.means_, estimator.rotations_, estimator.scalings_, strict=True):
        centred = graph.subtract(tensor.name, graph.constant(mean))
        turned = graph.matmul(centred, graph.constant(rotation * scaling ** (-0.5)))
        norms.append(graph.total(graph.multiply(turned, turned), 1, keep=True))
    logs = np.asarray([np.sum(np.log(scaling)) for scaling in estimator.scalings_])
    shifted = graph.add(graph.concat(norms), graph.constant(logs))
    scores = graph.add(graph.multiply(shifted, graph.constant(-0.5)), graph.constant(np.log(estimator.priors_)))
    binary = len(estimator.classes_) == 2
    margin = graph.subtract(graph.take(scores, [1]), graph.take(scores, [0])) if binary else scores
    return Outputs(
        label=graph.argmax(scores),
        probabilities=softmax(graph, scores),
        decision=graph.flatten(margin) if binary else margin,
        classes=classes_of(estimator),
    )


@predicts("MLPClassifier", "MLPRegressor")
def _perceptron(context: Context, estimator: Any, value: Value) -> Outputs:
    graph, tensor = context.graph, context.tensor(value)
    name = tensor.name
    last = len(estimator.coefs_) - 1
    for position, (weights, bias) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        name = graph.add(graph.matmul(name, graph.constant(weights)), graph.constant(bias))
        name = _activated(graph, name, estimator.activation if position != last else estimator.out_activation_)
    context.needs(8 * max(len(bias) for bias in estimator.intercepts_) * 3)
    if not hasattr(estimator, "classes_"):
        return as_prediction(context, name, estimator.n_outputs_)
    if estimator._label_binarizer.y_type_.startswith("multilabel"):
        raise Unsupported("several labels at once have no compiled form here")
    classes = classes_of(estimator)
    if estimator.n_outputs_ > 1:
        return by_highest(context, name, classes)
    return Outputs(label=above(graph, name, 0.5), probabilities=complement(graph, name), classes=classes)


def _activated(graph: Graph, name: str, activation: str) -> str:
    if activation == "relu":
        return graph.op("Max", name, graph.constant(0.0))
    if activation == "tanh":
        return graph.op("Tanh", name)
    if activation == "logistic":
        return sigmoid(graph, name)
    if activation == "softmax":
        return softmax(graph, name)
    if activation == "identity":
        return name
    raise Unsupported(f"the activation {activation!r} has no compiled form here")


@predicts("DummyRegressor", "DummyClassifier")
def _constant(context: Context, estimator: Any, value: Value) -> Outputs:
    graph = context.graph
    if estimator.n_outputs_ != 1:
        raise Unsupported("constants of several outputs have no compiled form here")
    # Only the number of rows is used.
    rows = graph.op("Slice", graph.op("Shape", INPUT), *(graph.constant([at], np.int64) for at in (0, 1)))
    if not hasattr(estimator, "classes_"):
        amount = graph.constant(np.asarray(estimator.constant_, dtype=np.float64).ravel())
        return Outputs(prediction=graph.op("Expand", amount, rows))
    if estimator.strategy not in {"prior", "most_frequent", "constant"}:
        raise Unsupported("random guesses have no compiled form")
    classes = classes_of(estimator)
    place = int(np.asarray(estimator.class_prior_).argmax())
    if estimator.strategy == "constant":
        place = int(np.flatnonzero(classes == np.asarray(estimator.constant).ravel()[0])[0])
    chances = estimator.class_prior_ if estimator.strategy == "prior" else np.eye(len(classes))[place]
    shape = graph.op("Concat", rows, graph.constant([len(classes)], np.int64), axis=0)
    return Outputs(
        label=graph.op("Expand", graph.constant([place], np.int64), rows),
        probabilities=graph.op("Expand", graph.constant([chances]), shape),
        classes=classes,
    )
