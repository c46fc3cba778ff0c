"""One TreeEnsemble node for any number of trees.

scikit-learn stores thresholds in float64 and adds the trees' values in order. The operator of ai.onnx.ml 5 does the
same, so predictions are equal to the last bit. The older tree operators return float32, which can change the predicted
class if scores are close.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import NodeProto, helper, numpy_helper

from models_registry.compilation.context import Context, Tensor, Unsupported
from models_registry.compilation.graph import Array

DOMAIN = "ai.onnx.ml"
LESS_OR_EQUAL = 0
SUM = 1
# Above this number, the graph's message approaches protobuf's limit of 2 GB.
MAX_NODES = 20_000_000
# With fewer trees for each target, one node for all targets is faster.
MIN_TREES_BY_TARGET = 32


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree as arrays over its nodes; `value` is the contribution of each leaf to output `target`."""

    feature: Array
    threshold: Array
    left: Array
    right: Array
    missing_left: Array
    is_leaf: Array
    value: Array
    target: int = 0


def of_sklearn(tree: Any, value: Array, *, target: int = 0, features: Array | None = None) -> Tree:
    """Return a `sklearn.tree` tree; `features` maps its columns to the ensemble's if it used a subset."""
    left = np.asarray(tree.children_left, dtype=np.int64)
    is_leaf = left < 0
    feature = np.where(is_leaf, 0, tree.feature)
    return Tree(
        feature=feature if features is None else np.asarray(features)[feature],
        threshold=np.asarray(tree.threshold, dtype=np.float64),
        left=left,
        right=np.asarray(tree.children_right, dtype=np.int64),
        missing_left=np.asarray(tree.missing_go_to_left, dtype=np.int64),
        is_leaf=is_leaf,
        value=np.asarray(value, dtype=np.float64),
        target=target,
    )


def constant_tree(value: float, target: int = 0) -> Tree:
    """Return a tree that adds `value` to every row: the initial prediction of boosting."""
    zero = np.zeros(1, dtype=np.int64)
    return Tree(zero, np.zeros(1), zero - 1, zero - 1, zero, zero == 0, np.array([value]), target)


def add_up(context: Context, tensor: Tensor, trees: Sequence[Tree], targets: int, *, in_float32: bool = False) -> str:
    """Return the sum of the trees for each target, added in the given order, shape (rows, targets).

    With `in_float32`, inputs, thresholds and sums are rounded to float32, like in XGBoost.
    """
    for tree in trees:
        inner = ~tree.is_leaf
        context.remember_thresholds(tensor, tree.feature[inner], tree.threshold[inner])
    graph = context.graph
    name, dtype = (graph.as_float32(tensor.name), np.float32) if in_float32 else (tensor.name, np.float64)
    groups = _by_target(trees, targets)
    sums = graph.concat([graph.append(_node(name, group, width, dtype)) for group, width in groups])
    return graph.as_float64(sums) if in_float32 else sums


def _by_target(trees: Sequence[Tree], targets: int) -> list[tuple[Sequence[Tree], int]]:
    """Return the trees of each node of the graph, and its number of targets.

    With one target, the operator is a fifth faster than with several. Each further node costs as much as several trees.
    """
    if targets == 1 or len(trees) < MIN_TREES_BY_TARGET * targets:
        return [(trees, targets)]
    groups: list[list[Tree]] = [[] for _ in range(targets)]
    for tree in trees:
        groups[tree.target].append(replace(tree, target=0))
    return [(group, 1) for group in groups]


