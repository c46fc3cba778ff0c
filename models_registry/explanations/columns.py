"""Maps each column after the steps of a pipeline to its input feature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models_registry.artifacts.wrappers import is_identity, steps_of
from models_registry.errors import NotExplainable
from models_registry.explanations.base import Array

# These transform each column separately.
ONE_TO_ONE = frozenset(
    {
        "Binarizer",
        "MaxAbsScaler",
        "MinMaxScaler",
        "OrdinalEncoder",
        "PowerTransformer",
        "QuantileTransformer",
        "RobustScaler",
        "StandardScaler",
    }
)


def owners_after(step: Any, owners: Array) -> Array:
    """Return the input feature of each column after `step`; `owners` has those of the columns before it.

    Raises NotExplainable for an unknown step, and for one whose columns may combine several input features.
    """
    if is_identity(step):
        return owners
    steps = steps_of(step)
    if steps is not None:
        for inner in steps:
            owners = owners_after(inner, owners)
        return owners
    kind = type(step).__name__
    if not type(step).__module__.startswith("sklearn."):
        raise _unknown(step)
    if callable(getattr(step, "get_support", None)):
        return np.asarray(owners[np.asarray(step.get_support())])
    if kind in ONE_TO_ONE or (kind == "FunctionTransformer" and isinstance(step.func, np.ufunc) and step.func.nin == 1):
        return owners
    if kind not in _EXPANDING:
        raise _unknown(step)
    return _EXPANDING[kind](step, owners)


def _unknown(step: Any) -> NotExplainable:
    return NotExplainable(f"its step {type(step).__name__} is not known to compute each column from one input feature")


def _one_hot(step: Any, owners: Array) -> Array:
    return np.repeat(owners, step._n_features_outs)


def _bins(step: Any, owners: Array) -> Array:
    return owners if step.encode == "ordinal" else np.repeat(owners, step.n_bins_)


def _imputer(step: Any, owners: Array) -> Array:
    is_kept = np.ones(len(owners), dtype=bool)
    if not step.keep_empty_features:
        # A column without any value in the training data is dropped.
        is_kept = np.array([item == item for item in step.statistics_])  # noqa: PLR0124 - NaN alone differs from itself
    indicated = [] if step.indicator_ is None else step.indicator_.features_
    return np.concatenate([owners[is_kept], owners[indicated]]).astype(np.int64)


def _column_transformer(step: Any, owners: Array) -> Array:
    found = np.full(sum(part.stop - part.start for part in step.output_indices_.values()), -1, dtype=np.int64)
    for name, part, _ in step.transformers_:
        columns = step.output_indices_[name]
        if columns.stop > columns.start:
            found[columns] = owners_after(part, owners[step._transformer_to_input_indices[name]])
    return found


def _union(step: Any, owners: Array) -> Array:
    parts = [owners_after(part, owners) for _, part in step.transformer_list if part != "drop"]
    return np.concatenate(parts) if parts else owners[:0]


_EXPANDING: dict[str, Callable[[Any, Array], Array]] = {
    "ColumnTransformer": _column_transformer,
    "FeatureUnion": _union,
    "KBinsDiscretizer": _bins,
    "OneHotEncoder": _one_hot,
    "SimpleImputer": _imputer,
}
