"""LightGBM's own text files, as `Booster.save_model` and MLflow write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import pytest

from models_registry.artifacts.features import DeclaredInput
from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.load_test import LoadTestRequest, run_load_test
from models_registry.artifacts.manifest import Sample
from models_registry.artifacts.policy import judge
from models_registry.errors import BrokenArtifact
from tests.support import boosters as made


def stopped_early() -> Any:
    """Return a booster that was trained beyond its best iteration."""
    data = lightgbm.Dataset(made.rows(), made.targets("two"), free_raw_data=False)
    noise = lightgbm.Dataset(made.rows(), np.random.default_rng(0).integers(0, 2, len(made.rows())), reference=data)
    return lightgbm.train(
        {"objective": "binary", "verbose": -1, "num_threads": 1},
        data,
        40,
        valid_sets=[noise],
        callbacks=[lightgbm.early_stopping(5, verbose=False)],
    )


BOOSTERS: dict[str, Callable[[], Any]] = {
    "two classes": made.lightgbm_booster,
    "three classes": lambda: made.lightgbm_booster("multiclass", "three", num_class=3),
    "values": lambda: made.lightgbm_booster("regression", "values"),
    "counts": lambda: made.lightgbm_booster("poisson", "positive"),
    "random forest": lambda: made.lightgbm_booster(boosting="rf", bagging_freq=1, bagging_fraction=0.5),
    "stopped early": stopped_early,
}


def saved(booster: Any, folder: Path) -> Path:
    path = folder / "model.lgb"
    booster.save_model(path)
    return path


@pytest.mark.parametrize("name", BOOSTERS)
def test_a_file_answers_as_the_booster(name: str, tmp_path: Path) -> None:
    booster = BOOSTERS[name]()
    path = saved(booster, tmp_path)
    assert judge(inspect_artifact(path, "lightgbm", max_claimed_bytes=10**8)) == ()
    answers = open_artifact(path, "lightgbm").predict(made.asked())
    np.testing.assert_allclose(answers, booster.predict(made.asked()), rtol=1e-12, atol=1e-12)


def test_a_file_is_ready_and_compared_with_the_library(tmp_path: Path) -> None:
    report = run_load_test(LoadTestRequest(path=saved(made.lightgbm_booster(), tmp_path), format="lightgbm"))
    assert report.passed, report.reason
    assert (report.schema["kind"], report.schema["outputs"]) == ("regressor", 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"tree\nversion=v4\n", "it ends before its trees do"),
        (b"tree\nend of trees\n", "it is not as LightGBM writes it"),
        (b"trees are plants", "its first line is not 'tree'"),
        (b"tree\n\xff\xfe", "it is not text"),
        (b"", "empty file"),
        (b"<html>", "HTML page"),
        (b"\x80\x04K\x01.", "it is not text"),
    ],
)
def test_file_without_a_model_is_described(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.lgb"
    path.write_bytes(content)
    (reason,) = judge(inspect_artifact(path, "lightgbm", max_claimed_bytes=10**8))
    assert said in reason


@pytest.mark.parametrize("is_declared", [True, False])
def test_names_with_spaces_are_those_of_the_training(is_declared: bool, tmp_path: Path) -> None:
    table = made.frame().rename(columns=lambda name: f"the {name}")
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(table, made.targets("two"))
    joblib.dump(model, tmp_path / "model.joblib")
    whole = table.dropna().head(5)
    report = run_load_test(
        LoadTestRequest(
            path=tmp_path / "model.joblib",
            format="joblib",
            declared=tuple(DeclaredInput(name) for name in table.columns) if is_declared else None,
            sample=Sample(whole.to_dict("records"), model.predict(whole).tolist()),
        )
    )
    assert report.passed, report.reason
    assert [item["name"] for item in report.schema["inputs"]] == list(table.columns)


def test_a_file_that_is_cut_off_does_not_load(tmp_path: Path) -> None:
    path = saved(made.lightgbm_booster(), tmp_path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(BrokenArtifact, match="cannot be read"):
        open_artifact(path, "lightgbm")