def rows_of_leaves(context: Context, tensor: Tensor, trees: Sequence[Tree], tables: Sequence[Array]) -> str:
    """Return for each tree the table row of the reached leaf, shape (rows, trees, width).

    Each leaf is in the ensemble once, with any number of values. The trees return the positions of leaves, which are
    exact in float64, and a gather reads the values.
    """
    starts = np.cumsum([0, *map(len, tables[:-1])])
    numbered = [
        Tree(
            tree.feature,
            tree.threshold,
            tree.left,
            tree.right,
            tree.missing_left,
            tree.is_leaf,
            start + np.arange(len(table), dtype=np.float64),
            position,
        )
        for position, (tree, table, start) in enumerate(zip(trees, tables, starts, strict=True))
    ]
    leaves = context.graph.as_int64(add_up(context, tensor, numbered, len(trees)))
    table = np.concatenate(tables)
    context.needs(8 * len(trees) * (table.shape[1] + 2))
    return context.graph.op("Gather", context.graph.constant(table), leaves, axis=0)


def sum_of_leaves(context: Context, tensor: Tensor, trees: Sequence[Tree], tables: Sequence[Array]) -> str:
    """Return the leaves' table rows, added in the trees' order, shape (rows, width)."""
    return context.graph.total(rows_of_leaves(context, tensor, trees, tables), 1, keep=False)


def _node(name: str, trees: Sequence[Tree], targets: int, dtype: Any) -> NodeProto:
    """Return the operator; a tree with a single leaf gets a node with both branches to that leaf."""
    nodes = sum(len(tree.left) for tree in trees)
    if nodes > MAX_NODES:
        raise Unsupported(f"its trees have {nodes:,} nodes; one graph can hold at most {MAX_NODES:,}")
    parts: list[dict[str, Array]] = []
    inner_start = leaf_start = 0
    for tree in trees:
        part = _numbered(tree, inner_start, leaf_start)
        inner_start += len(part["nodes_featureids"])
        leaf_start += len(part["leaf_weights"])
        parts.append(part)
    merged = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    node: NodeProto = helper.make_node(
        "TreeEnsemble",
        [name],
        ["unnamed"],
        domain=DOMAIN,
        n_targets=targets,
        aggregate_function=SUM,
        post_transform=0,
        nodes_splits=numpy_helper.from_array(merged.pop("nodes_splits").astype(dtype)),
        leaf_weights=numpy_helper.from_array(merged.pop("leaf_weights").astype(dtype)),
        nodes_modes=numpy_helper.from_array(np.full(inner_start, LESS_OR_EQUAL, dtype=np.uint8)),
    )
    for key, values in merged.items():
        attribute = node.attribute.add(name=key, type=7)  # AttributeProto.INTS, without a check of each value
        attribute.ints.extend(values.tolist())
    return node


def _numbered(tree: Tree, inner_start: int, leaf_start: int) -> dict[str, Array]:
    """Return a tree's part of the attributes, with inner nodes and leaves numbered separately."""
    leaf = tree.is_leaf
    leaves = {
        "leaf_targetids": np.full(int(leaf.sum()), tree.target, dtype=np.int64),
        "leaf_weights": tree.value[leaf],
        "tree_roots": np.array([inner_start]),
    }
    if leaf[0]:
        start, ones = np.array([leaf_start]), np.ones(1, dtype=np.int64)
        return leaves | {
            "nodes_featureids": ones * 0,
            "nodes_splits": np.zeros(1),
            "nodes_missing_value_tracks_true": ones * 0,
            "nodes_truenodeids": start,
            "nodes_falsenodeids": start,
            "nodes_trueleafs": ones,
            "nodes_falseleafs": ones,
        }
    number = np.where(leaf, leaf_start + np.cumsum(leaf) - 1, inner_start + np.cumsum(~leaf) - 1)
    left, right = tree.left[~leaf], tree.right[~leaf]
    return leaves | {
        "nodes_featureids": tree.feature[~leaf].astype(np.int64),
        "nodes_splits": tree.threshold[~leaf],
        "nodes_missing_value_tracks_true": tree.missing_left[~leaf].astype(np.int64),
        "nodes_truenodeids": number[left],
        "nodes_falsenodeids": number[right],
        "nodes_trueleafs": leaf[left].astype(np.int64),
        "nodes_falseleafs": leaf[right].astype(np.int64),
    }
