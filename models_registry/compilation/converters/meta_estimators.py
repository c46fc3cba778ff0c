"""Converters of predictors that combine other predictors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from models_registry.compilation.context import (
    Context,
    Outputs,
    Tensor,
    Unsupported,
    Value,
    predict,
    predicts,
)
from models_registry.compilation.converters.columns import through_steps
from models_registry.compilation.converters.outputs import above, by_highest, classes_of, normalized, sigmoid
from models_registry.compilation.graph import Graph


@predicts("Pipeline")
def _pipeline(context: Context, pipeline: Any, value: Value) -> Outputs:
    return predict(context, pipeline.steps[-1][1], through_steps(context, pipeline.steps[:-1], value))


@predicts("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")
def _search(context: Context, search: Any, value: Value) -> Outputs:
    return predict(context, search.best_estimator_, value)


@predicts("TransformedTargetRegressor")
def _transformed_target(context: Context, regressor: Any, value: Value) -> Outputs:
    inverse = getattr(regressor.transformer_, "inverse_func", None)
    outputs = predict(context, regressor.regressor_, value)
    graph = context.graph
    name = _number(outputs, regressor)
    if type(regressor.transformer_).__name__ == "StandardScaler":
        scaler = regressor.transformer_
        if scaler.with_std:
            name = graph.multiply(name, graph.constant(scaler.scale_))
        if scaler.with_mean:
            name = graph.add(name, graph.constant(scaler.mean_))
        return Outputs(prediction=name)
    if inverse is np.exp:
        return Outputs(prediction=graph.op("Exp", name))
    if inverse is np.expm1:
        return Outputs(prediction=graph.subtract(graph.op("Exp", name), graph.constant(1.0)))
    raise Unsupported("a target that a function of your own transforms back has no compiled form")


@predicts("MultiOutputRegressor")
def _several_outputs(context: Context, regressor: Any, value: Value) -> Outputs:
    graph = context.graph
    columns = [graph.column(_number(predict(context, member, value), regressor)) for member in regressor.estimators_]
    return Outputs(prediction=graph.concat(columns))


@predicts("VotingRegressor")
def _voting_regressor(context: Context, voting: Any, value: Value) -> Outputs:
    graph = context.graph
    columns = [graph.column(_number(predict(context, member, value), voting)) for member in voting.estimators_]
    weights = _weights(voting, len(columns))
    weighted = graph.multiply(graph.concat(columns), graph.constant(weights))
    mean = graph.divide(graph.total(weighted, 1, keep=False), graph.constant(weights.sum()))
    return Outputs(prediction=mean)


@predicts("VotingClassifier")
def _voting_classifier(context: Context, voting: Any, value: Value) -> Outputs:
    graph, classes = context.graph, classes_of(voting)
    members = [predict(context, member, value) for member in voting.estimators_]
    weights = _weights(voting, len(members))
    if voting.voting == "soft":
        total = None
        for member, weight in zip(members, weights, strict=True):
            part = graph.multiply(_probabilities(member, voting), graph.constant(float(weight)))
            total = part if total is None else graph.add(total, part)
        return by_highest(context, graph.divide(str(total), graph.constant(weights.sum())), classes)
    eye = graph.constant(np.eye(len(classes)))
    total = None
    for member, weight in zip(members, weights, strict=True):
        votes = graph.multiply(graph.op("Gather", eye, _label(member, voting), axis=0), graph.constant(float(weight)))
        total = votes if total is None else graph.add(total, votes)
    return Outputs(label=graph.argmax(str(total)), classes=classes)


def _weights(voting: Any, count: int) -> Any:
    weights = voting._weights_not_none
    return np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)


@predicts("StackingClassifier", "StackingRegressor")
def _stacking(context: Context, stacking: Any, value: Value) -> Outputs:
    graph = context.graph
    encoder = getattr(stacking, "_label_encoder", None)
    if isinstance(encoder, list):
        raise Unsupported("stacking with several labels at once has no compiled form")
    parts: list[Tensor] = []
    for member, method in zip(stacking.estimators_, stacking.stack_method_, strict=True):
        parts.append(_stacked(graph, predict(context, member, value), method, stacking))
    if stacking.passthrough:
        parts.append(context.tensor(value))
    beside = Tensor(graph.concat([part.name for part in parts]), sum(part.width for part in parts))
    outputs = predict(context, stacking.final_estimator_, beside)
    if encoder is None:
        return outputs
    # The final estimator was trained on label positions, which are its own classes.
    positions = np.asarray(stacking.final_estimator_.classes_, dtype=np.int64)
    return replace(outputs, classes=np.asarray(encoder.classes_)[positions])


def _stacked(graph: Graph, outputs: Outputs, method: str, stacking: Any) -> Tensor:
    if method == "predict_proba":
        width = len(_classes(outputs, stacking))
        name = _probabilities(outputs, stacking)
        return Tensor(graph.take(name, [1]), 1) if width == 2 else Tensor(name, width)
    if method == "decision_function":
        width = len(_classes(outputs, stacking))
        if outputs.decision is None:
            raise Unsupported("stacking over a decision that is not compiled has no compiled form")
        return Tensor(graph.column(outputs.decision), 1) if width == 2 else Tensor(outputs.decision, width)
    if outputs.classes is not None:
        known = graph.constant(np.asarray(outputs.classes, dtype=np.float64))
        return Tensor(graph.column(graph.op("Gather", known, _label(outputs, stacking))), 1)
    return Tensor(graph.column(_number(outputs, stacking)), 1)


@predicts("OneVsRestClassifier")
def _one_against_rest(context: Context, estimator: Any, value: Value) -> Outputs:
    graph, classes = context.graph, classes_of(estimator)
    if estimator.label_binarizer_.y_type_ != "multiclass":
        raise Unsupported("OneVsRestClassifier for two classes or several labels has no compiled form")
    members = [predict(context, member, value) for member in estimator.estimators_]
    has_probabilities = all(member.probabilities is not None for member in members)
    positive = [graph.take(str(member.probabilities), [1]) for member in members] if has_probabilities else []
    if all(member.decision is not None for member in members):
        decision = graph.concat([graph.column(str(member.decision)) for member in members])
    elif has_probabilities:
        decision = graph.concat(positive)
    else:
        raise Unsupported("OneVsRestClassifier over classifiers without scores has no compiled form")
    native = hasattr(estimator, "decision_function")
    return Outputs(
        label=graph.argmax(decision),
        probabilities=_divided_by_sum(graph, graph.concat(positive)) if has_probabilities else None,
        decision=decision if native else None,
        classes=classes,
    )


def _divided_by_sum(graph: Graph, name: str) -> str:
    """Return rows normalized to the sum 1; a row of zeros is unchanged."""
    total = graph.total(name, 1, keep=True)
    is_zero = graph.op("Equal", total, graph.constant(0.0))
    return graph.divide(name, graph.where(is_zero, graph.constant(1.0), total))


@predicts("CalibratedClassifierCV")
def _calibrated(context: Context, estimator: Any, value: Value) -> Outputs:
    graph, classes = context.graph, classes_of(estimator)
    total = None
    for member in estimator.calibrated_classifiers_:
        part = _one_calibrated(context, member, value, len(classes))
        total = part if total is None else graph.add(total, part)
    count = graph.constant(float(len(estimator.calibrated_classifiers_)))
    return by_highest(context, graph.divide(str(total), count), classes)


def _one_calibrated(context: Context, member: Any, value: Value, count: int) -> str:
    """Return one fold's probabilities."""
    if member.method not in {"sigmoid", "isotonic"}:
        raise Unsupported(f"calibration by {member.method!r} has no compiled form here")
    graph = context.graph
    outputs = predict(context, member.estimator, value)
    if len(member.estimator.classes_) != count:
        raise Unsupported("a calibrated fold that did not see every class has no compiled form")
    if outputs.decision is not None:
        scores = graph.column(outputs.decision) if count == 2 else outputs.decision
    else:
        probabilities = _probabilities(outputs, member)
        scores = graph.take(probabilities, [1]) if count == 2 else probabilities
    if member.method == "sigmoid":
        slope = graph.constant([calibrator.a_ for calibrator in member.calibrators])
        offset = graph.constant([calibrator.b_ for calibrator in member.calibrators])
        fitted = sigmoid(graph, graph.op("Neg", graph.add(graph.multiply(scores, slope), offset)))
    else:
        fitted = graph.concat(
            [
                _interpolated(graph, scores if count == 2 else graph.take(scores, [position]), calibrator)
                for position, calibrator in enumerate(member.calibrators)
            ]
        )
    if count == 2:
        return graph.concat([graph.subtract(graph.constant([[1.0]]), fitted), fitted])
    return normalized(graph, fitted)


