"""Derives a schema from a fitted estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from models_registry.artifacts.boosters import lightgbm_estimators
from models_registry.artifacts.consumers import TEXT, describe, input_tags, is_own_code, takes_text
from models_registry.artifacts.features import EXACT_INTEGER, DeclaredInput, Feature
from models_registry.artifacts.formats.onnx_format import OnnxPredictor
from models_registry.artifacts.outputs import as_array
from models_registry.artifacts.prediction import offers
from models_registry.artifacts.schema import NATIVE_METHODS, TRANSFORMER, Schema
from models_registry.artifacts.suggestions import closest, shown
from models_registry.artifacts.wrappers import entries, told
from models_registry.errors import NoPrediction

METHODS = ("predict", "predict_proba", "decision_function", *NATIVE_METHODS)


def infer_schema(
    estimator: Any,
    declared: Sequence[DeclaredInput | Feature] | None = None,
    instances: Sequence[Any] | None = None,
) -> Schema:
    """Return the schema of a fitted `estimator`.

    `declared` are the manifest's inputs, all or some of them; `instances` are its sample rows: they add the facts
    that the estimator does not have. Raises NoPrediction if the estimator has no `predict`, has an unknown number of
    inputs, or contradicts the declared inputs.
    """
    if not callable(getattr(estimator, "predict", None)):
        raise NoPrediction(
            f"A {type(estimator).__name__} has no 'predict'; expected a fitted estimator or pipeline that "
            "predicts. Publish the whole pipeline, with its last step."
        )
    if any(map(_takes_records, entries(estimator))):
        return _with_outputs(estimator, Schema((), container="records", named=True))
    names, named = _names(estimator, declared, instances)
    features = _features(estimator, names)
    if declared is not None:
        features = _declared(features, declared, names=names, named=named)
    settled = {item.name for item in declared or () if item.type not in {None, "any"}}
    if isinstance(estimator, OnnxPredictor):
        features = estimator.settle(tuple(features))
        settled = {item.name for item in features if item.type != "any"}
    features = tuple(
        item if item.name in settled else _from_instances(item, index, instances) for index, item in enumerate(features)
    )
    container = _container(estimator, features)
    if container == "array":
        features = tuple(replace(item, type="float") if item.type == "any" else item for item in features)
    return _with_outputs(estimator, Schema(features, container=container, named=named or declared is not None))


def named_inputs(names: Sequence[str], declared: Sequence[DeclaredInput]) -> tuple[DeclaredInput, ...]:
    """Return the inputs `names` of an estimator without input information, with the manifest's declarations."""
    by_name = {item.name: item for item in declared}
    if not by_name.keys() <= set(names):
        return tuple(declared)  # other names are refused when compared with the estimator, or rename all inputs
    return tuple(by_name.get(name, DeclaredInput(name)) for name in names)


def _with_outputs(estimator: Any, schema: Schema) -> Schema:
    classes = _plain_classes(getattr(estimator, "classes_", None))
    return replace(
        schema,
        kind=_kind(estimator, classes),
        classes=classes,
        outputs=len(classes) if classes and isinstance(classes[0], tuple) else _output_count(estimator),
        methods=tuple(name for name in METHODS if offers(estimator, name)),
    )


def _output_count(estimator: Any) -> int:
    """Return the number of outputs if the estimator stores it, else 1; the load test corrects it."""
    count = getattr(estimator, "n_outputs_", 1)
    return count if isinstance(count, int) else 1


def _kind(estimator: Any, classes: Any) -> str:
    from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor

    from models_registry.artifacts.row_transformer import RowTransformer

    if isinstance(estimator, RowTransformer):
        return TRANSFORMER

    for test, kind in (
        (is_classifier, "classifier"),
        (is_regressor, "regressor"),
        (is_clusterer, "clusterer"),
        (is_outlier_detector, "outlier_detector"),
    ):
        try:
            if test(estimator):
                return kind
        except (AttributeError, TypeError):
            # An estimator of another library may lack scikit-learn's tags.
            break
    if isinstance(estimator, OnnxPredictor):
        return "regressor" if estimator.output_kind_ == "f" else "classifier"
    return "classifier" if classes else "regressor"


def _plain_classes(classes: Any) -> tuple[Any, ...] | None:
    """Return the labels as Python values, one tuple or one per output; NoPrediction for labels that JSON lacks."""
    if classes is None:
        return None
    if isinstance(classes, list) and classes and hasattr(classes[0], "tolist"):
        return tuple(tuple(as_array(item, "classes").tolist()) for item in classes)
    # A list keeps the types of its labels.
    values = classes if hasattr(classes, "tolist") else np.array(list(classes), dtype=object)
    return tuple(as_array(values, "classes").tolist())


def _takes_records(first: Any) -> bool:
    tags = input_tags(first)
    return type(first).__name__ == "DictVectorizer" or bool(
        tags is not None and getattr(tags, "dict", False) and getattr(first, "input_type", "dict") == "dict"
    )


