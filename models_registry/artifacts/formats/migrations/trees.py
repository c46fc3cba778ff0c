"""Decision trees."""

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


def counts_to_fractions(written: Written) -> None:
    """Divide the values of a classifier's nodes by their sum, as `predict_proba` of 1.3 and older did."""
    value = getattr(written.state.get("tree_"), "value", None)
    if not isinstance(value, np.ndarray) or value.ndim != 3:
        return
    total = value.sum(axis=2, keepdims=True)
    # Nodes without any weight stay zero.
    is_fraction = np.isclose(total, 1.0, rtol=0, atol=1e-6) | (total == 0)
    if not is_fraction.all():
        value /= np.where(total == 0, 1.0, total)
