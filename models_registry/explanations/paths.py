"""Path-dependent TreeSHAP for many rows and leaves at a time.

The method is `tree_path_dependent` of the package shap. Its source is Lundberg et al., "From local explanations to
global understanding with explainable AI for trees", 2020. At a split on an unknown feature, a row goes both ways. Each
way has the weight of its share of the training rows (the nodes' cover).

A leaf contributes the product of one factor for each feature on its path. The factor of a known feature is 1 if the
row passes its splits, else 0. The factor of an unknown feature is the share of the cover. A Shapley value averages over
all sets of known features. This average is an integral over t from 0 to 1, where each feature is known with
probability t. The integrand is a polynomial, so Gauss-Legendre quadrature with enough points is exact, except for
rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

Array = NDArray[Any]

ROWS_AT_ONCE = 256
# Features on one path. They need half as many points, and numpy guarantees the quadrature up to 100 points.
MAX_SLOTS = 200
# Numbers in the largest intermediate arrays: 8 MB each.
CELLS_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class TreeEnsemble:
    """Trees whose leaves are added up, with consecutive node numbers.

    `left`, `right`, `feature` and `cover` have shape (nodes,). `leaves` holds the leaves' node numbers, `values`, of
    shape (leaves, outputs), their contributions. `roots` are the trees' first nodes, and `base`, of shape (outputs,),
    is the initial prediction. `goes_left` takes rows and the numbers of
    inner nodes. It returns whether each row goes left at each node, shape (rows, nodes).
    """

    left: Array
    right: Array
    feature: Array
    cover: Array
    roots: Array
    leaves: Array
    values: Array
    base: Array
    goes_left: Callable[[Array, Array], Array]


@dataclass(frozen=True, slots=True)
class Ancestry:
    """The parent of each node, and its depth; the parent of a root is -1."""

    parent: Array
    depth: Array


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths to some leaves: splits by (steps, leaves), features by (slots, leaves).

    Each feature of a path has one slot, however many splits it has. Unused steps have the node -1, unused slots the
    feature -1 and the share 1. `slot` has the slot of each step, `is_left` the side that leads to the leaf.
    """

    node: Array
    is_left: Array
    slot: Array
    feature: Array
    share: Array


def ancestry(ensemble: TreeEnsemble) -> Ancestry:
    """Return the parents and depths of all nodes."""
    count = len(ensemble.left)
    parent = np.full(count, -1, dtype=np.int64)
    depth = np.zeros(count, dtype=np.int64)
    is_leaf = np.zeros(count, dtype=bool)
    is_leaf[ensemble.leaves] = True
    level = ensemble.roots
    while level.size:
        inner = level[~is_leaf[level]]
        children = np.concatenate([ensemble.left[inner], ensemble.right[inner]])
        parent[children] = np.concatenate([inner, inner])
        depth[children] = depth[parent[children]] + 1
        level = children
    return Ancestry(parent, depth)