def _names(
    estimator: Any, declared: Sequence[DeclaredInput | Feature] | None, instances: Sequence[Any] | None
) -> tuple[tuple[str, ...], bool]:
    """Return the inputs' names, and whether they were given."""
    given = told(estimator, "feature_names_in_")
    if given is not None:
        return _before_training(estimator, tuple(str(name) for name in given), declared, instances), True
    if takes_text(estimator):
        return (("text",) if declared is None else (declared[0].name,)), declared is not None
    count = told(estimator, "n_features_in_")
    first = instances[0] if instances else None
    if count is None and isinstance(first, dict) and {item.name for item in declared or ()} < first.keys():
        return tuple(first), True
    if count is None and declared is not None:
        count = len(declared)
    if count is None and instances:
        count = len(first) if isinstance(first, list | tuple) else 1
    if count is None:
        raise NoPrediction(
            f"The {type(estimator).__name__} does not state how many features it takes (no n_features_in_). If it was "
            "not fitted, fit it and publish that. If it was, give 'inputs' or a sample in the manifest, and publish "
            "again."
        )
    return tuple(f"x{index}" for index in range(count)), False


def _before_training(
    estimator: Any,
    names: tuple[str, ...],
    declared: Sequence[DeclaredInput | Feature] | None,
    instances: Sequence[Any] | None,
) -> tuple[str, ...]:
    """Return the names of the training table's columns, from the manifest or its sample.

    LightGBM replaces a space in a name by an underscore (`set_feature_names` in its include/LightGBM/dataset.h).
    """
    if not all(type(first).__module__ == lightgbm_estimators.__name__ for first in entries(estimator)):
        return names
    row = instances[0] if instances and isinstance(instances[0], dict) else {}
    kept = {name.replace(" ", "_"): name for name in [*(item.name for item in declared or ()), *row]}
    return tuple(kept.get(name, name) for name in names)


def _declared(
    features: Sequence[Feature], declared: Sequence[DeclaredInput | Feature], *, names: tuple[str, ...], named: bool
) -> tuple[Feature, ...]:
    """Return the features with the manifest's declarations; NoPrediction if it contradicts the estimator.

    Inputs are matched by name if the estimator has names or only some are declared; else by position.
    """
    given = [DeclaredInput.from_json(item.to_json()) for item in declared]
    if not named and len(given) == len(features):
        return tuple(item.apply(feature) for feature, item in zip(features, given, strict=True))
    unknown = [item.name for item in given if item.name not in names]
    if unknown and not named:
        raise NoPrediction(
            f"The manifest declares {len(given)} inputs, but the estimator takes {len(features)} and has no names for "
            f"them. Declare all of them in the estimator's order, or some as {shown(names)}, and publish again."
        )
    if unknown:
        guess = closest(unknown[0], names)
        hint = f"it was trained with {shown(names)}" if guess is None else f"did you mean {guess!r}?"
        raise NoPrediction(
            f"The manifest declares the input {unknown[0]!r}, which the estimator was not trained with; {hint}"
            f"{'.' if guess is None else ''} Correct the manifest's 'inputs' and publish again."
        )
    by_name = {item.name: item for item in given}
    return tuple(by_name[item.name].apply(item) if item.name in by_name else item for item in features)


def _features(estimator: Any, names: tuple[str, ...]) -> tuple[Feature, ...]:
    """Return one feature per name, with the types that the consuming steps require."""
    if isinstance(estimator, OnnxPredictor):
        return estimator.features(names)
    described = [TEXT] if takes_text(estimator) else describe(estimator, len(names))
    return tuple(replace(item, name=name) for item, name in zip(described, names, strict=True))


def _from_instances(feature: Feature, index: int, instances: Sequence[Any] | None) -> Feature:
    """Return a feature of unknown type with the type of the sample's values; numbers may be booleans."""
    is_number = feature.type == "float" and feature.categories is None
    if not instances or not (is_number or feature.type == "any"):
        return feature
    values = [
        row.get(feature.name) if isinstance(row, dict) else row[index]
        for row in instances
        if isinstance(row, dict) or (isinstance(row, list) and len(row) > index)
    ]
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return replace(feature, type="boolean", dtype=None)
    if is_number:
        return feature
    if kinds == {str}:
        return replace(feature, type="string")
    if kinds == {int} and any(value is not None and abs(value) > EXACT_INTEGER for value in values):
        return replace(feature, type="integer", dtype="int64")
    if kinds and kinds <= {int, float}:
        return replace(feature, type="float")
    return feature


def _container(estimator: Any, features: Sequence[Feature]) -> str:
    if takes_text(estimator):
        return "text"
    if isinstance(estimator, OnnxPredictor):
        # A float64 array would round integers beyond 2^53.
        types = {item.type for item in estimator.features(tuple(item.name for item in features))}
        return "array" if types <= {"float", "boolean"} else "objects"
    has_names = told(estimator, "feature_names_in_") is not None
    first = list(entries(estimator))
    own_code = any(map(is_own_code, first)) or any(type(step).__name__ == "FunctionTransformer" for step in first)
    if has_names and (own_code or any(type(step).__name__ == "ColumnTransformer" for step in first)):
        return "frame"
    if any(item.type in {"string", "datetime", "any"} or item.is_exact_integer for item in features):
        # A model of unknown origin without declared types takes numbers, as most models do.
        if not has_names and own_code and all(item.type == "any" for item in features):
            return "array"
        return "frame" if has_names else "objects"
    return "array"
