"""Derives the type of each input column from the steps that consume it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from models_registry.artifacts import boosters
from models_registry.artifacts.categories import ENCODERS, categorical, discretized
from models_registry.artifacts.features import Feature
from models_registry.artifacts.wrappers import CHAINS, column_subsets, entries, inner_estimators, is_identity, steps_of

UNKNOWN = Feature("", "any", nullable=True)
DROPPED = replace(UNKNOWN, optional=True)
NUMBER = Feature("", "float")
TEXT = Feature("", "string")
# The end of the chain: it requires nothing.
OUTSIDE = UNKNOWN


def describe(estimator: Any, count: int, onward: Feature = OUTSIDE) -> list[Feature]:
    """Return the requirements of `estimator` on its `count` input columns, without names.

    `onward` is the requirement on a column that it passes on unchanged.
    """
    steps = steps_of(estimator)
    if steps is not None:
        return _describe_steps(steps, count, onward)
    inside = inner_estimators(estimator)
    if inside:
        return _describe_wrapper(estimator, inside, count)
    subsets = column_subsets(estimator)
    if subsets:
        return _describe_subsets(estimator, subsets, count)
    kind = type(estimator).__name__
    if kind == "ColumnTransformer":
        return _describe_columns(estimator, count, onward)
    if kind == "FeatureUnion":
        parts = [_describe_part(part, count, onward) for _, part in estimator.transformer_list]
        return _merged(parts) if parts else [UNKNOWN] * count
    if kind in ENCODERS and len(getattr(estimator, "categories_", ())) == count:
        return [_encoded(estimator, values, onward) for values in estimator.categories_]
    if kind == "KBinsDiscretizer" and len(getattr(estimator, "bin_edges_", ())) == count:
        return [discretized(edges) for edges in estimator.bin_edges_]
    if getattr(estimator, "_preprocessor", None) is not None and kind.startswith("HistGradientBoosting"):
        return _boosted_columns(estimator)
    if len(known := getattr(estimator, "categories_by_feature", ())) == count:
        return [
            replace(NUMBER, nullable=True)
            if values is None
            else replace(categorical(np.array(values, dtype=object), closed=estimator.refuses_unknown_), nullable=True)
            for values in known
        ]
    return [_leaf(estimator, onward)] * count


def takes_text(estimator: Any) -> bool:
    """Return whether rows are texts: the first step is a text vectorizer."""
    return any(callable(getattr(first, "build_analyzer", None)) for first in entries(estimator))


def is_own_code(step: Any) -> bool:
    """Return whether the input types of a step are unknown: a function, or another library's class."""
    if type(step).__name__ == "FunctionTransformer":
        return step.func is not None and not isinstance(step.func, np.ufunc)
    return not type(step).__module__.startswith(("sklearn.", boosters.__name__))


def input_tags(estimator: Any) -> Any:
    """Return scikit-learn's input tags of an estimator; None if it has none."""
    from sklearn.utils import get_tags

    try:
        return get_tags(estimator).input_tags
    except Exception:  # noqa: BLE001 - tags are code of the artifact's own classes and may raise anything
        return None


def _describe_steps(steps: list[Any], count: int, onward: Feature) -> list[Feature]:
    """Return a pipeline's requirements on the input columns of its first step."""
    if not steps:
        return [onward] * count
    for step in reversed(steps[1:]):
        onward = _common(describe(step, _width(step), onward))
    first = steps[0]
    fills = type(first).__module__.startswith("sklearn.impute")
    behind = getattr(steps[1], "n_features_in_", 0) if fills and len(steps) > 1 else 0
    # Missing-value indicators follow the columns.
    if behind == count or (behind > count and getattr(first, "add_indicator", False)):
        # An imputer only fills missing values: the next step determines the columns' types.
        is_none = getattr(first, "missing_values", math.nan) is None
        described = _describe_steps(steps[1:], behind, onward)[:count]
        # An imputer may read every column, even one that a later step drops.
        return [replace(item, nullable=True, missing_is_none=is_none, optional=False) for item in described]
    return describe(first, count, onward)


def _width(step: Any) -> int:
    """Return the number of input columns of an inner step; 1 if it treats all columns alike."""
    count = getattr(step, "n_features_in_", None)
    is_telling = type(step).__name__ in {"ColumnTransformer", "FeatureUnion", "KBinsDiscretizer", *ENCODERS}
    is_telling = is_telling or bool(steps_of(step) or inner_estimators(step) or column_subsets(step))
    return int(count) if is_telling and count is not None else 1


def _common(described: Sequence[Feature]) -> Feature:
    """Return the common requirement of these columns."""
    distinct = list({id(item): item for item in described}.values())
    kinds = {item.type for item in distinct if not item.optional}
    numeric = kinds <= {"float", "integer", "boolean"}
    kind = next(iter(kinds)) if len(kinds) == 1 else "float" if kinds and numeric else "any"
    return Feature("", kind, nullable=all(item.nullable for item in distinct))


def _describe_part(part: Any, count: int, onward: Feature) -> list[Feature]:
    """Return the requirements of one part of a union or column transformer on its columns."""
    if is_identity(part):
        return [onward] * count
    if isinstance(part, str):
        return [DROPPED] * count
    return [TEXT] * count if takes_text(part) else describe(part, count, onward)


def _describe_columns(transformer: Any, count: int, onward: Feature) -> list[Feature]:
    consumers: list[list[Feature]] = [[] for _ in range(count)]
    for name, step, columns in transformer.transformers_:
        chosen = getattr(transformer, "_transformer_to_input_indices", {}).get(name)
        positions = _positions(columns, transformer, count) if chosen is None else [int(index) for index in chosen]
        for position, part in zip(positions, _describe_part(step, len(positions), onward), strict=True):
            consumers[position].append(part)
    return [_merge(parts) if parts else DROPPED for parts in consumers]


