"""Steps that select columns: the selected columns must exist in their input."""

from typing import Any

import numpy as np

from models_registry.artifacts.structures.bounds import refuse

_BOOSTING_PARTS = {"encoder": "OrdinalEncoder", "numerical": "FunctionTransformer"}


def check_column_transformer(transformer: Any) -> None:
    """Refuse a column transformer that selects a column outside of its input."""
    count = transformer.n_features_in_
    names = getattr(transformer, "feature_names_in_", None)
    known = set() if names is None else set(np.asarray(names).tolist())
    for _, _, columns in transformer.transformers_:
        _positions(columns, count, known)
    for positions in getattr(transformer, "_transformer_to_input_indices", {}).values():
        _positions(positions, count, known)


def _positions(columns: Any, count: int, names: set[Any]) -> list[int]:
    """Return the positions of a column selection; raise if one does not exist.

    Columns by name have no position here.
    """
    if callable(columns):
        return []
    if isinstance(columns, slice):
        return [] if isinstance(columns.start or columns.stop, str) else list(range(count))[columns]
    chosen = np.asarray(columns)
    if chosen.dtype.kind == "b":
        if chosen.shape != (count,):
            raise refuse(f"holds a selection among {len(chosen)} columns in a step of {count} columns")
        return np.flatnonzero(chosen).tolist()
    values = chosen.ravel().tolist()
    for value in values:
        is_position = isinstance(value, int) and not isinstance(value, bool)
        if (is_position and not -count <= value < count) or (not is_position and names and value not in names):
            raise refuse(f"uses the column {str(value)[:80]!r}, which is not one of its {count} columns")
    return [value % count for value in values if isinstance(value, int)]


def check_selector(selector: Any) -> None:
    """Refuse a selector whose mask has another number of features than its input."""
    for name in ("support_", "scores_", "pvalues_", "variances_"):
        held = getattr(selector, name, None)
        if held is not None and np.shape(held)[:1] != (selector.n_features_in_,):
            raise refuse(
                f"holds a selector of {selector.n_features_in_} features with {name} of shape {np.shape(held)}"
            )


def check_feature_subsets(ensemble: Any) -> None:
    """Refuse an ensemble that gives an estimator a feature outside of its own input."""
    subsets = ensemble.estimators_features_
    if len(subsets) != len(ensemble.estimators_):
        raise refuse("holds another number of estimators than of their features")
    for subset in subsets:
        _positions(subset, ensemble.n_features_in_, set())


def check_iterative_imputer(imputer: Any) -> None:
    """Refuse an imputer with a step for a feature that does not exist."""
    for feature, neighbours, _ in imputer.imputation_sequence_:
        _positions([int(feature)], imputer.n_features_in_, set())
        _positions(np.asarray(neighbours, dtype=np.intp), imputer.n_features_in_, set())


def check_missing_indicator(indicator: Any) -> None:
    """Refuse an indicator of missing values for a feature that does not exist."""
    _positions(np.asarray(indicator.features_), indicator._n_features, set())


def check_boosting_preprocessor(model: Any) -> None:
    """Refuse histogram boosting whose preprocessor returns other columns than its trees were trained on."""
    if getattr(model, "_in_fit", False):
        raise refuse("holds histogram boosting in the middle of its training")
    preprocessor = getattr(model, "_preprocessor", None)
    if preprocessor is None:
        return
    count = model.n_features_in_
    if type(preprocessor).__name__ != "ColumnTransformer" or preprocessor.n_features_in_ != count:
        raise refuse("holds histogram boosting with a preprocessor of other features")
    given: list[int] = []
    for name, transformer, columns in preprocessor.transformers_:
        positions = _positions(columns, count, set())
        kind = type(transformer).__name__
        if not positions:
            continue
        if _BOOSTING_PARTS.get(name) != kind or _takes(transformer, len(positions)) != len(positions):
            raise refuse("holds histogram boosting with a preprocessor of its own")
        given.extend(positions)
    if sorted(given) != list(range(count)):
        raise refuse("holds histogram boosting whose preprocessor gives other columns than its trees use")


def _takes(transformer: Any, count: int) -> Any:
    if type(transformer).__name__ == "FunctionTransformer":
        function = transformer.func
        if function is not None and getattr(getattr(function, "func", None), "__name__", "") != "check_array":
            raise refuse("holds histogram boosting with a preprocessor of its own")
    return getattr(transformer, "n_features_in_", count)
