"""Finds the fitted estimators in a meta-estimator that get its input, and their requirements for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# The attribute with the fitted estimator, or estimators, to which a scikit-learn wrapper passes its input.
ONE = {
    "FrozenEstimator": "estimator",
    "TransformedTargetRegressor": "regressor_",
    "FixedThresholdClassifier": "estimator_",
    "TunedThresholdClassifierCV": "estimator_",
    "SelfTrainingClassifier": "estimator_",
    "RANSACRegressor": "estimator_",
    "LabelDecoder": "estimator_",
}
MANY = frozenset(
    {
        "VotingClassifier",
        "VotingRegressor",
        "StackingClassifier",
        "StackingRegressor",
        "OneVsRestClassifier",
        "OneVsOneClassifier",
        "OutputCodeClassifier",
        "MultiOutputClassifier",
        "MultiOutputRegressor",
    }
)
# Their later members also get the predictions of earlier members.
CHAINS = frozenset({"ClassifierChain", "RegressorChain"})
# A wrapper's members differ only in their categories, and an array of them may be long.
MAX_MEMBERS = 64


def inner_estimators(estimator: Any) -> list[Any]:
    """Return the fitted estimators to which `estimator` passes its input unchanged; empty if it is no such wrapper."""
    kind = type(estimator).__name__
    best = getattr(estimator, "best_estimator_", None)
    if best is not None:
        return [best]
    if kind == "RowTransformer":
        return [estimator.transformer_]
    if kind in ONE:
        return _fitted([getattr(estimator, ONE[kind], None)])
    if kind == "CalibratedClassifierCV":
        return _fitted([member.estimator for member in getattr(estimator, "calibrated_classifiers_", ())])
    members = getattr(estimator, "estimators_", None)
    if kind in MANY or kind in CHAINS:
        members = list(members) if members is not None else []
        return _fitted(members[:1] if kind in CHAINS else members)
    return []


def _fitted(members: list[Any]) -> list[Any]:
    # One-vs-rest uses a constant for a class that is in every row or in none.
    return [
        member
        for member in members[:MAX_MEMBERS]
        if callable(getattr(member, "predict", None)) and type(member).__name__ != "_ConstantPredictor"
    ]


def column_subsets(estimator: Any) -> list[tuple[Any, list[int]]]:
    """Return the estimators inside that get some of the columns, each with the column positions."""
    kind = type(estimator).__name__
    if kind.startswith("Bagging"):
        pairs = zip(estimator.estimators_[:MAX_MEMBERS], estimator.estimators_features_, strict=False)
        return [(member, [int(index) for index in columns]) for member, columns in pairs]
    if kind in {"RFE", "RFECV"}:
        return [(estimator.estimator_, [int(index) for index in estimator.support_.nonzero()[0]])]
    return []


def steps_of(estimator: Any) -> list[Any] | None:
    """Return a pipeline's steps without those that pass everything on; None for other estimators."""
    steps = getattr(estimator, "steps", None)
    if not isinstance(steps, list) or not steps:
        return None
    return [step for _, step in steps if not is_identity(step)]


def is_identity(step: Any) -> bool:
    """Return whether a step passes everything on unchanged, in any form that fitted estimators store."""
    if type(step).__name__ == "FunctionTransformer":
        return step.func is None
    return step is None or (isinstance(step, str) and step == "passthrough")


def entries(estimator: Any) -> Iterator[Any]:
    """Yield the steps that get the input first: inside pipelines, unions and meta-estimators."""
    steps = steps_of(estimator)
    if steps:
        yield from entries(steps[0])
        return
    inside = inner_estimators(estimator)
    if type(estimator).__name__ == "FeatureUnion":
        inside = [part for _, part in estimator.transformer_list if not isinstance(part, str)]
    if not inside:
        yield estimator
    for member in inside:
        yield from entries(member)


def told(estimator: Any, attribute: str) -> Any:
    """Return `attribute` of `estimator`, or of the first estimator inside that gets its input."""
    value = getattr(estimator, attribute, None)
    if value is not None:
        return value
    steps = steps_of(estimator)
    for member in steps[:1] if steps else inner_estimators(estimator):
        value = told(member, attribute)
        if value is not None:
            return value
    return None
