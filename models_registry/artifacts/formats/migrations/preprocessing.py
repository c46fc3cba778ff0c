"""Transformers: encoders, imputers, column transformers, text."""

from typing import Any

import numpy as np
import scipy.sparse

from models_registry.artifacts.formats.migrations.change import State, Written
from models_registry.artifacts.formats.migrations.stand_ins import RemovedList


def inverse_document_frequencies(written: Written) -> None:
    """Take the frequencies off the diagonal of `_idf_diag`; scikit-learn 1.5 and newer leave them out without them."""
    state = written.state
    diagonal = state.pop("_idf_diag", None)
    if diagonal is None:
        if state.get("use_idf", True) and "idf_" not in state and written.is_older_than((1, 5)):
            raise written.refuse("without its inverse document frequencies")
        return
    if not scipy.sparse.issparse(diagonal):
        raise written.refuse("whose inverse document frequencies are no diagonal matrix")
    state["idf_"] = np.ravel(diagonal.diagonal())


def fitted_passthrough(written: Written) -> None:
    """Put the identity in the place of "passthrough", which 1.4 stores as a FunctionTransformer, and plain lists
    in the place of those that warned in 1.5 and 1.6."""
    state = written.state
    if "transformers_" not in state:
        return
    state["transformers_"] = [
        (name, _identity(state, name) if isinstance(step, str) and step == "passthrough" else step, _plain(columns))
        for name, step, columns in state["transformers_"]
    ]
    remainder = state.get("_remainder")
    if isinstance(remainder, tuple):
        state["_remainder"] = tuple(map(_plain, remainder))
    state.setdefault("force_int_remainder_cols", "deprecated")
    state.setdefault("verbose_feature_names_out", True)


def _identity(state: State, name: str) -> Any:
    """Return the identity on the columns of the transformer called `name`, as fitting would have left it."""
    from sklearn.preprocessing import FunctionTransformer

    identity = FunctionTransformer(accept_sparse=True, check_inverse=False, feature_names_out="one-to-one")
    indices = state.get("_transformer_to_input_indices", {}).get(name)
    if indices is not None:
        identity.n_features_in_ = len(indices)
        if "feature_names_in_" in state:
            identity.feature_names_in_ = np.asarray(state["feature_names_in_"], dtype=object)[indices]
    return identity


def _plain(columns: Any) -> Any:
    return list(columns.data) if isinstance(columns, RemovedList) else columns


def empty_features(state: State) -> Any:
    """Return which columns had no value at all when the imputer was fitted."""
    statistics = np.asarray(state["initial_imputer_"].statistics_)
    return np.isnan(statistics) if statistics.dtype.kind == "f" else np.zeros(statistics.shape, dtype=bool)


def imputer_types(state: State) -> Any:
    """Return the type of the values that fill the gaps, where the imputer kept that of the rows it was fitted with."""
    return state.get("_fit_dtype", np.asarray(state.get("statistics_", 0.0)).dtype)


def drop_after_grouping(state: State) -> Any:
    """Return which categories are dropped, counted without the rare ones, where rare ones are not grouped."""
    return state.get("drop_idx_")


def indices_of_missing(state: State) -> dict[int, int]:
    """Return, by column, the position of the missing value among the categories."""
    from sklearn.utils._missing import is_scalar_nan

    found = {}
    for column, categories in enumerate(state.get("categories_", ())):
        for position, item in enumerate(categories):
            if item is None or is_scalar_nan(item):
                found[column] = position
    return found


def renamed_check(written: Written) -> None:
    """Rename an argument of `check_array` that the preprocessor of histogram boosting keeps (1.4 and 1.5)."""
    from functools import partial

    function = written.state.get("func")
    if isinstance(function, partial) and "force_all_finite" in function.keywords:
        keywords = dict(function.keywords)
        keywords["ensure_all_finite"] = keywords.pop("force_all_finite")
        written.state["func"] = partial(function.func, *function.args, **keywords)
    arguments = written.state.get("kw_args")
    if isinstance(arguments, dict) and "force_all_finite" in arguments:
        renamed = dict(arguments)
        renamed["ensure_all_finite"] = renamed.pop("force_all_finite")
        written.state["kw_args"] = renamed
