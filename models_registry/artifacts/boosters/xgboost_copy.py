"""Rewrites a validated XGBoost model for the library: only known members and validated trees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from models_registry.artifacts.boosters.forest import Array, Forest
from models_registry.artifacts.boosters.model import BoostedModel
from models_registry.artifacts.boosters.xgboost_document import decode, read

_PARAMETERS = ("base_score", "boost_from_average", "num_class", "num_feature", "num_target")
_MAX_TEXT_LENGTH = 10_000
# XGBoost's value for the parent of the root.
_NO_PARENT = 2**31 - 1
_LARGEST = float(np.finfo(np.float32).max)


def copy_of(blob: bytes) -> bytes:
    """Return the model in `blob` as JSON with only the parts that `decode` validates.

    Names, attributes, training statistics and unreachable nodes are omitted. The weights of dart are multiplied into
    the leaves. Raises the errors of `decode`.
    """
    model = decode(blob)
    document = read(blob)
    learner = document["learner"]
    parameters = learner["learner_model_param"]
    return json.dumps(
        {
            "learner": {
                "attributes": {},
                "feature_names": [],
                "feature_types": [],
                "gradient_booster": _booster(model),
                "learner_model_param": {name: str(parameters[name]) for name in _PARAMETERS if name in parameters},
                "objective": _texts(learner["objective"]),
            },
            "version": [int(part) for part in list(document.get("version", ()))[:3]],
        }
    ).encode()


def _texts(objective: Mapping[str, Any]) -> dict[str, Any]:
    """Return the objective's name and its settings, which are texts or groups of texts."""
    found: dict[str, Any] = {}
    for name, value in objective.items():
        if isinstance(value, dict):
            found[name] = {
                key: one for key, one in value.items() if isinstance(one, str) and len(one) < _MAX_TEXT_LENGTH
            }
        elif isinstance(value, str) and len(value) < _MAX_TEXT_LENGTH:
            found[name] = value
    return found


def _booster(model: BoostedModel) -> dict[str, Any]:
    forest = model.forest
    if forest is None:
        weights = np.asarray(model.weights).ravel().tolist()
        return {"name": "gblinear", "model": {"weights": weights, "boosted_rounds": 1}}
    parallel = model.trees_per_iteration // model.n_outputs
    return {
        "name": "gbtree",
        "model": {
            "gbtree_model_param": {"num_trees": str(forest.n_trees), "num_parallel_tree": str(parallel)},
            "tree_info": forest.targets.tolist(),
            "trees": [_tree(forest, number, model.n_features) for number in range(forest.n_trees)],
        },
    }


def _tree(forest: Forest, number: int, n_features: int) -> dict[str, Any]:
    order = _siblings_together(forest, number)
    count, start = len(order), int(forest.starts[number])
    place = np.empty(count, dtype=np.int64)
    place[order - start] = np.arange(count)
    leaf = forest.is_leaf[order]
    left = np.where(leaf, -1, place[forest.left[order] - start])
    right = np.where(leaf, -1, place[forest.right[order] - start])
    parents = np.full(count, _NO_PARENT)
    for side in (left, right):
        parents[side[~leaf]] = np.flatnonzero(~leaf)
    # The smallest number that goes right.
    splits = np.nextafter(forest.threshold[order].astype(np.float32), np.float32(np.inf)).astype(np.float64)
    by_set = np.flatnonzero(forest.set_words[order] > 0)
    sets = [forest.categories_of(int(order[node])).tolist() for node in by_set]
    sizes = [len(one) for one in sets]
    return {
        "id": number,
        "base_weights": [0.0] * count,
        "loss_changes": [0.0] * count,
        "sum_hessian": [1.0] * count,
        "left_children": left.tolist(),
        "right_children": right.tolist(),
        "parents": parents.tolist(),
        "split_indices": forest.feature[order].tolist(),
        "split_conditions": np.clip(np.where(leaf, forest.value[order], splits), -_LARGEST, _LARGEST).tolist(),
        "split_type": (forest.set_words[order] > 0).astype(int).tolist(),
        "default_left": forest.missing_left[order].astype(int).tolist(),
        "categories": [category for one in sets for category in one],
        "categories_nodes": by_set.tolist(),
        "categories_segments": np.cumsum([0, *sizes])[: len(sizes)].tolist(),
        "categories_sizes": sizes,
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(n_features),
            "num_nodes": str(count),
            "size_leaf_vector": "1",
        },
    }


def _siblings_together(forest: Forest, number: int) -> Array:
    """Return a tree's nodes, the root first, with the two children of a node in sequence.

    Some of XGBoost's evaluation code assumes that the right child follows the left one (`RegTree::GetNext`,
    include/xgboost/tree_model.h).
    """
    left, right, is_leaf = forest.left.item, forest.right.item, forest.is_leaf.item
    order = [int(forest.starts[number])]
    for node in order:
        if not is_leaf(node):
            order += [left(node), right(node)]
    return np.array(order)
