"""Decodes LightGBM models: the text format of its files and pickles.

LightGBM's `src/boosting/gbdt_model_text.cpp` and `src/io/tree.cpp` define the format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from models_registry.artifacts.boosters import links
from models_registry.artifacts.boosters.forest import (
    MAX_CATEGORY,
    MISSING_NAN,
    MISSING_NONE,
    MISSING_ZERO,
    ZERO,
    Array,
    TreeNodes,
    bits_of,
    plant,
)
from models_registry.artifacts.boosters.model import LIGHTGBM, BoostedModel
from models_registry.artifacts.structures.bounds import refuse
from models_registry.errors import BrokenArtifact, NoPrediction

MAX_FEATURES = 2_000_000
MAX_OUTPUTS = 100_000
MAX_TREES = 1_000_000
_END_OF_TREES = "end of trees"
_PANDAS = "pandas_categorical:"
_AUTOMATIC_NAME = re.compile(r"Column_\d+")
_COUNTED = re.compile(r"[0-9 ]*")
_WHOLE_NUMBERS = re.compile(r"[0-9 -]*")
_NUMBERS = re.compile(r"[0-9eE+\-. infa]*")
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING = {0: MISSING_NONE, 1: MISSING_ZERO, 2: MISSING_NAN}
_LINKS = {
    **dict.fromkeys(
        ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"),
        links.IDENTITY),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), links.EXP),
    **dict.fromkeys(("binary", "cross_entropy", "multiclassova"), links.SIGMOID),
    "multiclass": links.SOFTMAX,
    "cross_entropy_lambda": links.LOG1P_EXP,
}  # fmt: skip
# By field of a tree: whether it holds integers. The library's copy is written from only these fields.
TREE_FIELDS: dict[str, bool] = {
    "num_leaves": True, "num_cat": True, "split_feature": True, "threshold": False, "decision_type": True,
    "left_child": True, "right_child": True, "leaf_value": False, "cat_boundaries": True, "cat_threshold": True,
    "is_linear": True, "leaf_const": False, "num_features": True, "leaf_features": True, "leaf_coeff": False,
    "shrinkage": False,
}  # fmt: skip
# The number of training rows in each node, which explanations need in addition.
_COUNTS = ("internal_count", "leaf_count")


def broken(what: str) -> BrokenArtifact:
    """Return the error for text that is not a LightGBM model."""
    return BrokenArtifact(
        f"The LightGBM model in the artifact cannot be read: {what}. Save the model and publish it again."
    )


def decode(text: str) -> BoostedModel:
    """Return the validated model in a text.

    Raises BrokenArtifact if it cannot be read, and UnsafeStructure for inconsistent trees. Raises NoPrediction for a
    kind of model that is not supported.
    """
    try:
        return _model(text)
    except (KeyError, ValueError, OverflowError, TypeError, RecursionError) as error:
        raise broken(f"it is not as LightGBM writes it ({type(error).__name__}: {str(error)[:200]})") from error


def read(path: Path) -> BoostedModel:
    """Return the validated model in a file; errors as in `decode`."""
    return decode(text_of(path))


def text_of(path: Path) -> str:
    """Return the text in a file; BrokenArtifact if it is not text."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise broken("it is not text") from error


def _named(objective: str) -> str:
    return f"the objective {objective[:80]!r}" if objective else "an objective function of your own"


