"""Estimators of XGBoost and LightGBM in files are served as they answered at their training."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import skops.io
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.formats.migrations.proven import unproven_parts
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.load_test import LoadTestRequest, run_load_test
from models_registry.artifacts.policy import judge
from models_registry.artifacts.prediction import call
from models_registry.compilation.compiler import verified_candidate
from models_registry.errors import ArtifactError, BrokenArtifact, NoPrediction
from tests.support import boosters as made

QUICK = {"n_estimators": 10, "max_depth": 3, "n_jobs": 1}
LIGHT = {"n_estimators": 10, "num_leaves": 6, "n_jobs": 1, "verbose": -1}
LABELS = np.array(["no", "perhaps", "yes"])


def classifier(**parameters: Any) -> Any:
    return xgboost.XGBClassifier(**QUICK, **parameters)


def light(**parameters: Any) -> Any:
    return lightgbm.LGBMClassifier(**LIGHT, **parameters)


def stopped_xgboost() -> Any:
    model = xgboost.XGBRegressor(n_estimators=200, early_stopping_rounds=3, n_jobs=1)
    target = made.targets("values")
    rows = made.rows()
    return model.fit(rows[:200], target[:200], eval_set=[(rows[200:], target[200:])], verbose=False)


def stopped_lightgbm() -> Any:
    model = lightgbm.LGBMRegressor(n_estimators=300, n_jobs=1, verbose=-1)
    target = made.targets("values")
    stop = lightgbm.early_stopping(3, verbose=False)
    rows = made.rows()
    return model.fit(rows[:200], target[:200], eval_X=rows[200:], eval_y=target[200:], callbacks=[stop])


def members() -> list[tuple[str, Any]]:
    return [("x", classifier()), ("l", light())]


ESTIMATORS: dict[str, Callable[[], Any]] = {
    "xgboost, two classes": lambda: classifier().fit(made.rows(), made.targets("two")),
    "xgboost, three classes": lambda: classifier().fit(made.rows(), made.targets("three")),
    "xgboost, softmax": lambda: classifier(objective="multi:softmax").fit(made.rows(), made.targets("three")),
    "xgboost, hinge": lambda: classifier(objective="binary:hinge").fit(made.rows(), made.targets("two")),
    "xgboost, regressor": lambda: xgboost.XGBRegressor(**QUICK).fit(made.rows(), made.targets("values")),
    "xgboost, two outputs": lambda: xgboost.XGBRegressor(**QUICK).fit(made.rows(), made.targets("many")),
    "xgboost, random forest": lambda: xgboost.XGBRFClassifier(**QUICK).fit(made.rows(), made.targets("three")),
    "xgboost, ranker": lambda: xgboost.XGBRanker(**QUICK).fit(
        made.rows(), made.targets("two"), qid=np.repeat(np.arange(30), 10)
    ),
    "xgboost, zero is missing": lambda: classifier(missing=0.0).fit(made.rows(), made.targets("two")),
    "xgboost, stopped early": stopped_xgboost,
    "xgboost, linear": lambda: xgboost.XGBClassifier(booster="gblinear", n_estimators=5).fit(
        np.nan_to_num(made.rows()), made.targets("two")
    ),
    "xgboost, booster": made.xgboost_booster,
    "lightgbm, two classes": lambda: light().fit(made.rows(), made.targets("two")),
    "lightgbm, labels of text": lambda: light().fit(made.rows(), LABELS[made.targets("three")]),
    "lightgbm, regressor": lambda: lightgbm.LGBMRegressor(**LIGHT).fit(made.rows(), made.targets("values")),
    "lightgbm, ranker": lambda: lightgbm.LGBMRanker(**LIGHT).fit(made.rows(), made.targets("two"), group=[10] * 30),
    "lightgbm, stopped early": stopped_lightgbm,
    "lightgbm, sets": lambda: light(min_data_per_group=5).fit(
        made.rows(), made.targets("two"), categorical_feature=[made.CATEGORICAL]
    ),
    "lightgbm, booster": made.lightgbm_booster,
    "pipeline": lambda: make_pipeline(StandardScaler(), classifier()).fit(made.rows(), made.targets("two")),
    "search": lambda: GridSearchCV(light(), {"max_depth": [2, 3]}, cv=2).fit(made.rows(), made.targets("two")),
    "calibrated": lambda: CalibratedClassifierCV(classifier(), cv=2).fit(made.rows(), made.targets("two")),
    "voting": lambda: VotingClassifier(members(), voting="soft").fit(made.rows(), made.targets("three")),
    "stacking": lambda: StackingClassifier(members(), LogisticRegression(), cv=2).fit(
        np.nan_to_num(made.rows()), made.targets("two")
    ),
}  # fmt: skip


def native(estimator: Any, method: str, rows: np.ndarray) -> np.ndarray:
    if isinstance(estimator, xgboost.Booster):
        rows = xgboost.DMatrix(rows)
    return np.asarray(getattr(estimator, method)(rows))


def dumped(estimator: Any, folder: Path) -> Path:
    path = folder / "model.joblib"
    joblib.dump(estimator, path)
    return path


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimator_answers_as_at_its_training(name: str, tmp_path: Path) -> None:
    """As it is, and in its compiled form, which every one of these has."""
    estimator = ESTIMATORS[name]()
    path = dumped(estimator, tmp_path)
    assert judge(inspect_artifact(path, "joblib", max_claimed_bytes=10**8)) == ()
    served = open_artifact(path, "joblib")
    rows = np.nan_to_num(made.asked()) if name in {"stacking", "xgboost, linear"} else made.asked()
    compare(estimator, served, rows)
    schema = infer_schema(served)
    found = verified_candidate(served, schema, np.nan_to_num(rows[:5]).tolist())
    assert not isinstance(found, str), found
    compare(estimator, found.compiled, rows)


def compare(estimator: Any, served: Any, rows: np.ndarray) -> None:
    expected = native(estimator, "predict", rows)
    answer = call(served, rows)
    if expected.dtype.kind == "f":
        assert np.allclose(answer.labels, expected, rtol=2e-6, atol=2e-6)
    else:
        assert answer.labels.dtype.kind == expected.dtype.kind
        assert np.array_equal(answer.labels, expected)
    if hasattr(estimator, "predict_proba"):
        assert np.allclose(answer.probabilities, native(estimator, "predict_proba", rows), atol=2e-6)


@pytest.mark.parametrize("protocol", range(6))
def test_every_pickle_protocol_is_read(protocol: int, tmp_path: Path) -> None:
    for name in ("xgboost, two classes", "lightgbm, two classes"):
        estimator = ESTIMATORS[name]()
        path = tmp_path / "model.pkl"
        path.write_bytes(pickle.dumps(estimator, protocol))
        compare(estimator, open_artifact(path, "joblib"), made.asked())


@pytest.mark.parametrize("name", ["xgboost, two classes", "lightgbm, labels of text", "pipeline", "voting"])
def test_skops_file_is_served(name: str, tmp_path: Path) -> None:
    estimator = ESTIMATORS[name]()
    path = tmp_path / "model.skops"
    skops.io.dump(estimator, path)
    assert judge(inspect_artifact(path, "skops", max_claimed_bytes=10**8)) == ()
    compare(estimator, open_artifact(path, "skops"), made.asked())


@pytest.mark.parametrize("ending", ["ubj", "json"])
@pytest.mark.parametrize(
    "name", ["xgboost, two classes", "xgboost, three classes", "xgboost, regressor", "xgboost, stopped early",
             "xgboost, booster"]
)  # fmt: skip
def test_xgboost_file_is_served_as_its_own_class(name: str, ending: str, tmp_path: Path) -> None:
    estimator = ESTIMATORS[name]()
    path = tmp_path / f"model.{ending}"
    estimator.save_model(path)
    found = inspect_artifact(path, "xgboost", max_claimed_bytes=10**8)
    assert judge(found) == ()
    assert found.versions["xgboost"] == (xgboost.__version__,)
    compare(estimator, open_artifact(path, "xgboost"), made.asked())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"accuracy": 0.9}', "its model is not as XGBoost writes it"),
        (b'{"learner": ', "its JSON is damaged"),
        (b"{" + b'"a":[' * 100_000, "its JSON is damaged"),
        (b"binf" + bytes(100), "save_model('model.json')"),
        (b"", "empty file"),
        (b"<html>", "HTML page"),
    ],
)
def test_file_without_an_xgboost_model_is_described(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_bytes(content)
    (reason,) = judge(inspect_artifact(path, "xgboost", max_claimed_bytes=10**8))
    assert said in reason


def test_absent_sparse_entry_is_missing_to_xgboost(tmp_path: Path) -> None:
    texts = [f"{'good' if number % 3 else 'bad'} word{number % 7}" for number in range(100)]
    target = np.array([number % 3 == 0 for number in range(100)]).astype(int)
    for last in (classifier(), light(min_child_samples=2)):
        estimator = make_pipeline(TfidfVectorizer(), MaxAbsScaler(), last).fit(texts, target)
        served = open_artifact(dumped(estimator, tmp_path), "joblib")
        answer = call(served, ["good", "bad", "word1", "never seen"])
        assert np.allclose(answer.probabilities, estimator.predict_proba(["good", "bad", "word1", "never seen"]))


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_columns_of_categories_take_their_values(library: str, tmp_path: Path) -> None:
    table = made.frame()
    estimator = classifier(enable_categorical=True) if library == "xgboost" else light(min_data_per_group=5)
    estimator.fit(table, made.targets("two"))
    path = dumped(estimator, tmp_path)
    served = open_artifact(path, "joblib")
    schema = infer_schema(served)
    city = schema.inputs[-1]
    # XGBoost refuses what it has not seen, LightGBM takes it for missing.
    assert (city.name, city.type, city.nullable, city.closed) == ("city", "string", True, library == "xgboost")
    names = ("city 1", "city 7", None, "city 7" if library == "xgboost" else "never seen")
    rows = [[0.1, None, 0.3, -1.0, name] for name in names]
    asked = made.frame().head(4)
    asked.iloc[:, :4] = [0.1, np.nan, 0.3, -1.0]
    known = table["city"].cat.categories
    asked["city"] = pd.Categorical([name if name in known else None for name in names], categories=known)
    expected = estimator.predict_proba(asked)
    assert np.allclose(call(served, schema.parse(rows)).probabilities, expected, rtol=2e-7, atol=1e-7)
    found = verified_candidate(served, schema)
    assert not isinstance(found, str), found
    assert np.allclose(call(found.compiled, schema.parse(rows)).probabilities, expected, rtol=2e-7, atol=1e-7)
    report = run_load_test(LoadTestRequest(path=path, format="joblib"))
    assert report.passed, report.reason


@pytest.mark.parametrize(
    ("parts", "is_verified"),
    [
        (("xgboost_estimators.XGBClassifier",), True),
        (("lightgbm_estimators.LGBMClassifier", "sklearn.preprocessing._label.LabelEncoder"), True),
        (("xgboost_estimators.XGBClassifier", "sklearn.never.Seen"), False),
        (("sklearn.preprocessing._label.LabelEncoder",), False),
    ],
)
def test_booster_is_verified_whatever_version_wrote_it(parts: tuple[str, ...], is_verified: bool) -> None:
    """Its answers are compared with the library's; what lies beside it needs its own proof."""
    names = [f"models_registry.artifacts.boosters.{name}" if "estimators" in name else name for name in parts]
    assert (unproven_parts(names, ["0.19.0"]) == ()) is is_verified