def _positions(columns: Any, transformer: Any, count: int) -> list[int]:
    """Return a ColumnTransformer's column selection as positions."""
    names = [str(name) for name in getattr(transformer, "feature_names_in_", ())]
    if isinstance(columns, str | int):
        columns = [columns]
    if isinstance(columns, slice):
        return list(range(count))[columns]
    values = columns.tolist() if hasattr(columns, "tolist") else list(columns)
    if values and all(isinstance(item, bool) for item in values):
        return [index for index, chosen in enumerate(values) if chosen]
    return [names.index(item) if isinstance(item, str) else int(item) for item in values]


def _describe_wrapper(estimator: Any, inside: list[Any], count: int) -> list[Feature]:
    parts = [describe(member, count) for member in inside]
    final = getattr(estimator, "final_estimator_", None)
    if final is not None and getattr(estimator, "passthrough", False):
        # With passthrough, the final estimator also gets the original columns.
        parts.append(describe(final, getattr(final, "n_features_in_", count))[-count:])
    merged = _merged(parts)
    if type(estimator).__name__ in CHAINS:
        return [replace(item, nullable=False, optional=False) for item in merged]
    return merged


def _describe_subsets(estimator: Any, subsets: list[tuple[Any, list[int]]], count: int) -> list[Feature]:
    consumers: list[list[Feature]] = [[] for _ in range(count)]
    for member, positions in subsets:
        for position, part in zip(positions, describe(member, len(positions)), strict=True):
            consumers[position].append(part)
    # The wrapper validates every column, even one that none of its members uses.
    unseen = replace(NUMBER, nullable=bool(getattr(input_tags(estimator), "allow_nan", False)))
    return [replace(_merge(parts), optional=False) if parts else unseen for parts in consumers]


def _merged(parts: list[list[Feature]]) -> list[Feature]:
    """Return the combined requirements of several consumers of the same columns."""
    if len(parts) == 1:
        return parts[0]
    known: dict[tuple[int, ...], Feature] = {}
    merged = []
    for column in zip(*parts, strict=True):
        key = tuple(map(id, column))
        if key not in known:
            known[key] = _merge(column)
        merged.append(known[key])
    return merged


def _merge(parts: Sequence[Feature]) -> Feature:
    """Return the combined requirement of all consumers of one column."""
    told = [part for part in parts if part.type != "any"]
    telling = next((part for part in told if part.type != "float"), None)
    telling = telling or next((part for part in told if part.categories), None) or (told or list(parts))[0]
    alike = [part for part in parts if part.categories is not None and part.type == telling.type]
    closed = [part for part in alike if part.closed]
    return replace(
        telling,
        categories=_shared_categories(closed or alike, is_closed=bool(closed)),
        closed=bool(closed),
        nullable=all(part.nullable for part in parts),
        missing_is_none=any(part.missing_is_none for part in alike),
        optional=all(part.optional for part in parts),
        dtype=next((part.dtype for part in (*alike, *told) if part.dtype is not None), None),
    )


def _shared_categories(parts: Sequence[Feature], *, is_closed: bool) -> tuple[Any, ...] | None:
    """Return the categories that all strict consumers accept, else those that any consumer knows."""
    if not parts:
        return None
    if all(part.categories == parts[0].categories for part in parts):
        return parts[0].categories
    if is_closed:
        common = set.intersection(*(set(part.categories or ()) for part in parts))
        return tuple(item for item in parts[0].categories or () if item in common)
    return tuple(dict.fromkeys(item for part in parts for item in part.categories or ()))


def _encoded(encoder: Any, values: Any, onward: Feature) -> Feature:
    """Return the requirement of an encoder on a column."""
    unknown = getattr(encoder, "handle_unknown", "error")
    feature = categorical(values, closed=unknown == "error" and type(encoder).__name__ != "TargetEncoder")
    if type(encoder).__name__ != "OrdinalEncoder" or onward.nullable:
        return feature
    # The encoder may pass a missing value on as missing.
    has_missing = len(feature.categories or ()) < len(values)
    handed_on = encoder.encoded_missing_value if has_missing else encoder.unknown_value
    is_missing = isinstance(handed_on, float) and math.isnan(handed_on)
    return replace(feature, nullable=feature.nullable and not is_missing)


def _boosted_columns(estimator: Any) -> list[Feature]:
    """Return the requirements of histogram boosting, which has its own encoder for categorical columns."""
    categories = iter(estimator._preprocessor.named_transformers_["encoder"].categories_)
    # Histogram boosting treats an unknown category as a missing value.
    return [
        categorical(next(categories), closed=False) if is_categorical else replace(NUMBER, nullable=True)
        for is_categorical in estimator.is_categorical_
    ]


def _leaf(step: Any, onward: Feature) -> Feature:
    """Return the requirement of a step that treats all columns alike."""
    if type(step).__name__ == "FunctionTransformer":
        if is_identity(step):
            return onward
        if isinstance(step.func, np.ufunc):
            return replace(NUMBER, nullable=onward.nullable)
    if callable(getattr(step, "build_analyzer", None)):
        return TEXT
    allows = bool(getattr(input_tags(step), "allow_nan", False))
    fills = type(step).__module__.startswith("sklearn.impute") or type(step).__name__ in ENCODERS
    return Feature("", "any" if is_own_code(step) else "float", nullable=allows and (fills or onward.nullable))
