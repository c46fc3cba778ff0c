"""Checks the trees in an ONNX graph: onnxruntime never returns from a cycle of nodes.

The load test detects only a cycle that its own rows reach.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.int64]]

# ai.onnx.ml 1 and 3: nodes and leaves in one list, by tree id and node id.
BY_IDS = frozenset({"TreeEnsembleClassifier", "TreeEnsembleRegressor"})
# ai.onnx.ml 5: nodes and leaves by their positions in two lists.
BY_PLACES = "TreeEnsemble"
LEAF = b"LEAF"


def trees_problem(node: Any) -> str | None:
    """Return the problem of the trees in a graph's node as a sentence; None for valid trees and other nodes."""
    if node.op_type not in {*BY_IDS, BY_PLACES}:
        return None
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if len(attributes) != len(node.attribute):
        return _problem(node, "name an attribute twice")
    if any(attribute.ref_attr_name for attribute in node.attribute):
        return _problem(node, "are parameters of a function, so they cannot be checked")
    found = _by_places(attributes) if node.op_type == BY_PLACES else _by_ids(attributes)
    if isinstance(found, str):
        return _problem(node, found)
    return _problem(node, "lead back to themselves, so a prediction would never end") if _has_cycle(*found) else None


def _problem(node: Any, what: str) -> str:
    return f"The trees of the artifact's node {node.op_type} {what}. Export the model again."


def _by_ids(attributes: dict[str, Any]) -> tuple[Array, Array] | str:
    """Return two arrays, the positions of node and child for each edge, or a text: the problem."""
    names = ("nodes_treeids", "nodes_nodeids", "nodes_truenodeids", "nodes_falsenodeids")
    trees, nodes, *children = (_integers(attributes, name) for name in names)
    modes = attributes["nodes_modes"].strings if "nodes_modes" in attributes else ()
    if len({len(trees), len(nodes), len(modes), *map(len, children)}) != 1:
        return "have attributes of different lengths"
    is_branch = np.fromiter((mode != LEAF for mode in modes), dtype=np.bool_, count=len(modes))
    parents = np.flatnonzero(is_branch)
    # Ids are arbitrary integers: ranks combine tree id and node id into one number.
    tree_ranks = np.unique(trees, return_inverse=True)[1]
    ids, ranks = np.unique(np.concatenate([nodes, *children]), return_inverse=True)
    own, *others = (tree_ranks * len(ids) + part for part in np.split(ranks, 3))
    order = np.argsort(own)
    known = own[order]
    if (known[1:] == known[:-1]).any():
        return "have two nodes of one id"
    wanted = np.concatenate([part[parents] for part in others])
    places = np.minimum(np.searchsorted(known, wanted), max(0, len(known) - 1))
    if len(wanted) and (known[places] != wanted).any():
        return "name a node that is not there"
    return np.tile(parents, 2), order[places]


def _by_places(attributes: dict[str, Any]) -> tuple[Array, Array] | str:
    """Return the two arrays of `_by_ids` for nodes by position; a leaf is not a node, and ends a path."""
    sides = [
        (_integers(attributes, f"nodes_{side}nodeids"), _integers(attributes, f"nodes_{side}leafs"))
        for side in ("true", "false")
    ]
    count = len(sides[0][0])
    if {len(part) for side in sides for part in side} != {count}:
        return "have attributes of different lengths"
    edges = []
    for children, is_leaf in sides:
        parents = np.flatnonzero(is_leaf == 0)
        edges.append((parents, children[parents]))
    parents, wanted = (np.concatenate(part) for part in zip(*edges, strict=True))
    if ((wanted < 0) | (wanted >= count)).any():
        return "name a node that is not there"
    return parents, wanted


def _integers(attributes: dict[str, Any], name: str) -> Array:
    return np.array(attributes[name].ints if name in attributes else (), dtype=np.int64)


def _has_cycle(parents: Array, children: Array) -> bool:
    """Return whether the edges contain a cycle: nodes without a parent are removed repeatedly until none is left."""
    count = 1 + int(max(parents.max(initial=-1), children.max(initial=-1)))
    open_parents = np.bincount(children, minlength=count)
    order = np.argsort(parents, kind="stable")
    parents, children = parents[order], children[order]
    starts = np.searchsorted(parents, np.arange(count + 1))
    taken, level = 0, np.flatnonzero(open_parents == 0)
    while len(level):
        taken += len(level)
        lengths = starts[level + 1] - starts[level]
        edges = np.repeat(starts[level] - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
        found, times = np.unique(children[edges], return_counts=True)
        open_parents[found] -= times
        level = found[open_parents[found] == 0]
    return taken < count
