"""All trees of a boosted model in a few arrays: validated once, then evaluated for many rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_registry.artifacts.structures.bounds import are_within, refuse

Array = NDArray[Any]

MAX_NODES = 50_000_000
# Deeper than any trained tree; each level is a step of every prediction.
MAX_DEPTH = 4_096
# A set of categories is stored as 32-bit words; a float32 holds whole numbers exactly up to 2^24.
MAX_CATEGORY = 1 << 24
# Values that take the default direction of a node.
MISSING_NAN, MISSING_ZERO, MISSING_NONE = 0, 1, 2
# LightGBM's kZeroThreshold (include/LightGBM/meta.h).
ZERO = float(np.float32(1e-35))
BELOW_ZERO = float(np.nextafter(0.0, -1.0))
# Words of all category sets together: 64 MB.
MAX_WORDS = 16_000_000
WALKED_AT_ONCE = 400_000


@dataclass(frozen=True, slots=True)
class TreeNodes:
    """A decoded tree before validation; arrays over its nodes, where node 0 is the root.

    A leaf has no children (`is_leaf`). Values up to and including `threshold` go left. `categories` maps a node to the
    sorted categories of its set. `linear` maps a leaf to a constant, features and coefficients, for leaves with a
    linear function. `cover` is the weight of the training rows in a node; None if the file has none.
    """

    left: Array
    right: Array
    is_leaf: Array
    feature: Array
    threshold: Array
    missing_left: Array
    missing: Array
    value: Array
    target: int = 0
    categories: dict[int, Array] = field(default_factory=dict)
    linear: dict[int, tuple[float, Array, Array]] = field(default_factory=dict)
    cover: Array | None = None


@dataclass(frozen=True, slots=True)
class Forest:
    """Validated trees with consecutive node numbers; a child always has a higher number than its parent.

    Both children of a leaf are the leaf itself, so further steps stay there. Tree `t` has the nodes from `starts[t]` to
    `starts[t + 1]`. `words[set_start[n]:][:set_words[n]]` is the bit set of a categorical node, of at least one word.
    `cover` has the nodes' covers; None if any tree has none.
    """

    starts: Array
    left: Array
    right: Array
    is_leaf: Array
    feature: Array
    threshold: Array
    missing_left: Array
    missing: Array
    value: Array
    targets: Array
    set_start: Array
    set_words: Array
    words: Array
    depth: int
    linear: dict[int, tuple[float, Array, Array]]
    cover: Array | None

    @property
    def n_trees(self) -> int:
        """The number of trees."""
        return len(self.starts) - 1

    @property
    def has_sets(self) -> bool:
        """Whether any node has a categorical split."""
        return bool(self.words.size)

    def categories_of(self, node: int) -> Array:
        """Return the sorted categories in a node's set."""
        words = self.words[self.set_start[node] : self.set_start[node] + self.set_words[node]]
        return np.flatnonzero(bits_of(words))

    def leaves(self, rows: Array, *, set_goes_left: bool) -> Array:
        """Return the node number of each row's leaf in each tree, shape (rows, trees)."""
        answer = np.empty((len(rows), self.n_trees), dtype=np.int64)
        step = max(1, WALKED_AT_ONCE // max(1, self.n_trees))
        for start in range(0, len(rows), step):
            answer[start : start + step] = self._walk(rows[start : start + step], set_goes_left=set_goes_left)
        return answer

    def _walk(self, rows: Array, *, set_goes_left: bool) -> Array:
        number = np.arange(len(rows))[:, None]
        node: Array = np.broadcast_to(self.starts[:-1], (len(rows), self.n_trees))
        for _ in range(self.depth):
            value = rows[number, self.feature[node]]
            goes_left = self.goes_left(value, node, set_goes_left=set_goes_left)
            node = np.where(goes_left, self.left[node], self.right[node])
        return node

    def goes_left(self, value: Array, node: Array, *, set_goes_left: bool) -> Array:
        """Return whether a row with each value of the feature of `node` goes left."""
        missing = np.isnan(value)
        left = self.missing_left[node]
        if self.missing.any():
            kind = self.missing[node]
            value = np.where(missing & (kind != MISSING_NAN), 0.0, value)
            missing = np.where(kind == MISSING_ZERO, np.abs(value) <= ZERO, missing & (kind == MISSING_NAN))
        by_value = value <= self.threshold[node]
        if self.has_sets:
            # LightGBM truncates -0.5 to category 0; XGBoost treats it as no category.
            by_set = self._in_set(node, value, lowest=-1.0 if set_goes_left else BELOW_ZERO) == set_goes_left
            by_value = np.where(self.set_words[node] > 0, by_set, by_value)
        return np.where(missing, left, by_value)

    def _in_set(self, node: Array, value: Array, *, lowest: float) -> Array:
        """Return whether each value, truncated to an integer, is in its node's set; other values are not."""
        known = (value > lowest) & (value < MAX_CATEGORY)
        category = np.where(known, value, 0.0).astype(np.int64)
        word = category >> 5
        known &= word < self.set_words[node]
        place = np.where(known, self.set_start[node] + word, 0)
        bits = self.words[place] >> (category & 31).astype(np.uint32)
        return np.asarray(known & ((bits & 1) != 0))


def plant(trees: Sequence[TreeNodes], *, n_features: int, n_targets: int) -> Forest:
    """Return validated trees as a forest.

    Raises UnsafeStructure if a node points outside of its tree, or if two nodes point at the same node. It is also
    raised for a feature or an output that does not exist, and for impossible categories.
    """
    sizes = np.array([len(tree.left) for tree in trees], dtype=np.int64)
    if not len(trees) or not sizes.all():
        raise refuse("holds a model without trees, or a tree without nodes")
    if int(sizes.sum()) > MAX_NODES:
        raise refuse(f"holds trees of {int(sizes.sum())} nodes; at most {MAX_NODES} are served")
    _check_shapes(trees)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    owner = np.repeat(np.arange(len(trees)), sizes)
    is_leaf = _joined(trees, "is_leaf", bool)
    left, right = _joined(trees, "left", np.int64), _joined(trees, "right", np.int64)
    inner = ~is_leaf
    for side in (left, right):
        if not ((side >= 0) & (side < sizes[owner]))[inner].all():
            raise refuse("holds a tree whose nodes point outside of it")
    number = np.arange(len(owner))
    left = np.where(is_leaf, number, left + starts[owner])
    right = np.where(is_leaf, number, right + starts[owner])
    order, depth = _by_level(starts[:-1], left, right, is_leaf)
    # Sorted by tree, then by level: so children come after their parents.
    order = order[np.argsort(owner[order], kind="stable")]
    renumbered = np.full(len(owner), -1, dtype=np.int64)
    renumbered[order] = np.arange(len(order))
    feature = np.where(is_leaf, 0, _joined(trees, "feature", np.int64))[order]
    if not are_within(feature[~is_leaf[order]], n_features):
        raise refuse(f"holds a tree that uses a feature outside of its {n_features} features")
    targets = np.array([tree.target for tree in trees], dtype=np.int64)
    if not are_within(targets, n_targets):
        raise refuse(f"holds a tree that adds to an output outside of its {n_targets} outputs")
    set_start, set_words, words = _sets(trees, starts, is_leaf)
    return Forest(
        starts=np.concatenate([[0], np.cumsum(np.bincount(owner[order], minlength=len(trees)))]),
        left=renumbered[left[order]],
        right=renumbered[right[order]],
        is_leaf=is_leaf[order],
        feature=feature,
        threshold=_joined(trees, "threshold", np.float64)[order],
        missing_left=_joined(trees, "missing_left", bool)[order],
        missing=_joined(trees, "missing", np.uint8)[order],
        value=_values(trees, is_leaf)[order],
        targets=targets,
        set_start=set_start[order],
        set_words=set_words[order],
        words=words,
        depth=depth,
        linear=_linear(trees, starts, renumbered, is_leaf, n_features),
        cover=_cover(trees, order),
    )


def _check_shapes(trees: Sequence[TreeNodes]) -> None:
    names = ("left", "right", "is_leaf", "feature", "threshold", "missing_left", "missing", "value")
    for tree in trees:
        if any(getattr(tree, name).shape != tree.left.shape for name in names) or tree.left.ndim != 1:
            raise refuse("holds a tree whose arrays are of different lengths")


def _joined(trees: Sequence[TreeNodes], name: str, dtype: Any) -> Array:
    return np.concatenate([getattr(tree, name) for tree in trees]).astype(dtype)


def _cover(trees: Sequence[TreeNodes], order: Array) -> Array | None:
    """Return the nodes' cover; None if a tree's cover is missing or impossible: predictions do not need it."""
    parts = [tree.cover for tree in trees if tree.cover is not None and tree.cover.shape == tree.left.shape]
    cover = np.concatenate(parts).astype(np.float64) if len(parts) == len(trees) else None
    return None if cover is None or not (np.isfinite(cover) & (cover >= 0)).all() else np.asarray(cover[order])


def _values(trees: Sequence[TreeNodes], is_leaf: Array) -> Array:
    values = _joined(trees, "value", np.float64)
    if not np.isfinite(values[is_leaf]).all():
        raise refuse("holds a leaf whose value is not a finite number")
    return np.where(is_leaf, values, 0.0)


def _by_level(roots: Array, left: Array, right: Array, is_leaf: Array) -> tuple[Array, int]:
    """Return the reachable nodes, level by level, and the number of levels below the root."""
    seen = np.zeros(len(left), dtype=bool)
    seen[roots] = True
    level, order, depth = roots, [roots], 0
    while True:
        inner = level[~is_leaf[level]]
        if not inner.size:
            return np.concatenate(order), depth
        level = np.concatenate([left[inner], right[inner]])
        depth += 1
        if depth > MAX_DEPTH:
            raise refuse(f"holds a tree of more than {MAX_DEPTH} levels")
        if seen[level].any() or len(np.unique(level)) < len(level):
            raise refuse("holds a tree whose nodes form a circle, or point twice at the same node")
        seen[level] = True
        order.append(level)


def _sets(trees: Sequence[TreeNodes], starts: Array, is_leaf: Array) -> tuple[Array, Array, Array]:
    """Return the start and the number of words of each node's category set, and the words of all sets."""
    set_start = np.zeros(len(is_leaf), dtype=np.int64)
    set_words = np.zeros(len(is_leaf), dtype=np.int64)
    words: list[Array] = []
    length = 0
    for tree, start in zip(trees, starts[:-1], strict=True):
        for node, categories in tree.categories.items():
            if not 0 <= node < len(tree.left) or tree.is_leaf[node]:
                raise refuse("holds a set of categories that belongs to no split")
            if len(categories) and not 0 <= int(categories.min()) <= int(categories.max()) < MAX_CATEGORY:
                raise refuse(f"holds a category outside of 0 to {MAX_CATEGORY}")
            size = (int(categories.max()) >> 5) + 1 if len(categories) else 1
            set_start[start + node], set_words[start + node] = length, size
            length += size
            if length > MAX_WORDS:
                raise refuse(f"holds sets of categories of more than {MAX_WORDS} words")
            words.append(_bit_set(categories, size))
    return set_start, set_words, np.concatenate(words) if words else np.zeros(0, dtype=np.uint32)


def bits_of(words: Array) -> Array:
    """Return the bits of 32-bit words, lowest first, shape `(32 * n_words,)`."""
    shifts = np.arange(32, dtype=np.uint32)
    return ((np.asarray(words, dtype=np.uint32)[:, None] >> shifts) & 1).ravel().astype(bool)


def _bit_set(categories: Array, size: int) -> Array:
    """Return a set as `size` 32-bit words, lowest first."""
    words = np.zeros(size, dtype=np.uint32)
    np.bitwise_or.at(words, categories >> 5, np.uint32(1) << (categories & 31).astype(np.uint32))
    return words


def _linear(
    trees: Sequence[TreeNodes], starts: Array, renumbered: Array, is_leaf: Array, n_features: int
) -> dict[int, tuple[float, Array, Array]]:
    found: dict[int, tuple[float, Array, Array]] = {}
    for tree, start in zip(trees, starts[:-1], strict=True):
        for node, (constant, features, coefficients) in tree.linear.items():
            if not is_leaf[start + node] or features.shape != coefficients.shape:
                raise refuse("holds a leaf whose linear function has another number of features than coefficients")
            if not are_within(features, n_features):
                raise refuse(f"holds a leaf that uses a feature outside of its {n_features} features")
            if not np.isfinite(coefficients).all() or not np.isfinite(constant):
                raise refuse("holds a leaf whose coefficients are not finite numbers")
            if renumbered[start + node] >= 0:
                found[int(renumbered[start + node])] = (constant, features, coefficients)
    return found
