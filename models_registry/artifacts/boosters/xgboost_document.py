"""Decodes XGBoost models: the document in files and pickles, as JSON or UBJSON.

XGBoost's `doc/model.schema` defines the format. A pickle holds the document under "Model", next to the settings of the
training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from models_registry.artifacts.boosters import links, ubjson
from models_registry.artifacts.boosters.forest import MISSING_NAN, Array, TreeNodes, plant
from models_registry.artifacts.boosters.model import XGBOOST, BoostedModel
from models_registry.artifacts.structures.bounds import refuse
from models_registry.errors import BrokenArtifact, NoPrediction

MAX_FEATURES = 2_000_000
MAX_OUTPUTS = 100_000
_LINKS = {
    **dict.fromkeys(
        ("reg:squarederror", "reg:linear", "reg:absoluteerror", "reg:quantileerror", "reg:expectileerror",
         "reg:pseudohubererror", "reg:squaredlogerror", "rank:pairwise", "rank:ndcg", "rank:map",
         "binary:logitraw"), links.IDENTITY),
    **dict.fromkeys(("reg:logistic", "binary:logistic"), links.SIGMOID),
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft"), links.EXP),
    **dict.fromkeys(("multi:softprob", "multi:softmax"), links.SOFTMAX),
    "binary:hinge": links.STEP,
}  # fmt: skip
# How the base score is stored, if not transformed by the link (src/objective of XGBoost, ProbToMargin).
_START_LINKS = {"binary:hinge": links.IDENTITY, "multi:softprob": links.IDENTITY, "multi:softmax": links.IDENTITY}


def decode(blob: bytes) -> BoostedModel:
    """Return the validated model in a file, or in the blob of a pickle.

    Raises BrokenArtifact if it cannot be read, and UnsafeStructure for inconsistent trees. Raises NoPrediction for a
    kind of model that is not supported.
    """
    document = _member(_document(blob), "the model", dict)
    try:
        return _model(document.get("Model", document), document.get("Config", {}))
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ubjson.broken(f"its model is not as XGBoost writes it ({type(error).__name__}: {error})") from error


def read(blob: bytes) -> dict[str, Any]:
    """Return the document of the model, not validated yet."""
    document = _member(_document(blob), "the model", dict)
    return _member(document.get("Model", document), "the model", dict)  # type: ignore[no-any-return]


def _document(blob: bytes) -> Any:
    start = blob[:16].lstrip()
    if not start.startswith(b"{"):
        # Files before 1.0, pickles before 1.3, and output of save_model to other extensions up to 1.7.
        raise BrokenArtifact(
            "The XGBoost model in the artifact is neither JSON nor UBJSON. It is damaged, or in the binary format of "
            "old versions (before 1.3 in pickles). Load it with the XGBoost that wrote it, call "
            "save_model('model.json') (from 1.0 on), and publish that."
        )
    if start[1:2] in b'"\n\r\t }':
        try:
            return json.loads(blob)
        except (ValueError, RecursionError) as error:
            raise ubjson.broken(f"its JSON is damaged ({str(error)[:200]})") from error
    return ubjson.decode(blob)


def _member(value: Any, what: str, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind):
        raise ubjson.broken(f"{what} is a {type(value).__name__}, which XGBoost never writes there")
    return value


def _model(document: Mapping[str, Any], settings: Mapping[str, Any]) -> BoostedModel:
    """Return the validated model; `settings` are those of the training, which only a pickle has."""
    learner = _member(document["learner"], "the learner", dict)
    parameters = learner["learner_model_param"]
    n_features = _whole(parameters["num_feature"], MAX_FEATURES)
    objective = _member(learner["objective"]["name"], "the objective", str)
    link = _LINKS.get(objective)
    if link is None:
        raise NoPrediction(
            f"The XGBoost model was trained with the objective {objective[:80]!r}, which is not served. Train it with "
            f"one of {', '.join(sorted(_LINKS))}, or export it as ONNX."
        )
    groups = max(
        1,
        _whole(parameters.get("num_class", 0), MAX_OUTPUTS),
        _whole(parameters.get("num_target", 1), MAX_OUTPUTS),
    )
    booster = learner["gradient_booster"]
    kind = _member(booster["name"], "the booster", str)
    attributes = tuple(sorted((_member(k, "an attribute", str), _member(v, "an attribute", str))
                              for k, v in learner.get("attributes", {}).items()))  # fmt: skip
    common: dict[str, Any] = {
        "library": XGBOOST,
        "version": ".".join(str(int(part)) for part in list(document.get("version", ()))[:3]),
        "objective": objective,
        "link": link,
        "n_features": n_features,
        "feature_names": _names(learner.get("feature_names", ()), n_features),
        "start": _start(parameters["base_score"], objective, link, groups),
        "best_iteration": _best_iteration(dict(attributes)),
        "attributes": attributes,
    }
    if kind == "gblinear":
        # XGBoost's linear predictor uses the first output's base score for every output.
        common["start"] = np.repeat(common["start"][:1], groups)
        return BoostedModel(**common, trees_per_iteration=1, weights=_weights(booster["model"], n_features, groups))
    if kind not in {"gbtree", "dart"}:
        raise NoPrediction(
            f"The XGBoost model has the booster {kind[:80]!r}; expected gbtree, dart or gblinear. Train it with one of "
            "these, or export it as ONNX."
        )
    weights = None
    if kind == "dart":
        weights = as_array(booster["weight_drop"], np.float32)
        booster = booster["gbtree"]
    parallel = _parallel_trees(booster["model"], settings, dict(attributes))
    return _of_trees(common, booster["model"], weights, groups=groups, per_iteration=parallel * groups)


def _parallel_trees(model: Mapping[str, Any], settings: Mapping[str, Any], attributes: Mapping[str, str]) -> int:
    """Return the number of trees per output and iteration; before 1.6 only the settings have it."""
    found = model["gbtree_model_param"].get("num_parallel_tree")
    if found is None and settings:
        booster = settings["learner"]["gradient_booster"]
        found = booster.get("gbtree", booster).get("gbtree_train_param", {}).get("num_parallel_tree")
    if found is None and "best_ntree_limit" in attributes and _best_iteration(attributes) is not None:
        # One library version counts iterations, the other counts trees of one output.
        iterations = 1 + int(attributes["best_iteration"])
        found = _whole(attributes["best_ntree_limit"], MAX_OUTPUTS) // iterations
    return max(1, _whole(1 if found is None else found, MAX_OUTPUTS))


def _of_trees(
    common: dict[str, Any], model: Mapping[str, Any], weights: Array | None, *, groups: int, per_iteration: int
) -> BoostedModel:
    targets = as_array(model["tree_info"], np.int64)
    described = _member(model["trees"], "the trees", list)
    if len(targets) != len(described) or (weights is not None and len(weights) != len(described)):
        raise refuse("holds another number of trees than it declares")
    trees = [
        _tree(tree, int(target), 1.0 if weights is None else float(weights[number]))
        for number, (tree, target) in enumerate(zip(described, targets, strict=True))
    ]
    if len(trees) % per_iteration:
        raise refuse(f"holds {len(trees)} trees, which is not a multiple of the {per_iteration} of one iteration")
    n_features = common["n_features"]
    return BoostedModel(
        **common,
        forest=plant(trees, n_features=n_features, n_targets=groups),
        trees_per_iteration=per_iteration,
        categories=_categories(model.get("cats"), n_features),
    )


def _tree(tree: Mapping[str, Any], target: int, weight: float) -> TreeNodes:
    if _whole(tree["tree_param"].get("size_leaf_vector", 1), MAX_OUTPUTS) > 1:
        raise NoPrediction(
            "The XGBoost model has trees with several outputs each (multi_strategy='multi_output_tree'), which are not "
            "served. Train it with multi_strategy='one_output_per_tree', or export it as ONNX."
        )
    left = as_array(tree["left_children"], np.int64)
    is_leaf = left == -1
    conditions = as_array(tree["split_conditions"], np.float32)
    if conditions.shape != left.shape:
        raise refuse("holds a tree whose arrays are of different lengths")
    if np.isnan(conditions).any():
        raise refuse("holds a split, or a leaf, whose value is not a number")
    values = conditions * np.float32(weight)
    return TreeNodes(
        left=left,
        right=as_array(tree["right_children"], np.int64),
        is_leaf=is_leaf,
        feature=as_array(tree["split_indices"], np.int64),
        # In float32, values below the condition are values up to the next smaller number.
        threshold=np.nextafter(conditions, np.float32(-np.inf)).astype(np.float64),
        missing_left=as_array(tree["default_left"], np.int64) != 0,
        missing=np.full(len(left), MISSING_NAN, dtype=np.uint8),
        value=np.where(is_leaf, values, np.float32(0.0)).astype(np.float64),
        target=target,
        categories=_sets(tree, is_leaf),
        cover=as_array(tree.get("sum_hessian", ()), np.float32),
    )


def _sets(tree: Mapping[str, Any], is_leaf: Array) -> dict[int, Array]:
    """Return the categories of each categorical node; these go right."""
    kinds = as_array(tree.get("split_type", ()), np.int64)
    nodes = as_array(tree.get("categories_nodes", ()), np.int64)
    if len(kinds) not in {0, len(is_leaf)}:
        raise refuse("holds a tree whose arrays are of different lengths")
    by_set = np.flatnonzero((kinds == 1) & ~is_leaf) if len(kinds) else np.zeros(0, dtype=np.int64)
    starts = as_array(tree.get("categories_segments", ()), np.int64)
    sizes = as_array(tree.get("categories_sizes", ()), np.int64)
    categories = as_array(tree.get("categories", ()), np.int64)
    if not len(nodes) == len(starts) == len(sizes) or len(np.unique(nodes)) != len(nodes):
        raise refuse("holds sets of categories of different numbers")
    if not ((starts >= 0) & (sizes >= 0) & (starts <= len(categories)) & (sizes <= len(categories) - starts)).all():
        raise refuse("holds a set of categories that lies outside of the categories")
    if int(sizes.sum()) > len(categories):
        raise refuse("holds sets of categories that overlap")
    found = {
        int(node): np.unique(categories[start : start + size])
        for node, start, size in zip(nodes, starts, sizes, strict=True)
    }
    if set(found) != set(by_set.tolist()):
        raise refuse("holds sets of categories for nodes that do not split by them")
    return found


def as_array(value: Any, dtype: Any) -> Array:
    """Return a list of numbers as an array of one dimension, of integers if `dtype` is an integer type."""
    array = np.asarray(value)
    if array.size == 0:
        return np.zeros(0, dtype=dtype)
    whole = np.dtype(dtype).kind == "i"
    if array.ndim != 1 or array.dtype.kind not in ("iub" if whole else "iuf"):
        raise ubjson.broken(f"it has {array.dtype} of {array.ndim} dimensions; expected a list of numbers")
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def _whole(value: Any, most: int) -> int:
    """Return a number that the document stores as text."""
    text = str(value)
    if not text.isascii() or not text.isdigit() or len(text) > 12 or int(text) > most:
        raise ubjson.broken(f"it has {text[:40]!r}; expected a number from 0 to {most}")
    return int(text)


def _names(value: Any, n_features: int) -> tuple[str, ...]:
    listed = _member(value, "the names", (list, tuple, np.ndarray))
    names = tuple(_member(name, "a feature's name", str) for name in listed)
    if len(names) not in {0, n_features}:
        raise ubjson.broken(f"it has {len(names)} names for {n_features} features")
    return names


def _start(value: Any, objective: str, link: str, groups: int) -> Array:
    """Return the base score, one number per output."""
    parts = _member(value, "the base score", str).strip("[]").split(",")
    scores = np.array([np.float32(part) for part in parts], dtype=np.float64)
    if len(scores) == 1:
        scores = np.repeat(scores, groups)
    with np.errstate(divide="ignore", invalid="ignore"):
        start = links.to_margin(_START_LINKS.get(objective, link), scores)
    if len(start) != groups or not np.isfinite(start).all():
        raise ubjson.broken(f"it starts from {value[:80]!r}, which does not fit the objective {objective}")
    return start.astype(np.float32).astype(np.float64)


def _best_iteration(attributes: Mapping[str, str]) -> int | None:
    text = attributes.get("best_iteration", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _weights(model: Mapping[str, Any], n_features: int, groups: int) -> Array:
    weights = as_array(model["weights"], np.float32).astype(np.float64)
    if weights.shape != ((n_features + 1) * groups,) or not np.isfinite(weights).all():
        raise refuse("holds a linear model with another number of weights than features")
    return weights.reshape(n_features + 1, groups)


def _categories(value: Any, n_features: int) -> tuple[tuple[Any, ...] | None, ...]:
    """Return the category values behind the codes of each feature (XGBoost 3.1 and newer); () for other features."""
    if not isinstance(value, Mapping) or not len(value.get("enc", ())):
        return ()
    encoded = _member(value["enc"], "the categories", list)
    if len(encoded) != n_features:
        raise ubjson.broken(f"it has categories of {len(encoded)} features, and {n_features} features")
    return tuple(map(_values_of, encoded))


def _values_of(encoded: Mapping[str, Any]) -> tuple[Any, ...] | None:
    values = encoded.get("values", ())
    if not len(values):
        return None
    if "offsets" not in encoded:
        return tuple(as_array(values, np.float64 if np.asarray(values).dtype.kind == "f" else np.int64).tolist())
    text = as_array(values, np.int64).astype(np.uint8).tobytes()
    ends = as_array(encoded["offsets"], np.int64)
    if len(ends) < 2 or ends[0] < 0 or (np.diff(ends) < 0).any() or ends[-1] > len(text):
        raise refuse("holds categories that lie outside of their text")
    return tuple(text[start:stop].decode("utf-8") for start, stop in pairwise(ends.tolist()))