def _interpolated(graph: Graph, column: str, calibrator: Any) -> str:
    """Return linear interpolation between an isotonic regression's thresholds, constant outside of them."""
    known = np.asarray(calibrator.X_thresholds_, dtype=np.float64)
    values = np.asarray(calibrator.y_thresholds_, dtype=np.float64)
    if len(known) == 1:
        known, values = np.array([known[0], known[0] + 1.0]), np.repeat(values, 2)
    within = graph.op("Clip", column, graph.constant(float(known[0])), graph.constant(float(known[-1])))
    passed = graph.as_int64(graph.op("Greater", within, graph.constant(known[1:-1])))
    place = graph.op("ReduceSum", passed, graph.constant([1], np.int64), keepdims=1)
    if len(known) == 2:
        place = graph.as_int64(graph.multiply(within, graph.constant(0.0)))
    slopes = np.diff(values) / np.diff(known)
    away = graph.subtract(within, graph.op("Gather", graph.constant(known[:-1]), place))
    risen = graph.multiply(graph.op("Gather", graph.constant(slopes), place), away)
    return graph.add(risen, graph.op("Gather", graph.constant(values[:-1]), place))


@predicts("FixedThresholdClassifier")
def _threshold(context: Context, estimator: Any, value: Value) -> Outputs:
    if estimator.pos_label is not None or estimator.threshold == "auto":
        raise Unsupported("a threshold for a named class has no compiled form here")
    outputs, classes = predict(context, estimator.estimator_, value), classes_of(estimator)
    if estimator.response_method != "predict_proba" or len(classes) != 2:
        raise Unsupported("a threshold on scores has no compiled form here")
    positive = context.graph.take(_probabilities(outputs, estimator), [1])
    return replace(outputs, label=above(context.graph, positive, float(estimator.threshold), inclusive=True))


@predicts("LabelDecoder")
def _decoded_labels(context: Context, decoder: Any, value: Value) -> Outputs:
    outputs = predict(context, decoder.estimator_, value)
    _label(outputs, decoder)
    return replace(outputs, classes=classes_of(decoder))


def _number(outputs: Outputs, estimator: Any) -> str:
    if outputs.prediction is None:
        raise Unsupported(f"{type(estimator).__name__} over a classifier has no compiled form here")
    return outputs.prediction


def _probabilities(outputs: Outputs, estimator: Any) -> str:
    if outputs.probabilities is None:
        raise Unsupported(f"{type(estimator).__name__} over a classifier without probabilities has no compiled form")
    return outputs.probabilities


def _label(outputs: Outputs, estimator: Any) -> str:
    if outputs.label is None:
        raise Unsupported(f"{type(estimator).__name__} over a regressor has no compiled form here")
    return outputs.label


def _classes(outputs: Outputs, estimator: Any) -> Any:
    if outputs.classes is None:
        raise Unsupported(f"{type(estimator).__name__} over a regressor has no compiled form here")
    return outputs.classes
