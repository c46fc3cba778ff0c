"""Models of XGBoost and LightGBM answer as the libraries do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import xgboost

from models_registry.artifacts.boosters import lightgbm_text, xgboost_copy, xgboost_document
from models_registry.artifacts.boosters.library_check import check_source
from models_registry.artifacts.boosters.model import BoostedModel
from tests.support import boosters as made

VALUES, POSITIVE, TWO, THREE = "values", "positive", "two", "three"
XGBOOST = [
    *(("reg:squarederror", VALUES), ("reg:absoluteerror", VALUES), ("reg:pseudohubererror", VALUES)),
    *(("reg:squaredlogerror", POSITIVE), ("count:poisson", POSITIVE), ("reg:gamma", POSITIVE)),
    *(("reg:tweedie", POSITIVE), ("reg:logistic", TWO), ("binary:logistic", TWO), ("binary:logitraw", TWO)),
    *(("binary:hinge", TWO), ("multi:softprob", THREE), ("survival:cox", POSITIVE), ("survival:aft", POSITIVE)),
    *(("rank:pairwise", TWO), ("rank:ndcg", TWO), ("rank:map", TWO)),
]
XGBOOST_KINDS: dict[str, Callable[[], Any]] = {
    "dart": lambda: made.xgboost_booster(booster="dart", rate_drop=0.3),
    "linear": lambda: made.xgboost_booster(booster="gblinear"),
    "linear, three classes": lambda: made.xgboost_booster("multi:softprob", THREE, booster="gblinear"),
    "several outputs": lambda: made.xgboost_booster("reg:squarederror", "many"),
    "quantiles": lambda: made.xgboost_booster("reg:quantileerror", VALUES, quantile_alpha=np.array([0.1, 0.9])),
    "parallel trees": lambda: made.xgboost_booster("multi:softprob", THREE, num_parallel_tree=3),
    "pruned": lambda: made.xgboost_booster(tree_method="exact", max_depth=8, gamma=2.0),
    "leaf by leaf": lambda: made.xgboost_booster(grow_policy="lossguide", max_leaves=20, max_depth=0),
    "sets of categories": made.xgboost_by_sets,
    "one category against the rest": lambda: made.xgboost_by_sets(max_cat_to_onehot=100),
}
LIGHTGBM = [
    *(("regression", VALUES), ("regression_l1", VALUES), ("huber", VALUES), ("fair", VALUES), ("quantile", VALUES)),
    *(("poisson", POSITIVE), ("gamma", POSITIVE), ("tweedie", POSITIVE), ("mape", POSITIVE), ("binary", TWO)),
    *(("cross_entropy", TWO), ("cross_entropy_lambda", TWO), ("lambdarank", TWO)),
]
LIGHTGBM_KINDS: dict[str, Callable[[], Any]] = {
    "three classes": lambda: made.lightgbm_booster("multiclass", THREE, num_class=3),
    "one against the rest": lambda: made.lightgbm_booster("multiclassova", THREE, num_class=3, sigmoid=2.0),
    "steep sigmoid": lambda: made.lightgbm_booster(sigmoid=2.0),
    "roots": lambda: made.lightgbm_booster("regression", VALUES, reg_sqrt=True),
    "dart": lambda: made.lightgbm_booster(boosting="dart"),
    "random forest": lambda: made.lightgbm_booster(boosting="rf", bagging_freq=1, bagging_fraction=0.5),
    "zero is missing": lambda: made.lightgbm_booster(zero_as_missing=True),
    "missing is zero": lambda: made.lightgbm_booster(use_missing=False),
    "linear leaves": lambda: made.lightgbm_booster("regression", VALUES, by_sets=False, linear_tree=True),
}


class Read(NamedTuple):
    """A model as a file holds it."""

    model: BoostedModel
    blob: Any


def compare_xgboost(booster: Any, forms: tuple[str, ...]) -> None:
    asked = made.asked().astype(np.float32)
    types = booster.feature_types
    data = xgboost.DMatrix(asked, feature_types=types, enable_categorical=types is not None)
    expected = booster.predict(data)
    for form in forms:
        blob = bytes(booster.__getstate__()["handle"] if form == "pickle" else booster.save_raw(form))
        model = xgboost_document.decode(blob)
        check_source(Read(model, blob))
        found = model.answers(asked)
        # To the last bit of float32, but where sums of a linear model round in another order.
        assert np.allclose(found.reshape(expected.shape), expected, rtol=2e-7, atol=1e-7)
        copy = xgboost.Booster()
        copy.load_model(bytearray(xgboost_copy.copy_of(blob)))
        assert np.array_equal(copy.predict(xgboost.DMatrix(asked)), expected)


@pytest.mark.parametrize(("objective", "target"), XGBOOST)
def test_xgboost_objective_answers_alike(objective: str, target: str) -> None:
    compare_xgboost(made.xgboost_booster(objective, target), ("ubj",))


@pytest.mark.parametrize("kind", XGBOOST_KINDS)
def test_xgboost_kind_answers_alike_from_every_form(kind: str) -> None:
    compare_xgboost(XGBOOST_KINDS[kind](), ("pickle", "ubj", "json"))


@pytest.mark.parametrize("told_by", ["model", "settings", "attributes"])
def test_parallel_trees_of_older_versions_are_kept_together(told_by: str) -> None:
    """Before 1.6 the model did not say how many trees an iteration has, which the best iteration depends on."""
    document = made.xgboost_document(XGBOOST_KINDS["parallel trees"]())
    document["learner"]["attributes"]["best_iteration"] = "4"
    parameters = document["learner"]["gradient_booster"]["model"]["gbtree_model_param"]
    if told_by != "model":
        assert parameters.pop("num_parallel_tree") == "3"
    if told_by == "settings":
        train = {"gbtree_train_param": {"num_parallel_tree": "3"}}
        document = {"Model": document, "Config": {"learner": {"gradient_booster": train}}}
    if told_by == "attributes":
        document["learner"]["attributes"]["best_ntree_limit"] = "15"
    model = xgboost_document.decode(json.dumps(document).encode())
    kept = model.kept(model.best_iteration + 1)
    assert (kept.n_iterations, kept.forest.n_trees) == (5, 5 * 3 * 3)


def compare_lightgbm(booster: Any) -> None:
    import lightgbm

    expected = booster.predict(made.asked())
    text = booster.model_to_string()
    model = lightgbm_text.decode(text)
    check_source(Read(model, text))
    found = model.answers(made.asked())
    assert np.allclose(found.reshape(expected.shape), expected, rtol=1e-12, atol=1e-12)
    copy = lightgbm.Booster(model_str=lightgbm_text.copy_of(text))
    assert np.array_equal(copy.predict(made.asked()), expected)


@pytest.mark.parametrize(("objective", "target"), LIGHTGBM)
def test_lightgbm_objective_answers_alike(objective: str, target: str) -> None:
    compare_lightgbm(made.lightgbm_booster(objective, target))


@pytest.mark.parametrize("kind", LIGHTGBM_KINDS)
def test_lightgbm_kind_answers_alike(kind: str) -> None:
    compare_lightgbm(LIGHTGBM_KINDS[kind]())


def test_lightgbm_tiny_values_are_zero() -> None:
    booster = made.lightgbm_booster(by_sets=False)
    model = lightgbm_text.decode(booster.model_to_string())
    tiny = np.array([1e-36, -1e-36, 1e-35, -1e-35, 2e-35, -2e-35, 0.0, -0.0])
    asked = np.column_stack([tiny] * made.FEATURES)
    assert np.array_equal(model.margins(asked)[:, 0], booster.predict(asked, raw_score=True))
