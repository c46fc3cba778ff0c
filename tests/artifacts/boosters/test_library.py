"""Boosters answer by the library that trained them as they do by themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import xgboost

from models_registry.artifacts.boosters import library
from models_registry.artifacts.boosters.library import leave_libraries, use_libraries
from models_registry.artifacts.boosters.library_check import check_with_library
from models_registry.artifacts.boosters.model import BoostedModel
from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.prediction import call
from models_registry.compilation import library_form
from models_registry.errors import BrokenArtifact
from tests.artifacts.boosters.test_estimators import ESTIMATORS
from tests.support import boosters as made

OF_TREES = {name: make for name, make in ESTIMATORS.items() if name != "xgboost, linear"}
# XGBoost adds in float32, LightGBM in another order: the last bits differ.
WITHIN = 1e-6


def opened(make: Callable[[], Any], path: Path) -> Any:
    joblib.dump(make(), path)
    return open_artifact(path, "joblib")


def rows_for(name: str) -> np.ndarray:
    rows = made.asked()
    rows[0, 0], rows[1, 0], rows[2, 1] = np.inf, -np.inf, 1e300
    return np.nan_to_num(made.asked()) if name == "stacking" else rows


@pytest.mark.parametrize("name", OF_TREES)
def test_library_answers_as_the_estimator_does(name: str, tmp_path: Path) -> None:
    model, rows = opened(OF_TREES[name], tmp_path / "model.joblib"), rows_for(name)
    rows = rows if name not in {"pipeline", "search", "calibrated", "voting"} else made.asked()
    expected = call(model, rows)
    assert use_libraries(model)
    found = call(model, rows)
    leave_libraries(model)
    if expected.labels.dtype.kind == "f":
        np.testing.assert_allclose(found.labels, expected.labels, rtol=WITHIN)
    else:
        assert found.labels.tolist() == expected.labels.tolist()
    if expected.probabilities is not None:
        np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=WITHIN)


@pytest.mark.parametrize("depth", [3, 6, 9])
def test_library_reads_the_copy_of_trees_of_any_depth(depth: int, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(2_000, 4))
    target = rows[:, 0] * rows[:, 1] + rows[:, 2] > 0
    trained = xgboost.XGBClassifier(n_estimators=3, max_depth=depth, n_jobs=1).fit(rows, target)
    model = opened(lambda: trained, tmp_path / "model.joblib")
    check_with_library([model])
    assert model.predict_proba(rows) == pytest.approx(trained.predict_proba(rows), rel=1e-6)


def test_few_rows_are_answered(tmp_path: Path) -> None:
    model = opened(ESTIMATORS["xgboost, three classes"], tmp_path / "model.joblib")
    rows = made.asked()
    expected = [model.predict_proba(rows[:count]).tolist() for count in (1, 2)]
    use_libraries(model)
    assert [model.predict_proba(rows[:count]).tolist() for count in (1, 2)] == expected


@pytest.mark.parametrize(
    ("name", "most_nodes"), [("xgboost, linear", 10**6), ("xgboost, two classes", 10)], ids=["linear", "large"]
)
def test_models_that_gain_nothing_are_left(
    name: str, most_nodes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "MAX_NODES", most_nodes)
    model = opened(ESTIMATORS[name], tmp_path / "model.joblib")
    assert not use_libraries(model)
    assert model.library_ is None


@pytest.mark.parametrize(("clear_share", "is_used"), [(float("inf"), True), (0.0, False)], ids=["faster", "slower"])
@pytest.mark.parametrize("name", ["xgboost, three classes", "lightgbm, regressor", "pipeline"])
def test_library_is_used_where_it_is_faster(
    name: str, clear_share: float, is_used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library_form, "CLEAR_SHARE", clear_share)
    monkeypatch.setattr("models_registry.compilation.timing.SECONDS", 0.0)
    model = opened(ESTIMATORS[name], tmp_path / "model.joblib")
    rows = np.nan_to_num(made.rows()[:70]).tolist()
    assert library_form.use_if_faster(model, infer_schema(model), rows, rows[:5]).is_used == is_used
    booster = model[-1] if name == "pipeline" else model
    assert (booster.library_ is not None) == is_used


@pytest.mark.parametrize(
    ("name", "timings", "is_used"),
    [
        ("pipeline", [100, 95, 400, 1_000], True),
        ("pipeline", [100, 95, 990, 1_000], False),
        ("pipeline", [100, 50], True),
        ("xgboost, three classes", [100, 95], False),
    ],
    ids=["faster for many", "never faster", "faster for few", "alone"],
)
def test_steps_before_a_booster_hide_no_faster_library(
    name: str, timings: list[float], is_used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = iter(timings)
    monkeypatch.setattr(library_form, "lower_quartiles", lambda answer, **_: (answer(), [next(waiting)])[1])
    model = opened(ESTIMATORS[name], tmp_path / "model.joblib")
    rows = np.nan_to_num(made.rows()[:70]).tolist()
    choice = library_form.use_if_faster(model, infer_schema(model), rows, rows[:5], many_rows=200)
    assert (choice.is_used, choice.problem, list(waiting)) == (is_used, None, [])
    assert (getattr(model, "steps", [("", model)])[-1][1].library_ is not None) == is_used


@pytest.mark.parametrize("name", ["pipeline", "search"])
def test_pipeline_of_a_booster_evaluates_rows_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = opened(ESTIMATORS[name], tmp_path / "model.joblib"), made.asked()
    expected = model.predict(rows), model.predict_proba(rows)
    evaluated: list[int] = []
    margins = BoostedModel.margins
    monkeypatch.setattr(
        BoostedModel, "margins", lambda self, part: (evaluated.append(len(part)), margins(self, part))[1]
    )
    found = call(model, rows)
    assert evaluated == [len(rows)]
    assert found.labels.tolist() == expected[0].tolist()
    assert found.probabilities.tolist() == expected[1].tolist()


def unlike(source: Any, *, iterations: int | None = None) -> Any:
    return lambda rows: np.full((len(rows), source.model.n_outputs), 7.0)


def absent(source: Any, *, iterations: int | None = None) -> Any:
    raise BrokenArtifact("The library is not installed here.")


@pytest.mark.parametrize(("open_library", "problem"), [(unlike, "Disagreement: "), (absent, "not installed here")])
def test_library_that_disagrees_or_fails_is_left(
    open_library: Any, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library_form, "CLEAR_SHARE", float("inf"))
    monkeypatch.setattr("models_registry.compilation.timing.SECONDS", 0.0)
    monkeypatch.setattr(library, "open_library", open_library)
    model = opened(ESTIMATORS["xgboost, three classes"], tmp_path / "model.joblib")
    rows = np.nan_to_num(made.rows()[:70]).tolist()
    choice = library_form.use_if_faster(model, infer_schema(model), rows, rows[:5])
    assert not choice.is_used
    assert problem in choice.problem
    assert model.library_ is None
