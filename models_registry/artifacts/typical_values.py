"""Typical values of a model's features, for an example row of a version without a sample.

A fitted estimator keeps some: a scaler its means, an imputer its fill values, a tree its thresholds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from models_registry.artifacts.features import MAX_NUMBER, Feature
from models_registry.artifacts.schema import Schema
from models_registry.artifacts.wrappers import MAX_MEMBERS, column_subsets, inner_estimators, is_identity, steps_of

Array = np.ndarray[Any, Any]
# One number for each feature.
ONE_ROW = ("mean_", "center_", "statistics_", "xbar_")
# Rows of typical values: centres of clusters or classes.
CENTERS = ("cluster_centers_", "means_", "theta_")
TRAINING_ROWS = ("support_vectors_", "_fit_X", "X_train_")
# Enough rows for a median; a copy of all of them may exceed the sandbox's memory.
MAX_ROWS = 1_000
# More digits than these are noise in an example.
DIGITS = 4
# A value that fewer rows of the training or of a reference have may identify one of them.
MIN_ROWS = 5


def typical_row(model: Any, schema: Schema, example: Any) -> Any:
    """Return `example`, a valid row, with a typical number for each feature of which the model keeps one."""
    positions = {position: feature for position, feature in enumerate(schema.inputs) if _is_number(feature)}
    known = _centers(model, schema.names) if positions else {}
    values = {
        schema.inputs[position].name if isinstance(example, dict) else position: _typed(value, positions[position])
        for position, value in known.items()
        if position in positions and math.isfinite(value) and abs(value) <= MAX_NUMBER
    }
    if isinstance(example, dict):
        return {name: values.get(name, value) for name, value in example.items()}
    return [values.get(position, value) for position, value in enumerate(example)]


def typical_of_rows(schema: Schema, rows: Sequence[Any], example: Any) -> Any:
    """Return `example` with the middle number and the most frequent other value of each feature in `rows`.

    Every client that may predict sees the example, so it must not repeat a row. A text that is not one of the known
    categories counts only if MIN_ROWS rows have it. With fewer rows than that, `example` is returned as it is.
    """
    if len(rows) < MIN_ROWS:
        return example
    listed = [
        [row.get(name) for name in schema.names] if isinstance(row, dict) else row if isinstance(row, list) else [row]
        for row in rows
    ]
    given = [example.get(name) for name in schema.names] if isinstance(example, dict) else example
    values = [
        _middle([row[position] for row in listed if row[position] is not None], feature, given[position])
        for position, feature in enumerate(schema.inputs)
    ]
    return dict(zip(schema.names, values, strict=True)) if schema.named else values


def _middle(values: list[Any], feature: Feature, given: Any) -> Any:
    if not values:
        return given
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return sorted(values)[len(values) // 2]
    form, count = Counter(map(repr, values)).most_common(1)[0]
    value = next(value for value in values if repr(value) == form)
    return value if count >= MIN_ROWS or value in (feature.categories or ()) else given


def _is_number(feature: Feature) -> bool:
    return feature.type in {"float", "integer", "boolean"} and not feature.categories


def _typed(value: float, feature: Feature) -> Any:
    if feature.type == "boolean":
        return value > 0.5
    return round(value) if feature.type == "integer" else float(f"{value:.{DIGITS}g}")


def _centers(estimator: Any, names: Sequence[str]) -> dict[int, float]:
    """Return typical values by the position of the column that `estimator` gets."""
    count = len(names)
    if is_identity(estimator) or isinstance(estimator, str):
        return {}
    steps = steps_of(estimator)
    if steps is not None:
        return _of_steps(steps, names)
    found: dict[int, float] = {}
    for member, columns in _parts(estimator, names):
        inside = _centers(member, [names[column] for column in columns])
        found = {columns[position]: value for position, value in inside.items()} | found
    return (
        found or next((dict(enumerate(row)) for row in _rows(estimator) if len(row) == count), {}) or _cuts(estimator)
    )


def _of_steps(steps: Sequence[Any], names: Sequence[str]) -> dict[int, float]:
    """Return the values that the first step keeps; of later steps, only those in the same columns."""
    found = _centers(steps[0], names) if steps else {}
    return found or (_centers(steps[1], names) if len(steps) > 1 and _keeps_values(steps[0]) else {})


def _keeps_values(step: Any) -> bool:
    """Return whether a step passes known values on as they are."""
    return type(step).__name__ in {"SimpleImputer", "KNNImputer", "IterativeImputer"}


def _parts(estimator: Any, names: Sequence[str]) -> Iterator[tuple[Any, list[int]]]:
    """Yield the estimators inside that get the input or some of its columns, with the columns' positions."""
    for member in inner_estimators(estimator):
        yield member, list(range(len(names)))
    yield from column_subsets(estimator)
    if type(estimator).__name__ == "ColumnTransformer":
        given = list(getattr(estimator, "feature_names_in_", names))
        for _, member, columns in estimator.transformers_:
            yield member, _positions(columns, given)


