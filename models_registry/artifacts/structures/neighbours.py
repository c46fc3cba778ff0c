"""KD-trees, ball trees, and the estimators that search for neighbours."""

from typing import Any

import numpy as np
import scipy.sparse

from models_registry.artifacts.structures import callables
from models_registry.artifacts.structures.bounds import are_within, refuse

_PLANE = 2


def check_neighbour_tree(tree: Any) -> None:
    """Refuse a KD-tree or ball tree with nodes or indices outside of its data."""
    state = tree.__getstate__()
    data, indices, nodes, bounds = (np.asarray(part) for part in state[:4])
    count, features = data.shape
    if indices.shape != (count,) or not are_within(indices, count):
        raise refuse("holds a tree of neighbours whose indices point outside of its data")
    _check_nodes(nodes, count, claimed=state[6])
    sides = 2 if type(tree).__name__.startswith("KD") else 1
    if bounds.shape != (sides, len(nodes), features):
        raise refuse("holds a tree of neighbours whose bounds do not fit its nodes")
    if state[4] < 1:
        raise refuse("holds a tree of neighbours with empty leaves")
    weights = state[12]
    if weights is not None and np.asarray(weights).shape != (count,):
        raise refuse("holds a tree of neighbours whose weights do not fit its data")
    check_distance(state[11], features)


def _check_nodes(nodes: np.ndarray[Any, Any], count: int, *, claimed: int) -> None:
    if not len(nodes) or claimed != len(nodes):
        raise refuse("holds a tree of neighbours with another number of nodes than it declares")
    start, end = nodes["idx_start"], nodes["idx_end"]
    if not ((start >= 0) & (start <= end) & (end <= count)).all():
        raise refuse("holds a tree of neighbours whose nodes reach outside of its data")
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    if len(inner) and 2 * inner[-1] + 2 >= len(nodes):
        raise refuse("holds a tree of neighbours whose nodes point outside of it")


def check_distance(metric: Any, features: int) -> None:
    """Refuse a distance whose weights or matrix do not fit the number of features."""
    name = type(metric).__name__
    if name.startswith("PyFunc"):
        # The distance is called with arrays that are views of the tree's own memory.
        callables.check_measure(*metric.__getstate__()[3:5])
    vector, matrix = (np.asarray(part) for part in metric.__getstate__()[1:3])
    fits = {
        "SEuclidean": vector.shape == (features,),
        "Minkowski": vector.shape in {(0,), (features,)},
        "Mahalanobis": matrix.shape == (features, features),
        "Haversine": features == _PLANE,
    }
    if not all(fit for start, fit in fits.items() if name.startswith(start)):
        raise refuse(f"holds a {name} that does not fit its {features} features")


def check_neighbours(estimator: Any) -> None:
    """Refuse an estimator whose stored rows and labels do not match."""
    rows = estimator._fit_X
    if getattr(estimator, "effective_metric_", "") != "precomputed" and rows.shape[1] != estimator.n_features_in_:
        raise refuse(
            f"holds neighbours of {rows.shape[1]} features in an estimator of {estimator.n_features_in_} features"
        )
    if estimator.n_samples_fit_ != rows.shape[0]:
        raise refuse("holds another number of neighbours than it declares")
    labels = getattr(estimator, "_y", None)
    if labels is None or not hasattr(estimator, "classes_"):
        return
    labels = np.asarray(labels)
    classes = estimator.classes_ if isinstance(estimator.classes_, list) else [estimator.classes_]
    columns = labels.reshape(len(labels), -1)
    if len(labels) != rows.shape[0] or columns.shape[1] != len(classes):
        raise refuse("holds neighbours with too few labels")
    if not all(are_within(columns[:, number], len(one)) for number, one in enumerate(classes)):
        raise refuse("holds neighbours with a label outside of its classes")


def check_centres(estimator: Any) -> None:
    """Refuse cluster centres with another number of features than the estimator takes."""
    for name in ("cluster_centers_", "subcluster_centers_", "centroids_"):
        centres: Any = getattr(estimator, name, None)
        features = getattr(estimator, "n_features_in_", None)
        plain = centres is None or scipy.sparse.issparse(centres) or features is None
        if not plain and (np.ndim(centres) != _PLANE or np.shape(centres)[1] != features):
            raise refuse(f"holds centres of shape {np.shape(centres)} in an estimator of {features} features")
    norms: Any = getattr(estimator, "_subcluster_norms", None)
    if norms is not None and np.shape(norms) != (len(estimator.subcluster_centers_),):
        raise refuse("holds another number of centres than of their lengths")


def check_bisecting_tree(node: Any, features: int) -> None:
    """Refuse a tree of clusters in which a centre has another number of features."""
    waiting, seen = [node], set()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            raise refuse("holds a tree of clusters whose nodes form a circle")
        seen.add(id(current))
        if np.shape(current.center) != (features,):
            raise refuse("holds a centre of a cluster with another number of features")
        waiting.extend(child for child in (current.left, current.right) if child is not None)
