"""Changes of decision trees."""

from typing import Any

import numpy as np

from models_registry.artifacts.formats.migrations.change import Written

_MISSING = "missing_go_to_left"


def nodes_without_missing_values(written: Written) -> None:
    """Add the direction of missing values to nodes of 1.2 and older: to the larger child, as training chooses it."""
    from sklearn.tree._tree import NODE_DTYPE

    nodes = written.state.get("nodes")
    names = () if not isinstance(nodes, np.ndarray) else nodes.dtype.names or ()
    if nodes is None or _MISSING in names or {*names, _MISSING} != set(NODE_DTYPE.names):
        return
    full = np.zeros(nodes.shape, dtype=NODE_DTYPE)
    for name in names:
        full[name] = nodes[name]
    full[_MISSING] = _larger_is_left(full)
    written.state["nodes"] = full


def _larger_is_left(nodes: Any) -> Any:
    count, left, right = nodes["n_node_samples"], nodes["left_child"], nodes["right_child"]
    inside = (left >= 0) & (left < len(nodes)) & (right >= 0) & (right < len(nodes))
    is_left = np.zeros(len(nodes), dtype=bool)
    is_left[inside] = count[left[inside]] > count[right[inside]]
    return is_left


def histogram_nodes(written: Written) -> None:
    """Convert a histogram boosting tree of 0.23 and older to today's nodes, without categorical splits."""
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

    nodes = written.state.get("nodes")
    old = () if not isinstance(nodes, np.ndarray) else nodes.dtype.names or ()
    names = {name: "num_threshold" if name == "threshold" else name for name in old}
    added = {"is_categorical", "bitset_idx", _MISSING}
    if nodes is None or {*names.values()} | added != set(PREDICTOR_RECORD_DTYPE.names) or "is_categorical" in old:
        return
    full = np.zeros(nodes.shape, dtype=PREDICTOR_RECORD_DTYPE)
    for name in old:
        full[names[name]] = nodes[name]
    written.state["nodes"] = full
    for name in ("binned_left_cat_bitsets", "raw_left_cat_bitsets"):
        written.state[name] = np.zeros((0, 8), dtype=np.uint32)


def histogram_bins(written: Written) -> None:
    """Rename the bins of histogram boosting of 0.22 and 0.23 to their private name, without categorical ones.

    0.21 refused rows with missing values, which today's trees would accept.
    """
    state = written.state
    if "_predictors" not in state or "_bin_mapper" in state:
        return
    from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper

    mapper: Any = state.get("bin_mapper_")
    # Only an instance: an attribute of a class would outlast the file.
    if type(mapper) is not _BinMapper or not hasattr(mapper, "missing_values_bin_idx_"):
        raise written.refuse("its trees do not handle missing values")
    mapper.is_categorical_ = np.zeros(len(mapper.bin_thresholds_), dtype=np.uint8)
    state["_bin_mapper"] = mapper
    state["is_categorical_"] = state["_is_categorical_remapped"] = None


def counts_to_fractions(written: Written) -> None:
    """Divide the values of a classifier's nodes by their sum, like `predict_proba` of 1.3 and older."""
    value = getattr(written.state.get("tree_"), "value", None)
    if not isinstance(value, np.ndarray) or value.ndim != 3:
        return
    total = value.sum(axis=2, keepdims=True)
    # Nodes without any weight stay zero.
    is_fraction = np.isclose(total, 1.0, rtol=0, atol=1e-6) | (total == 0)
    if not is_fraction.all():
        value /= np.where(total == 0, 1.0, total)