def _model(text: str) -> BoostedModel:
    header, trees = parts_of(text)
    n_features = whole(header["max_feature_idx"], MAX_FEATURES) + 1
    outputs = max(1, whole(header["num_tree_per_iteration"], MAX_OUTPUTS))
    objective, settings = objective_of(header)
    link = _LINKS.get(objective)
    if link is None:
        raise NoPrediction(
            f"The LightGBM model was trained with {_named(objective)}, which is not served. "
            f"Train it with one of {', '.join(sorted(_LINKS))}, or export it as ONNX."
        )
    if objective == "regression" and "sqrt" in settings:
        link = links.SQUARE
    if len(trees) % outputs:
        raise refuse(f"holds {len(trees)} trees, which is not a multiple of the {outputs} of one iteration")
    planted = [_tree(tree, number % outputs) for number, tree in enumerate(trees)]
    names = tuple(header.get("feature_names", "").split(" ")) if header.get("feature_names") else ()
    if len(names) not in {0, n_features}:
        raise broken(f"it has {len(names)} names for {n_features} features")
    return BoostedModel(
        library=LIGHTGBM,
        version=header.get("version", "")[:20],
        objective=objective,
        link=link,
        n_features=n_features,
        feature_names=() if all(map(_AUTOMATIC_NAME.fullmatch, names)) else names,
        start=np.zeros(outputs),
        trees_per_iteration=outputs,
        forest=plant(planted, n_features=n_features, n_targets=outputs),
        scale=float(settings.get("sigmoid", "1")) if link == links.SIGMOID and objective != "cross_entropy" else 1.0,
        divisor=float(len(trees) // outputs) if "average_output" in header else 1.0,
        categories=_categories(text, header, n_features),
    )


def parts_of(text: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return the header and each tree as fields of text; unknown fields of a tree are omitted."""
    lines = iter(text.splitlines())
    if next(lines, "").strip() != "tree":
        raise broken("its first line is not 'tree'")
    header: dict[str, str] = {}
    trees: list[dict[str, str]] = []
    for line in lines:
        if line.strip() == _END_OF_TREES:
            return header, trees
        name, _, value = line.partition("=")
        if name == "Tree":
            if len(trees) >= MAX_TREES:
                raise broken(f"it has more than {MAX_TREES} trees")
            trees.append({})
        elif not trees:
            header[name.strip()] = value.strip()
        elif name in TREE_FIELDS or name in _COUNTS:
            trees[-1][name] = value.strip()
    raise broken("it ends before its trees do")


def objective_of(header: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return the objective's name and its settings."""
    parts = header.get("objective", "").split()
    return (parts[0] if parts else ""), {name: value for name, _, value in (part.partition(":") for part in parts[1:])}


def whole(text: str, most: int) -> int:
    """Return a number from 0 to `most`."""
    if not text.isascii() or not text.isdigit() or len(text) > 12 or int(text) > most:
        raise broken(f"it has {text[:40]!r}; expected a number from 0 to {most}")
    return int(text)


def numbers(tree: dict[str, str], name: str) -> Array:
    """Return a field's numbers, integers if TREE_FIELDS says so; a missing field is empty."""
    text, is_whole = tree.get(name, ""), TREE_FIELDS[name]
    if not (_WHOLE_NUMBERS if is_whole else _NUMBERS).fullmatch(text):
        raise broken(f"its {name} has values that are not numbers")
    return np.array(text.split(), dtype=np.int64 if is_whole else np.float64)


def _tree(tree: dict[str, str], target: int) -> TreeNodes:
    leaves = whole(tree["num_leaves"], len(tree.get("leaf_value", "")) + 1)
    splits = leaves - 1
    values = numbers(tree, "leaf_value")
    if leaves < 1 or len(values) != leaves:
        raise refuse("holds a tree with another number of leaves than it declares")
    fields = {name: numbers(tree, name) if splits else np.zeros(0, dtype=np.int64)
              for name in ("split_feature", "threshold", "decision_type", "left_child", "right_child")}  # fmt: skip
    if any(len(found) != splits for found in fields.values()):
        raise refuse("holds a tree with another number of splits than it declares")
    kind = fields["decision_type"]
    if not ((kind >= -128) & (kind < 256) & (((kind >> 2) & 3) < 3)).all():
        raise refuse("holds a split of an unknown kind")
    by_set = (kind & _CATEGORICAL) != 0
    missing = np.array([_MISSING[int(one)] for one in (kind >> 2) & 3], dtype=np.uint8)
    nothing = np.zeros(leaves)
    return TreeNodes(
        left=_children(fields["left_child"], splits, leaves),
        right=_children(fields["right_child"], splits, leaves),
        is_leaf=np.arange(splits + leaves) >= splits,
        feature=np.concatenate([fields["split_feature"], nothing]).astype(np.int64),
        threshold=np.concatenate([_around_zero(fields["threshold"]), nothing]).astype(np.float64),
        # A missing category goes right, independent of the split (CategoricalDecision in include/LightGBM/tree.h).
        missing_left=np.concatenate([((kind & _DEFAULT_LEFT) != 0) & ~by_set, nothing]) != 0,
        missing=np.concatenate([np.where(by_set, MISSING_NAN, missing), nothing]).astype(np.uint8),
        value=np.concatenate([np.zeros(splits), values]),
        target=target,
        categories=_sets(tree, fields["threshold"], by_set),
        linear=_linear(tree, splits, leaves),
        cover=_cover(tree) if splits else np.ones(1),
    )


def _cover(tree: dict[str, str]) -> Array | None:
    """Return the number of training rows in each node; None if the text has no counts."""
    texts = [tree.get(name, "") for name in _COUNTS]
    if not all(map(_COUNTED.fullmatch, texts)):
        return None
    return np.array(" ".join(texts).split(), dtype=np.float64)


def _around_zero(thresholds: Array) -> Array:
    """Return thresholds adjusted for tiny values, which LightGBM sets to zero before any split (c_api.cpp)."""
    below = np.nextafter(-ZERO, -np.inf)
    is_tiny = np.abs(thresholds) <= ZERO
    return np.where(is_tiny, np.where(thresholds < 0.0, below, ZERO), thresholds)


def _children(children: Array, splits: int, leaves: int) -> Array:
    """Return the children's node numbers, with leaves after splits; the text has leaves as -1, -2, …"""
    if not ((children >= -leaves) & (children < splits)).all():
        raise refuse("holds a tree whose nodes point outside of it")
    found = np.where(children >= 0, children, splits + ~children)
    return np.concatenate([found, np.full(leaves, -1)]).astype(np.int64)


def _sets(tree: dict[str, str], thresholds: Array, by_set: Array) -> dict[int, Array]:
    """Return the categories of each categorical split; these go left."""
    nodes = np.flatnonzero(by_set)
    if not len(nodes):
        return {}
    bounds, words = numbers(tree, "cat_boundaries"), numbers(tree, "cat_threshold")
    count = whole(tree["num_cat"], len(bounds))
    if len(bounds) != count + 1 or bounds[0] != 0 or (np.diff(bounds) < 0).any() or bounds[-1] != len(words):
        raise refuse("holds sets of categories that lie outside of their words")
    if len(words) > MAX_CATEGORY // 32 * max(1, count) or not ((words >= 0) & (words < 1 << 32)).all():
        raise refuse("holds a set of categories that is not a set of bits")
    chosen = thresholds[nodes]
    if not ((chosen >= 0) & (chosen < count) & (chosen == np.floor(chosen))).all():
        raise refuse("holds a split by a missing set of categories")
    return {
        int(node): np.flatnonzero(bits_of(words[bounds[which] : bounds[which + 1]]))
        for node, which in zip(nodes, chosen.astype(np.int64), strict=True)
    }


def _linear(tree: dict[str, str], splits: int, leaves: int) -> dict[int, tuple[float, Array, Array]]:
    if tree.get("is_linear", "0") == "0":
        return {}
    constants, counts = numbers(tree, "leaf_const"), numbers(tree, "num_features")
    features, coefficients = numbers(tree, "leaf_features"), numbers(tree, "leaf_coeff")
    fits = len(constants) == len(counts) == leaves and (counts >= 0).all()
    if not fits or not int(counts.sum()) == len(features) == len(coefficients):
        raise refuse("holds linear leaves with another number of features than it declares")
    ends = np.cumsum(counts)
    return {
        splits + leaf: (float(constants[leaf]), features[start:stop], coefficients[start:stop])
        for leaf, (start, stop) in enumerate(zip(ends - counts, ends, strict=True))
    }


def _categories(text: str, header: dict[str, str], n_features: int) -> tuple[tuple[Any, ...] | None, ...]:
    """Return the category values behind the codes of each feature, from pandas categories; () for other features."""
    values = _pandas_categories(text)
    if not values:
        return ()
    infos = header.get("feature_infos", "").split(" ")
    by_code = [position for position, info in enumerate(infos) if info and not info.startswith("[") and info != "none"]
    if len(infos) != n_features or len(by_code) != len(values):
        raise NoPrediction(
            f"The LightGBM model was trained with {len(values)} columns of categories, but {len(by_code)} of its "
            "features have category codes, so the columns are unknown. Encode them in a pipeline (OrdinalEncoder), and "
            "publish that."
        )
    found: list[tuple[Any, ...] | None] = [None] * n_features
    for position, known in zip(by_code, values, strict=True):
        found[position] = tuple(known)
    return tuple(found)


def _pandas_categories(text: str) -> list[list[Any]]:
    start = text.rfind(_PANDAS)
    if start < 0:
        return []
    found = json.loads(text[start + len(_PANDAS) :])
    if found is None:
        return []
    plain = isinstance(found, list) and all(
        isinstance(one, list) and all(isinstance(value, str | int | float | bool) for value in one) for one in found
    )
    if not plain:
        raise broken("its pandas_categorical is not a list of lists of values")
    return list(found)


def copy_of(text: str) -> str:
    """Return the model in `text`, rewritten for the library: only known fields and numbers.

    Raises the errors of `decode`.
    """
    model = decode(text)
    header, trees = parts_of(text)
    return "\n".join([*_header(model, header), "", *(line for item in enumerate(trees) for line in _written(*item)),
                      _END_OF_TREES, ""])  # fmt: skip


def _header(model: BoostedModel, header: dict[str, str]) -> list[str]:
    objective, settings = objective_of(header)
    plain = [f"{name}:{value}" if value else name for name, value in settings.items()
             if re.fullmatch(r"[a-z_]{1,40}", name) and re.fullmatch(r"[0-9.eE+-]{0,40}", value)]  # fmt: skip
    return [
        "tree",
        f"version={'v4' if model.version not in {'v2', 'v3'} else model.version}",
        f"num_class={whole(header['num_class'], MAX_OUTPUTS)}",
        f"num_tree_per_iteration={model.n_outputs}",
        "label_index=0",
        f"max_feature_idx={model.n_features - 1}",
        " ".join([f"objective={objective}", *plain]),
        *(["average_output"] if "average_output" in header else []),
        "feature_names=" + " ".join(f"Column_{number}" for number in range(model.n_features)),
        "feature_infos=" + " ".join(["none"] * model.n_features),
    ]


def _written(number: int, tree: dict[str, str]) -> Iterator[str]:
    yield f"Tree={number}"
    for name, is_whole in TREE_FIELDS.items():
        if name in tree:
            values = numbers(tree, name).tolist()
            yield f"{name}=" + " ".join(str(value) if is_whole else repr(value) for value in values)
    yield ""
