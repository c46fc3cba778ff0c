"""Changes of transformers: encoders, imputers, column transformers, text."""

from typing import Any

import numpy as np
import scipy.sparse

from models_registry.artifacts.formats.migrations.change import State, Written
from models_registry.artifacts.formats.migrations.stand_ins import RemovedList


def inverse_document_frequencies(written: Written) -> None:
    """Take the frequencies from the diagonal of `_idf_diag`; scikit-learn 1.5 and newer do not store the matrix."""
    state = written.state
    diagonal = state.pop("_idf_diag", None)
    if diagonal is None:
        if state.get("use_idf", True) and "idf_" not in state and written.is_older_than((1, 5)):
            raise written.refuse("it has no inverse document frequencies")
        return
    if not scipy.sparse.issparse(diagonal):
        raise written.refuse("its inverse document frequencies are not a diagonal matrix")
    state["idf_"] = np.ravel(diagonal.diagonal())


def fitted_passthrough(written: Written) -> None:
    """Replace "passthrough" by the identity, which 1.4 stores as a FunctionTransformer; replace lists that warn.

    Columns were lists that warned in scikit-learn 1.5 and 1.6; they become plain lists.
    """
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
    """Return the fitted identity on the columns of the transformer called `name`."""
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
    """Return the dtype of the fill values; older imputers stored the dtype of their training rows."""
    return state.get("_fit_dtype", np.asarray(state.get("statistics_", 0.0)).dtype)


def widths_of_encoded(state: State) -> list[int]:
    """Return the number of output columns of each feature, if rare categories are not grouped."""
    dropped = state.get("drop_idx_")
    widths = [len(categories) for categories in state["categories_"]]
    if dropped is None:
        return widths
    return [width - (index is not None) for width, index in zip(widths, dropped, strict=True)]


def newest_encoder(written: Written) -> None:
    """Refuse the encoder mode that treated integers as positions (0.20 and 0.21)."""
    if written.state.get("_legacy_mode") or "n_values_" in written.state:
        raise written.refuse("it encodes integers by their position")


def input_types(state: State) -> Any:
    """Return the dtype of an imputer's training rows, derived from its statistics."""
    return np.asarray(state["statistics_"]).dtype


def mask_of_imputer(written: Written) -> None:
    """Let the indicator inside an imputer use the mask that the imputer passes since 0.24."""
    from sklearn.impute import MissingIndicator

    indicator = written.state.get("indicator_")
    # Only an instance: an attribute of a class would outlast the file.
    if isinstance(indicator, MissingIndicator):
        indicator._precomputed = True


def bounds_by_column(written: Written) -> None:
    """Expand the bounds of fill values to one pair per column; they were one pair for all."""
    statistics = getattr(written.state.get("initial_imputer_"), "statistics_", None)
    for name in ("_min_value", "_max_value"):
        if statistics is not None and isinstance(written.state.get(name), int | float):
            written.state[name] = np.full(len(statistics), float(written.state[name]))


def columns_with_values(state: State) -> Any:
    """Return which columns of the neighbours have a value at all."""
    return ~np.all(np.asarray(state["_mask_fit_X"]), axis=0)


def input_columns(written: Written) -> None:
    """Set which columns each transformer takes, by position, and the columns' names, as fit does since 1.0."""
    state = written.state
    if "transformers_" not in state or "_transformer_to_input_indices" in state:
        return
    import pandas as pd
    from sklearn.utils._indexing import _get_column_indices

    names = state.get("_feature_names_in", state.get("_df_columns"))
    count = state.get("n_features_in_", state.get("_n_features"))
    if names is not None:
        names = np.asarray(names, dtype=object)
        if all(isinstance(name, str) for name in names):
            state.setdefault("feature_names_in_", names)
        rows: Any = pd.DataFrame(columns=names)
    elif isinstance(count, int | np.integer):
        rows = np.zeros((0, int(count)))
    else:
        raise written.refuse("it does not state how many columns it takes")
    state.setdefault("n_features_in_", rows.shape[1])
    state["_transformer_to_input_indices"] = {
        name: [] if columns is None else [int(index) for index in _get_column_indices(rows, _plain(columns))]
        for name, _, columns in state["transformers_"]
    }
    state["transformers_"] = [(name, step, [] if columns is None else columns)
                              for name, step, columns in state["transformers_"]]  # fmt: skip


def powers_of_inputs(written: Written) -> None:
    """Set a polynomial's lowest and highest degree, which were 0 and `degree`."""
    state = written.state
    if not isinstance(state.get("degree"), int) or "n_output_features_" not in state:
        return
    state.setdefault("_min_degree", 0)
    state.setdefault("_max_degree", state["degree"])
    # The constant column is the first one, and omitted without include_bias.
    state.setdefault("_n_out_full", state["n_output_features_"] + (not state.get("include_bias", True)))


def frequencies_alone(written: Written) -> None:
    """Mark a TF-IDF transformer without idf as fitted, since it has no attributes."""
    from sklearn.feature_extraction.text import TfidfTransformer

    from models_registry.artifacts.formats.migrations.former import FrequencyTransformer

    if written.state.get("use_idf") is False and type(written.target) is TfidfTransformer:
        written.become(FrequencyTransformer)


def drop_after_grouping(state: State) -> Any:
    """Return which categories are dropped, not counting rare ones, if rare ones are not grouped."""
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


def mean_imputer(written: Written) -> None:
    """Convert an Imputer of 0.21 and older to a SimpleImputer: it called a missing number "NaN", and had an axis."""
    state = written.state
    if "axis" not in state:
        return
    if state["axis"] != 0:
        raise written.refuse("it fills along its rows (axis=1)")
    del state["axis"]
    if isinstance(state.get("missing_values"), str):
        state["missing_values"] = np.nan
    if "statistics_" in state:
        state["indicator_"] = None


def indicated_columns(written: Written) -> None:
    """Mark all columns if none had a missing value: 0.20 returned all of them then."""
    state = written.state
    features = state.get("features_")
    if written.is_older_than((0, 21)) and features is not None and not len(features):
        state["features_"] = np.arange(int(state["_n_features"]))


def clipped_quantiles(written: Written) -> None:
    """Keep uniform outputs slightly inside 0 and 1, as up to 0.20."""
    from sklearn.preprocessing import QuantileTransformer

    from models_registry.artifacts.formats.migrations.former import ClippedQuantileTransformer

    if written.is_older_than((0, 21)) and type(written.target) is QuantileTransformer:
        written.become(ClippedQuantileTransformer)
