"""Crafted models are refused before anything walks them, and cost no more than their size."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models_registry.artifacts.boosters import lightgbm_text, ubjson, xgboost_document, xgboost_estimators
from models_registry.errors import ArtifactError, BrokenArtifact, NoPrediction, UnsafeStructure
from tests.support import boosters as made
from tests.support.damage import damage

Document = dict[str, Any]
HUGE = 2**40


@pytest.fixture(scope="module")
def document() -> Document:
    return made.xgboost_document(made.xgboost_by_sets())


@pytest.fixture(scope="module")
def text() -> str:
    return str(made.lightgbm_booster().model_to_string())


def by_set(document: Document) -> Document:
    """Return a tree that has sets."""
    trees = document["learner"]["gradient_booster"]["model"]["trees"]
    return next(tree for tree in trees if tree["categories_nodes"])


def model_of(document: Document) -> Document:
    found: Document = document["learner"]["gradient_booster"]["model"]
    return found


def sets(path: str, value: Any) -> Callable[[Document], None]:
    """Return a change of the first tree with sets: `path` is `member` or `member[0]`."""

    def change(document: Document) -> None:
        tree = by_set(document)
        name, _, place = path.partition("[")
        if place:
            tree[name][int(place[:-1])] = value
        else:
            tree[name] = value

    return change


def parameter(name: str, value: Any) -> Callable[[Document], None]:
    return lambda document: document["learner"]["learner_model_param"].__setitem__(name, value)


def model(name: str, value: Any) -> Callable[[Document], None]:
    return lambda document: model_of(document).__setitem__(name, value)


def _many_sets(document: Document) -> None:
    """Give a tree sets of one high category each, a few bytes that would become 2 MB of bits."""
    tree = by_set(document)
    count = 60
    tree.update({name: [0] * (2 * count + 1) for name in ARRAYS[:6]})
    for node in range(count):
        tree["left_children"][node], tree["right_children"][node] = 2 * node + 1, 2 * node + 2
        tree["split_type"][node] = 1
    for node in range(count, 2 * count + 1):
        tree["left_children"][node] = tree["right_children"][node] = -1
    tree["categories"] = [2**24 - 1] * count
    tree["categories_nodes"] = tree["categories_segments"] = list(range(count))
    tree["categories_sizes"] = [1] * count


ARRAYS = ("left_children", "right_children", "split_indices", "split_conditions", "default_left", "split_type",
          "categories", "categories_nodes", "categories_segments", "categories_sizes")  # fmt: skip
UNSAFE: dict[str, Callable[[Document], None]] = {
    "child outside": sets("left_children[0]", 10**6),
    "child far outside": sets("right_children[0]", HUGE),
    "negative child": sets("left_children[0]", -2),
    "child of itself": sets("left_children[0]", 0),
    "circle": sets("left_children[1]", 0),
    "twice the same child": lambda document: by_set(document)["left_children"].__setitem__(
        0, by_set(document)["right_children"][0]
    ),
    "feature outside": sets("split_indices[0]", made.FEATURES),
    "negative feature": sets("split_indices[0]", -1),
    "no nodes": lambda document: by_set(document).update({name: [] for name in ARRAYS}),
    "shorter children": lambda document: by_set(document)["right_children"].pop(),
    "shorter conditions": lambda document: by_set(document)["split_conditions"].pop(),
    "shorter kinds": lambda document: by_set(document)["split_type"].pop(),
    "split by not a number": sets("split_conditions[0]", float("nan")),
    "set outside of the categories": sets("categories_segments[0]", 10**6),
    "negative set": sets("categories_segments[0]", -1),
    "set too long": sets("categories_sizes[0]", HUGE),
    "set of a negative length": sets("categories_sizes[0]", -1),
    "category beyond": sets("categories[0]", 2**24),
    "sets of more words than any training makes": lambda document: _many_sets(document),
    "negative category": sets("categories[0]", -1),
    "set of a node outside": sets("categories_nodes[0]", 10**6),
    "set without a split": sets("split_type", [0] * 10**3),
    "fewer sets than said": lambda document: by_set(document)["categories_sizes"].pop(),
    "tree of no output": model("tree_info", [1] * 12),
    "fewer outputs than trees": model("tree_info", [0]),
    "no trees": lambda document: model_of(document).update(trees=[], tree_info=[]),
    "rounds that do not end": lambda document: model_of(document)["gbtree_model_param"].update(num_parallel_tree="7"),
}  # fmt: skip
BROKEN: dict[str, Callable[[Document], None]] = {
    "children of fractions": sets("left_children[0]", 0.5),
    "children of texts": sets("left_children", ["1"] * 9),
    "children in children": sets("left_children", [[1], [2]]),
    "a child of 400 digits": sets("left_children[0]", 10**400),
    "conditions of objects": sets("split_conditions[0]", {}),
    "no children": lambda document: by_set(document).pop("left_children"),
    "trees that are none": model("trees", [1] * 12),
    "trees of another kind": model("trees", {"0": {}}),
    "features beyond count": parameter("num_feature", str(10**30)),
    "negative features": parameter("num_feature", "-5"),
    "classes beyond count": parameter("num_class", str(10**9)),
    "start of words": parameter("base_score", "a lot"),
    "start of nothing": parameter("base_score", "[]"),
    "start outside of the objective": parameter("base_score", "[2E0]"),
    "starts of other outputs": parameter("base_score", "[5E-1,5E-1]"),
    "no learner": lambda document: document.pop("learner"),
    "names of numbers": lambda document: document["learner"].update(feature_names=[1] * made.FEATURES),
    "too few names": lambda document: document["learner"].update(feature_names=["a"]),
    "version of words": lambda document: document.update(version=["three"]),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_xgboost_tree_that_contradicts_itself_is_unsafe(document: Document, name: str) -> None:
    crafted = copy.deepcopy(document)
    UNSAFE[name](crafted)
    with pytest.raises(UnsafeStructure):
        xgboost_document.decode(json.dumps(crafted).encode())


@pytest.mark.parametrize("name", BROKEN)
def test_xgboost_document_of_another_form_is_broken(document: Document, name: str) -> None:
    crafted = copy.deepcopy(document)
    BROKEN[name](crafted)
    with pytest.raises(BrokenArtifact):
        xgboost_document.decode(json.dumps(crafted).encode())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda document: document["learner"]["objective"].update(name="shop:profit"), "'shop:profit'"),
        (lambda document: document["learner"]["gradient_booster"].update(name="gbforest"), "'gbforest'"),
        (lambda document: by_set(document)["tree_param"].update(size_leaf_vector="3"), "multi_output_tree"),
    ],
)
def test_xgboost_kind_that_is_not_served_is_named(
    document: Document, change: Callable[[Document], None], named: str
) -> None:
    crafted = copy.deepcopy(document)
    change(crafted)
    with pytest.raises(NoPrediction, match=named):
        xgboost_document.decode(json.dumps(crafted).encode())


@pytest.mark.parametrize("start", [b"binf\0\0\0\0", b"CONFIG-offset:\0\0\0", b"bs64\tAAAA", b"\0\0\0\x3f", b""])
def test_xgboost_binary_form_says_how_to_save_again(start: bytes) -> None:
    with pytest.raises(BrokenArtifact, match=r"save_model\('model.json'\)"):
        xgboost_document.decode(start + bytes(100))


def length(count: int) -> bytes:
    return b"L" + struct.pack(">q", count)


@pytest.mark.parametrize(
    "crafted",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"{" + length(1) + b"a" + b"[" * 40 + b"]" * 40 + b"}",
        b"{" + length(HUGE) + b"a",
        b"{" + length(-1) + b"a",
        b"S" + length(HUGE),
        b"[$d#" + length(HUGE),
        b"[$d#" + length(-1),
        b"[$S#" + length(1),
        b"[$T#" + length(HUGE),
        b"[$Z#" + length(HUGE),
        b"[#" + length(HUGE) + b"Z",
        b"[#" + length(-5),
        b"{#" + length(5),
        b"{$i#" + length(5),
        b"{" + length(1) + b"ai\1" + length(1) + b"ai\1}",
        b"S" + length(1) + b"\xff",
        b"i\1i\1",
        b"d\0\0",
        b"H" + length(3) + b"1e9",
        b"?",
        b"{d\0\0\0\0",
    ],
)
def test_ubjson_that_is_none_is_broken(crafted: bytes) -> None:
    with pytest.raises(BrokenArtifact):
        ubjson.decode(crafted)


def test_ubjson_reads_every_kind_of_value() -> None:
    data = (
        b"{" + length(1) + b"aT" + length(1) + b"bF" + length(1) + b"cZ" + length(1) + b"dC!" + length(1) + b"ei\xff"
        + length(1) + b"fU\xff" + length(1) + b"gI\0\x10" + length(1) + b"hD" + struct.pack(">d", 1.5)
        + length(1) + b"i[i\1i\2]N" + length(1) + b"j[$l#" + length(2) + struct.pack(">2i", 7, -7) + b"}"
    )  # fmt: skip
    found = ubjson.decode(data)
    assert np.array_equal(found.pop("j"), [7, -7])
    assert found == {"a": True, "b": False, "c": None, "d": "!", "e": -1, "f": 255, "g": 16, "h": 1.5, "i": [1, 2]}


def line(name: str, value: str, *, tree: bool = True) -> Callable[[str], str]:
    """Return a change of the first line `name=`, of the first tree's or of the header's."""

    def change(text: str) -> str:
        start = text.index("Tree=0") if tree else 0
        begin = text.index(f"\n{name}=", start) + 1
        end = text.index("\n", begin)
        return f"{text[:begin]}{name}={value}{text[end:]}"

    return change


LIGHTGBM_CRAFTED: dict[str, Callable[[str], str]] = {
    "child outside": line("left_child", "100 1 2 3 4 5 6"),
    "leaf outside": line("left_child", "-100 1 2 3 4 5 6"),
    "circle": line("left_child", "0 0 0 0 0 0 0"),
    "a child too few": line("right_child", "1 2"),
    "a leaf too few": line("leaf_value", "1.0 2.0"),
    "a leaf of no number": line("leaf_value", "nan 1 1 1 1 1 1 1"),
    "an endless leaf": line("leaf_value", "inf 1 1 1 1 1 1 1"),
    "feature outside": line("split_feature", "5 0 0 0 0 0 0"),
    "feature far outside": line("split_feature", f"{HUGE} 0 0 0 0 0 0"),
    "negative feature": line("split_feature", "-1 0 0 0 0 0 0"),
    "leaves that are not there": line("num_leaves", "1000000000"),
    "no leaves": line("num_leaves", "0"),
    "leaves of words": line("num_leaves", "eight"),
    "unknown kind of split": line("decision_type", "12 2 2 2 2 2 2"),
    "sets outside of their words": line("cat_boundaries", "0 1000000"),
    "sets backwards": line("cat_boundaries", "5 0"),
    "sets that are not there": line("num_cat", "100"),
    "endless sets": line("num_cat", str(HUGE)),
    "words that are no bits": line("cat_threshold", str(HUGE)),
    "negative words": line("cat_threshold", "-1"),
    "code in a number": line("threshold", "__import__('os') 1 1 1 1 1 1"),
    "numbers beyond count": line("split_feature", "9" * 400 + " 0 0 0 0 0 0"),
    "features beyond count": line("max_feature_idx", str(10**12), tree=False),
    "negative features": line("max_feature_idx", "-1", tree=False),
    "outputs beyond count": line("num_tree_per_iteration", str(10**9), tree=False),
    "rounds that do not end": line("num_tree_per_iteration", "7", tree=False),
    "a header alone": lambda text: text[: text.index("Tree=0")],
    "no trees": lambda text: text[: text.index("Tree=0")] + "end of trees\n",
    "a text cut off": lambda text: text[: len(text) // 4],
    "another text": lambda text: "<html>" + text,
    "categories of objects": lambda text: text.partition("pandas_categorical:")[0] + "pandas_categorical:[[{}]]",
    "categories nested": lambda text: text.partition("pandas_categorical:")[0] + "pandas_categorical:" + "[" * 10**5,
    "linear leaves outside": line(
        "is_linear", f"1\nleaf_const={'1 ' * 8}\nnum_features=1{' 0' * 7}\nleaf_features=99\nleaf_coeff=1"
    ),
    "linear leaves of other numbers": line("is_linear", "1\nleaf_const=1\nnum_features=1"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIGHTGBM_CRAFTED)
def test_lightgbm_text_that_contradicts_itself_is_refused(text: str, name: str) -> None:
    crafted = LIGHTGBM_CRAFTED[name](text)
    assert crafted != text
    with pytest.raises((BrokenArtifact, UnsafeStructure)):
        lightgbm_text.decode(crafted)


def test_xgboost_objective_function_asks_for_another_objective() -> None:
    state = {"_Booster": object.__new__(xgboost_estimators.Booster), "objective": abs}
    with pytest.raises(NoPrediction, match="Train it with the name of an objective"):
        object.__new__(xgboost_estimators.XGBClassifier).__setstate__(state)


def test_lightgbm_objective_of_ones_own_is_named(text: str) -> None:
    with pytest.raises(NoPrediction, match="trained with an objective function of your own, which is not served"):
        lightgbm_text.decode(text.replace("objective=binary sigmoid:1\n", ""))


@pytest.mark.parametrize("seed", range(4))
def test_damaged_model_is_refused_or_bounded(document: Document, text: str, seed: int) -> None:
    """Whatever bytes are changed, the decoders raise the registry's errors alone, and what they take can be walked."""
    generator = np.random.default_rng(seed)
    blobs = [bytes(made.xgboost_by_sets().save_raw("ubj")), json.dumps(document).encode(), text.encode()]
    for blob in blobs:
        for _ in range(60):
            damaged = damage(blob, generator)
            try:
                if blob is blobs[2]:
                    model = lightgbm_text.decode(damaged.decode("latin1"))
                else:
                    model = xgboost_document.decode(damaged)
            except ArtifactError:
                continue
            assert model.answers(np.zeros((2, model.n_features))).shape == (2, model.n_outputs)
