"""Reads a signature off a fitted estimator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from models_registry.artifacts.calling import offers_probabilities
from models_registry.artifacts.datetimes import format_datetime
from models_registry.artifacts.features import DeclaredInput, Feature
from models_registry.artifacts.formats.onnx_format import OnnxPredictor
from models_registry.artifacts.outputs import as_array
from models_registry.artifacts.signature import Signature
from models_registry.artifacts.spelling import closest, shown
from models_registry.errors import NoPrediction

METHODS = ("predict", "predict_proba", "decision_function", "transform")
ENCODERS = {"OneHotEncoder", "OrdinalEncoder", "TargetEncoder"}
UNKNOWN = Feature("", "any", nullable=True)
DROPPED = replace(UNKNOWN, optional=True)


def infer_signature(
    estimator: Any,
    declared: Sequence[DeclaredInput | Feature] | None = None,
    instances: Sequence[Any] | None = None,
) -> Signature:
    """Return the signature of a fitted `estimator`.

    `declared` are the manifest's inputs, all of them or some; `instances` its sample rows: both fill what the
    estimator does not tell. Raises NoPrediction where it has no `predict`, where the number of its inputs cannot be
    told, or where the declared ones contradict it.
    """
    if not callable(getattr(estimator, "predict", None)):
        raise NoPrediction(
            f"A {type(estimator).__name__} has no 'predict'; expected a fitted estimator or pipeline that "
            "predicts. Publish the whole pipeline, with its last step."
        )
    first = _entry(estimator)
    if _takes_records(first):
        return _with_outputs(estimator, Signature((), container="records", named=True))
    names, named = _names(estimator, declared, instances)
    features = _features(estimator, names)
    if declared is not None:
        features = _declared(features, declared, names=names, named=named)
    if isinstance(estimator, OnnxPredictor):
        features = estimator.settle(tuple(features))
    features = tuple(_from_instances(item, index, instances) for index, item in enumerate(features))
    container = _container(estimator, first, features)
    if container == "array":
        features = tuple(replace(item, type="float") if item.type == "any" else item for item in features)
    return _with_outputs(estimator, Signature(features, container=container, named=named or declared is not None))


def _with_outputs(estimator: Any, signature: Signature) -> Signature:
    classes = _plain_classes(getattr(estimator, "classes_", None))
    return replace(
        signature,
        kind=_kind(estimator, classes),
        classes=classes,
        outputs=len(classes) if classes and isinstance(classes[0], tuple) else _output_count(estimator),
        methods=tuple(name for name in METHODS if _offers(estimator, name)),
    )


def _offers(estimator: Any, method: str) -> bool:
    if method == "predict_proba":
        return offers_probabilities(estimator)
    return callable(getattr(estimator, method, None))


def _output_count(estimator: Any) -> int:
    """Return the number of outputs where the estimator tells; the probe corrects it by what it sees."""
    count = getattr(estimator, "n_outputs_", 1)
    return count if isinstance(count, int) else 1


def _kind(estimator: Any, classes: Any) -> str:
    from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor

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
            # An estimator of another library need not carry scikit-learn's tags.
            break
    if isinstance(estimator, OnnxPredictor):
        return "regressor" if estimator.output_kind_ == "f" else "classifier"
    return "classifier" if classes else "regressor"


def _plain_classes(classes: Any) -> tuple[Any, ...] | None:
    """Return the labels as Python values: one tuple, or one per output; NoPrediction for labels that JSON lacks."""
    if classes is None:
        return None
    if isinstance(classes, list) and classes and hasattr(classes[0], "tolist"):
        return tuple(tuple(as_array(item, "classes").tolist()) for item in classes)
    # A list keeps the types of its labels.
    values = classes if hasattr(classes, "tolist") else np.array(list(classes), dtype=object)
    return tuple(as_array(values, "classes").tolist())


def _entry(estimator: Any) -> Any:
    """Return the first step that sees the input: through pipelines and searches."""
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list) and steps:
        for _, step in steps:
            if step is not None and step != "passthrough":
                return _entry(step)
    best = getattr(estimator, "best_estimator_", None)
    return _entry(best) if best is not None else estimator


def _tags(estimator: Any) -> Any:
    from sklearn.utils import get_tags

    try:
        return get_tags(estimator).input_tags
    except Exception:  # noqa: BLE001 - tags are code of the artifact's own classes and may raise anything
        return None


def _takes_text(first: Any) -> bool:
    return callable(getattr(first, "build_analyzer", None))


def _takes_records(first: Any) -> bool:
    tags = _tags(first)
    return type(first).__name__ == "DictVectorizer" or bool(
        tags is not None and getattr(tags, "dict", False) and getattr(first, "input_type", "dict") == "dict"
    )


def _names(
    estimator: Any, declared: Sequence[DeclaredInput | Feature] | None, instances: Sequence[Any] | None
) -> tuple[tuple[str, ...], bool]:
    """Return the inputs' names, and whether anybody gave them."""
    given = getattr(estimator, "feature_names_in_", None)
    if given is None:
        given = getattr(_entry(estimator), "feature_names_in_", None)
    if given is not None:
        return tuple(str(name) for name in given), True
    if _takes_text(_entry(estimator)):
        return (("text",) if declared is None else (declared[0].name,)), declared is not None
    count = getattr(estimator, "n_features_in_", None)
    first = instances[0] if instances else None
    if count is None and isinstance(first, dict) and {item.name for item in declared or ()} < first.keys():
        return tuple(first), True
    if count is None and declared is not None:
        count = len(declared)
    if count is None and instances:
        count = len(first) if isinstance(first, list | tuple) else 1
    if count is None:
        raise NoPrediction(
            f"The {type(estimator).__name__} does not tell how many features it takes (no n_features_in_). Was it "
            "fitted before it was saved? If so: Give 'inputs' or a sample in the manifest and publish again."
        )
    return tuple(f"x{index}" for index in range(count)), False