@pytest.mark.parametrize("name", ["xgboost, two classes", "lightgbm, sets", "calibrated"])
def test_load_test_compares_with_the_library(name: str, tmp_path: Path) -> None:
    path = dumped(ESTIMATORS[name](), tmp_path)
    report = run_load_test(LoadTestRequest(path=path, format="joblib"))
    assert report.passed, report.reason


def test_answers_that_the_library_does_not_give_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models_registry.artifacts.boosters import library_check, links

    served = open_artifact(dumped(ESTIMATORS["xgboost, two classes"](), tmp_path), "joblib")
    library_check.check_with_library([served])
    monkeypatch.setattr(links, "to_margin", lambda link, answer: np.asarray(answer, dtype=np.float64) + 1.0)
    other = open_artifact(tmp_path / "model.joblib", "joblib")
    with pytest.raises(NoPrediction, match="give different predictions"):
        library_check.check_with_library([other])


@pytest.mark.parametrize("cls", [xgboost.XGBClassifier, lightgbm.LGBMClassifier])
def test_estimator_that_was_never_fitted_says_so(cls: Any, tmp_path: Path) -> None:
    report = run_load_test(LoadTestRequest(path=dumped(cls(), tmp_path), format="joblib"))
    assert not report.passed
    assert "fitted" in report.reason


