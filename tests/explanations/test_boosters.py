"""Models of XGBoost and LightGBM, compared with the contributions that their own libraries give."""

from __future__ import annotations

import joblib
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models_registry.artifacts.boosters.lightgbm_text import decode
from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.inference import infer_schema
from models_registry.errors import NotExplainable
from models_registry.explanations.explainer import Explainer
from tests.support import boosters as made

QUICK = {"n_estimators": 10, "max_depth": 4, "n_jobs": 1}
LIGHT = {"n_estimators": 10, "num_leaves": 8, "n_jobs": 1, "verbose": -1}


def explainer(model, tmp_path):
    path = tmp_path / "model.joblib"
    joblib.dump(model, path)
    opened = open_artifact(path, "joblib")
    return Explainer(opened, infer_schema(opened))


XGBOOST = {
    "two classes": (made.xgboost_booster, {}, "log_odds"),
    "values": (made.xgboost_booster, {"objective": "reg:squarederror", "target": "values"}, "value"),
    "counts": (made.xgboost_booster, {"objective": "count:poisson", "target": "positive"}, "raw_score"),
    "dropped trees": (made.xgboost_booster, {"booster": "dart", "rate_drop": 0.3}, "log_odds"),
    "linear": (made.xgboost_booster, {"booster": "gblinear"}, "log_odds"),
    "sets of categories": (made.xgboost_by_sets, {}, "log_odds"),
}


@pytest.mark.parametrize("name", XGBOOST)
def test_xgboost_gives_the_same_contributions(name, tmp_path):
    make, given, output = XGBOOST[name]
    booster, rows = make(**given), made.asked() if make is made.xgboost_booster else made.rows()
    found = explainer(booster, tmp_path).explain(rows)
    types = None if make is made.xgboost_booster else ["q"] * made.CATEGORICAL + ["c"]
    data = xgboost.DMatrix(rows, feature_types=types, enable_categorical=types is not None)
    wanted = booster.predict(data, pred_contribs=True).reshape(len(rows), -1, made.FEATURES + 1)
    assert found.output == output
    np.testing.assert_allclose(found.contributions, wanted[..., :-1], atol=2e-5)
    np.testing.assert_allclose(found.base, wanted[0, :, -1], atol=2e-5)
    margins = booster.predict(data, output_margin=True)
    np.testing.assert_allclose(found.values, np.reshape(margins, found.values.shape), atol=2e-5)


LIGHTGBM = {
    "two classes": ({}, "log_odds"),
    "values": ({"objective": "regression", "target": "values", "by_sets": False}, "value"),
    "a forest": (
        {"objective": "regression", "target": "values", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
        "value",
    ),
    "zeros missing": ({"zero_as_missing": True, "by_sets": False}, "log_odds"),
}


@pytest.mark.parametrize("name", LIGHTGBM)
def test_lightgbm_gives_the_same_contributions(name, tmp_path):
    given, output = LIGHTGBM[name]
    booster, rows = made.lightgbm_booster(**given), made.asked()
    found = explainer(booster, tmp_path).explain(rows)
    # LightGBM adds the trees of a forest up here, and averages them in its predictions alone.
    trees = booster.num_trees() if given.get("boosting") == "rf" else 1
    wanted = booster.predict(rows, pred_contrib=True).reshape(len(rows), -1, made.FEATURES + 1) / trees
    assert found.output == output
    np.testing.assert_allclose(found.contributions, wanted[..., :-1], atol=1e-9)
    np.testing.assert_allclose(found.base, wanted[0, :, -1], atol=1e-9)
    margins = booster.predict(rows, raw_score=True) / trees
    np.testing.assert_allclose(found.values, np.reshape(margins, found.values.shape), atol=1e-9)


ESTIMATORS = {
    "xgboost": (xgboost.XGBClassifier(**QUICK), "two", "log_odds"),
    "xgboost of three classes": (xgboost.XGBClassifier(**QUICK), "three", "decision_function"),
    "xgboost of values": (xgboost.XGBRegressor(**QUICK), "values", "value"),
    "lightgbm": (lightgbm.LGBMClassifier(**LIGHT), "two", "log_odds"),
    "lightgbm of three classes": (lightgbm.LGBMClassifier(**LIGHT), "three", "decision_function"),
    "lightgbm in a pipeline": (make_pipeline(StandardScaler(), lightgbm.LGBMRegressor(**LIGHT)), "values", "value"),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_add_up_to_their_margin(name, tmp_path):
    model, target, output = ESTIMATORS[name]
    model.fit(made.rows(), made.targets(target))
    found = explainer(model, tmp_path).explain(made.asked())
    assert found.output == output
    wanted = (
        model.predict(made.asked())
        if output == "value"
        else model.predict(made.asked(), **{"output_margin" if "xgboost" in name else "raw_score": True})
    )
    np.testing.assert_allclose(found.values, np.reshape(wanted, found.values.shape), atol=2e-5)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if "three" in name])
def test_each_class_has_the_contributions_of_its_library(name, tmp_path):
    model, target, _ = ESTIMATORS[name]
    model.fit(made.rows(), made.targets(target))
    found = explainer(model, tmp_path).explain(made.asked())
    if "xgboost" in name:
        wanted = model.get_booster().predict(xgboost.DMatrix(made.asked()), pred_contribs=True)
    else:
        wanted = model.predict(made.asked(), pred_contrib=True)
    wanted = np.reshape(wanted, (len(made.asked()), 3, made.FEATURES + 1))
    np.testing.assert_allclose(found.contributions, wanted[..., :-1], atol=2e-5)
    np.testing.assert_allclose(found.base, wanted[0, :, -1], atol=2e-5)


def test_leaves_of_linear_functions_are_refused(tmp_path):
    booster = made.lightgbm_booster(objective="regression", target="values", by_sets=False, linear_tree=True)
    with pytest.raises(NotExplainable, match="linear functions"):
        explainer(booster, tmp_path)


@pytest.mark.parametrize("counts", ["", "leaf_count=many", "leaf_count=1 2"], ids=["none", "words", "too few"])
def test_trees_without_counts_predict_and_are_not_explained(counts):
    booster = made.lightgbm_booster(by_sets=False)
    text = "\n".join(
        counts if line.startswith("leaf_count=") else line for line in booster.model_to_string().splitlines()
    )
    model = decode(text)
    np.testing.assert_allclose(model.margins(made.asked())[:, 0], booster.predict(made.asked(), raw_score=True))
    assert model.forest.cover is None