def cost(ensemble: TreeEnsemble, above: Ancestry, n_columns: int) -> int:
    """Return the number of computation steps for one row: each leaf's splits, and its slots at each point."""
    depth = above.depth[ensemble.leaves]
    slots = np.minimum(depth, n_columns)
    return int((depth + slots * ((slots + 1) // 2)).sum())


def has_long_path(above: Ancestry, n_columns: int) -> bool:
    """Return whether a path may have more features than the quadrature can handle exactly."""
    return min(int(above.depth.max()), n_columns) > MAX_SLOTS


def expected_value(ensemble: TreeEnsemble, above: Ancestry) -> Array:
    """Return the trees' mean prediction over the training rows, by their cover, shape (outputs,)."""
    share = np.ones(len(ensemble.left))
    order = np.argsort(above.depth, kind="stable")
    for level in np.split(order, np.cumsum(np.bincount(above.depth))[:-1])[1:]:
        share[level] = share[above.parent[level]] * _share(ensemble.cover, level, above.parent[level])
    return np.asarray(ensemble.base + share[ensemble.leaves] @ ensemble.values)


def answers(ensemble: TreeEnsemble, rows: Array) -> Array:
    """Return the sums of the rows' leaves, including the base, shape (rows, outputs)."""
    place = np.zeros(len(ensemble.left), dtype=np.int64)
    place[ensemble.leaves] = np.arange(len(ensemble.leaves))
    is_inner = np.ones(len(ensemble.left), dtype=bool)
    is_inner[ensemble.leaves] = False
    total = np.tile(ensemble.base, (len(rows), 1))
    for number, row in enumerate(rows):
        node = ensemble.roots.copy()
        while is_inner[node].any():
            on = is_inner[node]
            goes_left = ensemble.goes_left(row[None], node[on])[0]
            node[on] = np.where(goes_left, ensemble.left[node[on]], ensemble.right[node[on]])
        total[number] += ensemble.values[place[node]].sum(axis=0)
    return total


def contributions(ensemble: TreeEnsemble, above: Ancestry, rows: Array, owners: Array, n_inputs: int) -> Array:
    """Return each input feature's contribution relative to the expected value, shape (rows, outputs, inputs).

    `owners` has the input feature of each column of `rows`.
    """
    outputs = ensemble.values.shape[1]
    answer = np.zeros((len(rows), outputs, n_inputs))
    order = np.argsort(above.depth[ensemble.leaves], kind="stable")
    order = order[np.searchsorted(above.depth[ensemble.leaves][order], 1) :]
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        total = np.zeros((outputs * n_inputs, len(part)))
        for chosen in _portions(order, above.depth[ensemble.leaves], part):
            paths = _paths(ensemble, above, ensemble.leaves[chosen], n_columns=rows.shape[1])
            moved = _moved(paths, _passes(ensemble, paths, part))
            total += _by_input(paths, ensemble.values[chosen], owners, n_inputs) @ moved.reshape(-1, len(part))
        answer[start : start + len(part)] = total.T.reshape(len(part), outputs, n_inputs)
    return answer


def _portions(order: Array, depth: Array, rows: Array) -> Iterator[Array]:
    """Yield leaves in batches that fit into memory, shallow leaves first."""
    start = 0
    while start < len(order):
        # The deepest leaf of a batch sets its size: take as many as the shallowest would allow, then cut.
        stop = start + _fitting(int(depth[order[start]]), rows)
        stop = start + _fitting(int(depth[order[min(stop, len(order)) - 1]]), rows)
        yield order[start:stop]
        start = stop


def _fitting(depth: int, rows: Array) -> int:
    slots = min(depth, int(rows.shape[1]))
    return max(1, CELLS_AT_ONCE // (len(rows) * max(depth, slots * ((slots + 1) // 2))))


def _share(cover: Array, node: Array, parent: Array) -> Array:
    """Return each node's share of its parent's cover; 0 if the parent has none."""
    of_parent = cover[parent]
    return np.divide(cover[node], of_parent, out=np.zeros(len(node)), where=of_parent > 0)


def _paths(ensemble: TreeEnsemble, above: Ancestry, leaves: Array, *, n_columns: int) -> Paths:
    steps, count = int(above.depth[leaves].max()), len(leaves)
    node = np.full((steps, count), -1, dtype=np.int64)
    is_left = np.zeros((steps, count), dtype=bool)
    slot = np.zeros((steps, count), dtype=np.int64)
    feature = np.full((min(steps, n_columns), count), -1, dtype=np.int64)
    share = np.ones(feature.shape)
    used = np.zeros(count, dtype=np.int64)
    at = leaves.copy()
    for step in range(steps):
        on = np.flatnonzero(above.parent[at] >= 0)
        child, parent = at[on], above.parent[at[on]]
        node[step, on], is_left[step, on] = parent, ensemble.left[parent] == child
        asked = ensemble.feature[parent]
        found = feature[:, on] == asked
        place = np.where(found.any(axis=0), found.argmax(axis=0), used[on])
        used[on] = np.maximum(used[on], place + 1)
        slot[step, on], feature[place, on] = place, asked
        share[place, on] *= _share(ensemble.cover, child, parent)
        at[on] = parent
    slots = int(used.max())
    return Paths(node, is_left, slot, feature[:slots], share[:slots])


def _passes(ensemble: TreeEnsemble, paths: Paths, rows: Array) -> Array:
    """Return whether a row passes all of a path's splits on one feature, shape (slots, leaves, rows)."""
    passes = np.ones((*paths.feature.shape, len(rows)), dtype=bool)
    nodes, position = np.unique(paths.node, return_inverse=True)
    position = position.reshape(paths.node.shape)
    decided = ensemble.goes_left(rows, np.maximum(nodes, 0)).T
    leaf = np.arange(paths.node.shape[1])
    for step in range(len(paths.node)):
        agrees = decided[position[step]] == paths.is_left[step][:, None]
        passes[paths.slot[step], leaf] &= agrees | (paths.node[step] < 0)[:, None]
    return passes


def _moved(paths: Paths, passes: Array) -> Array:
    """Return the share of a leaf's value that each feature of its path contributes, shape (slots, leaves, rows)."""
    slots = len(paths.feature)
    # A polynomial of degree slots - 1 needs half as many points.
    points, weights = _quadrature((slots + 1) // 2)
    known = (points + 1)[:, None, None] / 2
    factors = [known * passes[slot] + (1 - known) * paths.share[slot][:, None] for slot in range(slots)]
    moved = np.empty(passes.shape)
    before: list[Any] = [1.0]
    for factor in factors[:-1]:
        before.append(before[-1] * factor)
    after: Any = 1.0
    for slot in range(slots - 1, -1, -1):
        others = np.broadcast_to(before[slot] * after, (len(points), *passes.shape[1:]))
        moved[slot] = np.tensordot(weights / 2, others, 1) * (passes[slot] - paths.share[slot][:, None])
        after = after * factors[slot]
    return moved


@lru_cache(maxsize=MAX_SLOTS)
def _quadrature(count: int) -> tuple[Array, Array]:
    return np.polynomial.legendre.leggauss(count)


def _by_input(paths: Paths, values: Array, owners: Array, n_inputs: int) -> Any:
    """Return the matrix that adds the leaves' values by input feature, (outputs × inputs, slots × leaves)."""
    slot, leaf = np.nonzero(paths.feature >= 0)
    owner = owners[paths.feature[slot, leaf]]
    column = slot * paths.feature.shape[1] + leaf
    outputs = values.shape[1]
    row = (np.arange(outputs)[:, None] * n_inputs + owner).ravel()
    data = values[leaf].T.ravel()
    shape = (outputs * n_inputs, paths.feature.size)
    return scipy.sparse.csr_matrix((data, (row, np.tile(column, outputs))), shape=shape)