@pytest.mark.parametrize(
    ("module", "name"),
    [("xgboost.core", "Booster"), ("lightgbm.basic", "Booster"), ("xgboost.sklearn", "XGBClassifier"),
     ("lightgbm.sklearn", "LGBMRegressor")],
)  # fmt: skip
@pytest.mark.parametrize(
    "state", [None, 7, [], {"handle": 7}, {"handle": b"x"}, {"_handle": "x"}, {"_Booster": 7}, {"_Booster": {}}]
)
def test_crafted_state_is_refused(module: str, name: str, state: Any, tmp_path: Path) -> None:
    from tests.artifacts.attacks import PROTO, STOP, value
    from tests.artifacts.attacks import name as named

    path = tmp_path / "model.joblib"
    path.write_bytes(PROTO + named(module, name) + b")\x81" + value(state) + b"b" + STOP)
    try:
        served = open_artifact(path, "joblib")
    except ArtifactError:
        return
    with pytest.raises((ArtifactError, ValueError)):
        served.predict(np.zeros((1, 1)))


def test_wrapper_around_another_booster_is_refused(tmp_path: Path) -> None:
    from models_registry.artifacts.boosters.xgboost_estimators import XGBRegressor

    with pytest.raises(BrokenArtifact):
        XGBRegressor().__setstate__({"_Booster": XGBRegressor()})