def _positions(columns: Any, names: Sequence[str]) -> list[int]:
    if isinstance(columns, slice):
        return list(range(len(names)))[columns] if not isinstance(columns.start or columns.stop, str) else []
    listed = np.atleast_1d(np.asarray(columns, dtype=object)).tolist()
    if listed and all(isinstance(item, bool) for item in listed):
        return [position for position, is_taken in enumerate(listed) if is_taken]
    return [names.index(item) if isinstance(item, str) else int(item) for item in listed]


def _rows(estimator: Any) -> Iterator[list[float]]:
    """Yield rows of typical values."""
    for name in ONE_ROW:
        if (kept := _numbers(getattr(estimator, name, None), dimensions=1)) is not None:
            yield kept.tolist()
    low, high = (_numbers(getattr(estimator, name, None), dimensions=1) for name in ("data_min_", "data_max_"))
    if low is not None and high is not None:
        yield ((low + high) / 2).tolist()
    for name in (*CENTERS, *TRAINING_ROWS):
        kept = _numbers(getattr(estimator, name, None), dimensions=2)
        if kept is not None and len(kept) >= (MIN_ROWS if name in TRAINING_ROWS else 1):
            yield np.nanmedian(kept, axis=0).tolist()


def _numbers(value: Any, *, dimensions: int) -> Array | None:
    if not isinstance(value, np.ndarray) or value.ndim != dimensions or value.dtype.kind not in "fiu":
        return None
    # Evenly over all rows, which may be sorted.
    every = 1 if dimensions == 1 else -(-len(value) // MAX_ROWS) or 1
    return value[::every].astype(np.float64)


def _cuts(estimator: Any) -> dict[int, float]:
    """Return the median threshold of each feature that the estimator's trees compare."""
    makers: dict[str, Callable[[Any], Iterator[tuple[Array, Array]]]] = {
        "model_": _forest_cuts,
        "_predictors": _histogram_cuts,
        "tree_": _tree_cuts,
        "estimators_": _member_cuts,
    }
    make = next((make for name, make in makers.items() if hasattr(estimator, name)), None)
    pairs = list(make(estimator)) if make is not None else []
    if not pairs:
        return {}
    features, thresholds = (np.concatenate(list(part)) for part in zip(*pairs, strict=True))
    used = np.isfinite(thresholds)
    features, thresholds = features[used], thresholds[used]
    return {int(feature): float(np.median(thresholds[features == feature])) for feature in np.unique(features)}


def _tree_cuts(estimator: Any) -> Iterator[tuple[Array, Array]]:
    tree = estimator.tree_
    inner = tree.children_left != tree.children_right
    yield tree.feature[inner], tree.threshold[inner]


def _member_cuts(estimator: Any) -> Iterator[tuple[Array, Array]]:
    for member in np.asarray(estimator.estimators_, dtype=object).ravel()[:MAX_MEMBERS]:
        if hasattr(member, "tree_"):
            yield from _tree_cuts(member)


def _histogram_cuts(estimator: Any) -> Iterator[tuple[Array, Array]]:
    # With categories, the columns of the trees are in another order.
    if getattr(estimator, "_preprocessor", None) is not None:
        return
    for predictor in [one for iteration in estimator._predictors[:MAX_MEMBERS] for one in iteration]:
        inner = predictor.nodes[
            ~predictor.nodes["is_leaf"].astype(bool) & ~predictor.nodes["is_categorical"].astype(bool)
        ]
        yield inner["feature_idx"].astype(np.int64), inner["num_threshold"]


def _forest_cuts(estimator: Any) -> Iterator[tuple[Array, Array]]:
    forest = getattr(estimator.model_, "forest", None)
    if forest is not None:
        inner = ~forest.is_leaf & (forest.set_words == 0)
        yield forest.feature[inner], forest.threshold[inner]
