"""Converters of naive Bayes classifiers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from models_registry.compilation.context import Context, Outputs, Value, predicts
from models_registry.compilation.converters.outputs import classes_of, softmax


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
    graph = context.graph
    joint = context.product(value, estimator.feature_log_prob_.T)
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
