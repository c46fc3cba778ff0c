"""Encoders and expansions: the columns they compute must match the columns they declare.

scikit-learn builds sparse matrices, and arrays to fill, from this state without checks. An index out of range reads or
writes other memory, and an unfilled column returns old memory contents.
"""

from typing import Any

import numpy as np

from models_registry.artifacts.structures.bounds import are_within, refuse

# scikit-learn looks these up in a dictionary, and all others by bisection.
_LOOKED_UP = "OUS"


def check_categories(encoder: Any) -> None:
    """Refuse an encoder whose categories are not sorted, or whose table of rare categories does not fit."""
    categories, features = encoder.categories_, encoder.n_features_in_
    if not isinstance(categories, list) or len(categories) != features:
        raise refuse(f"holds an encoder of {features} features with another number of lists of categories")
    for one in categories:
        if not isinstance(one, np.ndarray) or one.ndim != 1 or not _is_ordered(one):
            raise refuse("holds an encoder whose categories are not sorted")
    for number, table in enumerate(_tables(encoder)):
        if table is not None and (
            not _are_integers(table) or table.shape != categories[number].shape or not are_within(table, len(table))
        ):
            raise refuse("holds an encoder whose table of rare categories points outside of its columns")


def _tables(encoder: Any) -> list[Any]:
    """Return each feature's table that maps its categories, in which rare ones share a column."""
    if not getattr(encoder, "_infrequent_enabled", False):
        return []
    tables, rare = encoder._default_to_infrequent_mappings, encoder._infrequent_indices
    features = encoder.n_features_in_
    if not isinstance(tables, list) or not isinstance(rare, list) or not len(tables) == len(rare) == features:
        raise refuse("holds an encoder with another number of tables of rare categories than of features")
    for found, categories in zip(rare, encoder.categories_, strict=True):
        if found is not None and not (_are_integers(found) and len(found) and are_within(found, len(categories))):
            raise refuse("holds an encoder whose rare categories are not among its categories")
    return tables


def _is_ordered(categories: np.ndarray[Any, Any]) -> bool:
    if categories.dtype.kind in _LOOKED_UP or len(categories) < 2:
        return True
    missing = np.isnan(categories) if categories.dtype.kind == "f" else np.zeros(len(categories), dtype=np.bool_)
    known = categories[:-1] if missing[-1] else categories
    return not missing[: len(known)].any() and bool((known[1:] > known[:-1]).all())


def check_one_hot(encoder: Any) -> None:
    """Refuse a one-hot encoder that writes a category outside of its feature's columns."""
    widths, features = encoder._n_features_outs, encoder.n_features_in_
    if not isinstance(widths, list) or len(widths) != features:
        raise refuse("holds a one-hot encoder with another number of widths than of features")
    tables = _tables(encoder) or [None] * features
    dropped = encoder._drop_idx_after_grouping
    if dropped is not None and np.shape(dropped) != (features,):
        raise refuse("holds a one-hot encoder that drops categories of other features")
    for number, (categories, table, width) in enumerate(zip(encoder.categories_, tables, widths, strict=True)):
        columns = np.arange(len(categories)) if table is None else np.asarray(table)
        drop = None if dropped is None else dropped[number]
        if drop is not None:
            # As in OneHotEncoder.transform: the column is removed, and later columns move up.
            columns = columns[columns != drop]
            columns = columns - (columns > drop)
        if not isinstance(width, int | np.integer) or not are_within(columns, int(width)):
            raise refuse("holds a one-hot encoder that writes categories outside of its columns")


def check_target_encoder(encoder: Any) -> None:
    """Refuse a target encoder that leaves some of its columns uninitialized."""
    each = len(encoder.classes_) if encoder.target_type_ == "multiclass" else 1
    if len(encoder.encodings_) != encoder.n_features_in_ * each:
        raise refuse("holds a target encoder with another number of encodings than of columns")
    if each > 1 and np.shape(encoder.target_mean_) != (each,):
        raise refuse("holds a target encoder with another number of means than of classes")
    for number, encoding in enumerate(encoder.encodings_):
        if np.shape(encoding) != encoder.categories_[number // each].shape:
            raise refuse("holds a target encoder whose encodings do not fit its categories")


def check_polynomial(features: Any) -> None:
    """Refuse polynomial features that declare more columns than they compute."""
    lowest, highest = features._min_degree, features._max_degree

    def count(from_degree: int) -> int:
        return int(
            features._num_combinations(
                features.n_features_in_, from_degree, highest, features.interaction_only, features.include_bias
            )
        )

    if (features._n_out_full, features.n_output_features_) != (count(0), count(lowest)):
        raise refuse("holds polynomial features with another number of columns than are computed")


def check_label_cache(binarizer: Any) -> None:
    """Refuse a binarizer of label sets with columns for unknown labels."""
    cached = getattr(binarizer, "_cached_dict", None)
    if cached is not None and (
        type(cached) is not dict
        or not are_within(np.array(list(cached.values()), dtype=np.int64), len(binarizer.classes_))
    ):
        raise refuse("holds a binarizer of labels whose columns are not those of its classes")


def check_chain(chain: Any) -> None:
    """Refuse a chain of estimators whose order omits one of them."""
    if sorted(np.asarray(chain.order_).tolist()) != list(range(len(chain.estimators_))):
        raise refuse("holds a chain whose order does not list its estimators")


def check_embedding(embedding: Any) -> None:
    """Refuse a locally linear embedding that fills fewer columns than it returns."""
    if np.shape(embedding.embedding_)[1:] != (embedding.n_components,):
        raise refuse("holds an embedding with another number of columns than its output")


def check_bins(binner: Any) -> None:
    """Refuse a discretizer whose bins and encoder have different features."""
    if len(binner.bin_edges_) != binner.n_features_in_ or len(binner.n_bins_) != binner.n_features_in_:
        raise refuse("holds bins for another number of features than it takes")
    encoder = getattr(binner, "_encoder", None)
    if encoder is not None and encoder.n_features_in_ != binner.n_features_in_:
        raise refuse("holds bins whose encoder takes another number of features")


def _are_integers(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "iu"