def _declared(
    features: Sequence[Feature], declared: Sequence[DeclaredInput | Feature], *, names: tuple[str, ...], named: bool
) -> tuple[Feature, ...]:
    """Return the features as the manifest says, or raise NoPrediction where it contradicts the estimator.

    Inputs go by name where the estimator has names, or where only some are declared; else by position.
    """
    given = [DeclaredInput.from_json(item.to_json()) for item in declared]
    if not named and len(given) == len(features):
        return tuple(item.apply(feature) for feature, item in zip(features, given, strict=True))
    unknown = [item.name for item in given if item.name not in names]
    if unknown and not named:
        raise NoPrediction(
            f"The manifest declares {len(given)} inputs, the estimator takes {len(features)} and has no names for "
            f"them. Declare all of them in its order, or some as {shown(names)}, and publish again."
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
    """Return one feature per name, as far as the steps that see them tell."""
    if _takes_text(_entry(estimator)):
        return (Feature(names[0], "string"),)
    if isinstance(estimator, OnnxPredictor):
        return estimator.features(names)
    described = _describe(estimator, len(names), names)
    return tuple(replace(item, name=name) for item, name in zip(described, names, strict=True))


def _describe(estimator: Any, count: int, names: tuple[str, ...], *, onward: bool = True) -> list[Feature]:
    """Return what the step that sees `count` columns says of them; the names are left blank.

    `onward` says whether whatever comes after it takes missing values.
    """
    first = _entry(estimator)
    onward = _after_entry_takes_missing(estimator, onward)
    kind = type(first).__name__
    if kind == "ColumnTransformer":
        return _describe_columns(first, count, names, onward=onward)
    if kind == "FeatureUnion":
        parts = [
            _describe(part, count, names, onward=onward)
            for _, part in first.transformer_list
            if not isinstance(part, str)
        ]
        return [_most_telling(column) for column in zip(*parts, strict=True)] if parts else [UNKNOWN] * count
    if kind in ENCODERS and len(getattr(first, "categories_", ())) == count:
        closed = getattr(first, "handle_unknown", "error") == "error" and kind != "TargetEncoder"
        return [_categorical(values, closed=closed) for values in first.categories_]
    behind = _behind_imputer(estimator, count)
    if behind is not None:
        is_none = getattr(first, "missing_values", math.nan) is None
        described = _describe(behind, count, names, onward=onward)
        # An imputer may look at every column, also at one that is dropped behind it.
        return [replace(item, nullable=True, missing_is_none=is_none, optional=False) for item in described]
    if getattr(first, "_preprocessor", None) is not None and kind.startswith("HistGradientBoosting"):
        return _boosted_columns(first)
    own_code = kind == "FunctionTransformer" or not type(first).__module__.startswith("sklearn.")
    return [Feature("", "any" if own_code else "float", nullable=_takes_missing(first, onward))] * count


def _behind_imputer(estimator: Any, count: int) -> Any:
    """Return the step behind a first one that only fills gaps: it tells what the columns hold."""
    steps = getattr(estimator, "steps", None)
    if not isinstance(steps, list):
        return None
    real = [step for _, step in steps if step is not None and step != "passthrough"]
    if len(real) < 2 or not type(real[0]).__module__.startswith("sklearn.impute"):
        return None
    return real[1] if getattr(real[1], "n_features_in_", None) == count else None


def _after_entry_takes_missing(estimator: Any, onward: bool) -> bool:
    """Say whether the steps behind a pipeline's first one take missing values."""
    best = getattr(estimator, "best_estimator_", None)
    if best is not None:
        return _after_entry_takes_missing(best, onward)
    steps = getattr(estimator, "steps", None)
    if not isinstance(steps, list):
        return onward
    real = [step for _, step in steps if step is not None and step != "passthrough"]
    for step in reversed(real[1:]):
        onward = _takes_missing(step, onward)
    return _after_entry_takes_missing(real[0], onward) if real else onward


def _takes_missing(step: Any, onward: bool) -> bool:
    """Say whether a missing value that reaches `step` does no harm there or after it."""
    tags = _tags(step)
    if tags is None or not getattr(tags, "allow_nan", False):
        return False
    fills = type(step).__module__.startswith("sklearn.impute") or type(step).__name__ in ENCODERS
    return fills or hasattr(step, "predict") or onward


def _most_telling(column: Sequence[Feature]) -> Feature:
    telling = next((item for item in column if item.type not in {"any", "float"}), column[0])
    return replace(telling, optional=all(item.optional for item in column))


def _describe_columns(transformer: Any, count: int, names: tuple[str, ...], *, onward: bool) -> list[Feature]:
    described, used = [UNKNOWN] * count, set[int]()
    for _, step, columns in transformer.transformers_:
        positions = [names.index(item) if isinstance(item, str) else int(item) for item in _listed(columns, count)]
        if isinstance(step, str):
            parts = [DROPPED if step == "drop" else UNKNOWN] * len(positions)
        elif _takes_text(_entry(step)):
            parts = [Feature("", "string")] * len(positions)
        else:
            part_names = tuple(names[position] for position in positions)
            parts = _describe(step, len(positions), part_names, onward=onward)
        for position, part in zip(positions, parts, strict=True):
            if not part.optional:
                used.add(position)
            if described[position].type == "any":
                described[position] = part
    return [replace(item, optional=index not in used) for index, item in enumerate(described)]


def _listed(columns: Any, count: int) -> list[Any]:
    """Return a ColumnTransformer's column specification as a list of names or positions."""
    if isinstance(columns, str | int):
        return [columns]
    if isinstance(columns, slice):
        return list(range(count))[columns]
    values = columns.tolist() if hasattr(columns, "tolist") else list(columns)
    if values and all(isinstance(item, bool) for item in values):
        return [index for index, chosen in enumerate(values) if chosen]
    return values


def _boosted_columns(estimator: Any) -> list[Feature]:
    """Return the columns of histogram boosting, which keeps an encoder of its own for those with categories."""
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    categories = iter(encoder.categories_)
    # An unknown category is to it what a missing value is.
    return [
        _categorical(next(categories), closed=False) if is_categorical else Feature("", "float", nullable=True)
        for is_categorical in estimator.is_categorical_
    ]


def _categorical(values: Any, *, closed: bool) -> Feature:
    if values.dtype.kind == "M":
        return _moments(values, closed=closed)
    items = values.tolist()
    known = [item for item in items if item is not None and not (isinstance(item, float) and math.isnan(item))]
    kinds = {type(item) for item in known}
    if kinds <= {str}:
        kind = "string"
    elif kinds <= {bool}:
        kind = "boolean"
    elif kinds <= {int, float}:
        kind = "float"
    else:
        kind = "any"
    return Feature(
        "",
        kind,
        tuple(known),
        closed=closed,
        nullable=len(known) != len(items) or not closed,
        missing_is_none=any(item is None for item in items),
    )


def _moments(values: Any, *, closed: bool) -> Feature:
    """Return a column whose categories are times, in ISO 8601; a missing time is to an encoder an unknown one."""
    known = tuple(format_datetime(value) for value in values if value == value)  # noqa: PLR0124 - NaT is not itself
    return Feature("", "datetime", known, closed=closed, nullable=not closed)


def _from_instances(feature: Feature, index: int, instances: Sequence[Any] | None) -> Feature:
    """Return an untold feature with the type that the sample's values have."""
    if feature.type != "any" or not instances:
        return feature
    values = [
        row.get(feature.name) if isinstance(row, dict) else row[index]
        for row in instances
        if isinstance(row, dict) or (isinstance(row, list) and len(row) > index)
    ]
    kinds = {type(value) for value in values if value is not None}
    if kinds == {str}:
        return replace(feature, type="string")
    if kinds == {bool}:
        return replace(feature, type="boolean")
    if kinds and kinds <= {int, float}:
        return replace(feature, type="float")
    return feature


def _container(estimator: Any, first: Any, features: Sequence[Feature]) -> str:
    if _takes_text(first):
        return "text"
    if isinstance(estimator, OnnxPredictor):
        # A float64 array would round whole numbers beyond 2^53.
        types = {item.type for item in estimator.features(tuple(item.name for item in features))}
        return "array" if types <= {"float", "boolean"} else "objects"
    has_names = getattr(estimator, "feature_names_in_", getattr(first, "feature_names_in_", None)) is not None
    own_code = type(first).__name__ == "FunctionTransformer" or not type(first).__module__.startswith("sklearn.")
    if has_names and (own_code or _needs_names(estimator)):
        return "frame"
    if any(item.type in {"string", "datetime", "any"} for item in features):
        # A model of nobody's making that tells no types takes numbers, as most do.
        if not has_names and own_code and all(item.type == "any" for item in features):
            return "array"
        return "frame" if has_names else "objects"
    return "array"


def _needs_names(estimator: Any) -> bool:
    """Say whether a step asks for columns by name, or meets columns of several types."""
    first = _entry(estimator)
    if type(first).__name__ == "ColumnTransformer":
        return True
    if type(first).__name__ == "FeatureUnion":
        return any(_needs_names(part) for _, part in first.transformer_list if not isinstance(part, str))
    return False
