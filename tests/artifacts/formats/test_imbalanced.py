"""Pipelines of imbalanced-learn predict without their samplers, and without the library."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from imblearn import combine, ensemble, over_sampling, pipeline, under_sampling
from imblearn.base import FunctionSampler
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.policy import judge
from models_registry.artifacts.prediction import call
from models_registry.errors import ArtifactError

X = np.random.RandomState(0).rand(120, 3)
Y = (X[:, 0] > 0.75).astype(int)
SAMPLERS: list[Any] = [
    *(getattr(over_sampling, name)() for name in ("ADASYN", "RandomOverSampler", "SMOTE", "BorderlineSMOTE",
                                                  "SVMSMOTE", "KMeansSMOTE")),
    over_sampling.SMOTENC(categorical_features=[2]),
    *(getattr(under_sampling, name)() for name in under_sampling.__all__),
    *(getattr(combine, name)() for name in combine.__all__),
]  # fmt: skip


def _name(value: Any) -> str:
    return type(value).__name__


def _fitted(model: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return model.fit(X, Y)
        except (ValueError, RuntimeError):
            # A sampler that finds no cluster in these rows: its pipeline is written with the steps fitted before.
            scaled = StandardScaler().fit(X)
            last = LogisticRegression().fit(scaled.transform(X), Y)
            return type(model)([("scale", scaled), ("sample", model.steps[1][1]), ("model", last)])


@pytest.mark.parametrize("sampler", SAMPLERS, ids=_name)
@pytest.mark.parametrize("ending", ["joblib", "skops"])
def test_sampler_is_passed_by(sampler: Any, ending: str, tmp_path: Path) -> None:
    steps = [("scale", StandardScaler()), ("sample", sampler), ("model", LogisticRegression())]
    model = _fitted(pipeline.Pipeline(steps))
    path = tmp_path / f"m.{ending}"
    joblib.dump(model, path) if ending == "joblib" else skops.io.dump(model, path)
    assert judge(inspect_artifact(path, ending, max_claimed_bytes=10**9)) == ()
    opened = open_artifact(path, ending)
    assert opened.steps[1] == ("sample", "passthrough")
    found, expected = call(opened, X), model.predict_proba(X)
    np.testing.assert_array_equal(found.probabilities, expected)
    assert found.predictions() == model.predict(X).tolist()


@pytest.mark.parametrize(
    "model",
    [
        GridSearchCV(
            pipeline.Pipeline([("s", over_sampling.SMOTE(k_neighbors=2)), ("m", LogisticRegression())]),
            {"m__C": [1.0, 2.0]}, cv=2,
        ),
        ensemble.BalancedRandomForestClassifier(5, random_state=0),
        ensemble.BalancedBaggingClassifier(DecisionTreeClassifier(), n_estimators=3, random_state=0),
        ensemble.EasyEnsembleClassifier(2, random_state=0),
    ],
    ids=_name,
)  # fmt: skip
def test_searches_and_ensembles_answer_as_the_library(model: Any, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, Y)
    joblib.dump(model, tmp_path / "m.joblib")
    assert judge(inspect_artifact(tmp_path / "m.joblib", "joblib", max_claimed_bytes=10**9)) == ()
    opened = open_artifact(tmp_path / "m.joblib", "joblib")
    np.testing.assert_array_equal(call(opened, X).probabilities, model.predict_proba(X))


def test_library_itself_is_not_needed(tmp_path: Path) -> None:
    model = pipeline.Pipeline([("sample", over_sampling.RandomOverSampler()), ("model", LogisticRegression())])
    joblib.dump(model.fit(X, Y), tmp_path / "m.joblib")
    program = (
        "import sys; sys.modules['imblearn'] = None\n"
        "from pathlib import Path\n"
        "from models_registry.artifacts.formats import open_artifact\n"
        f"print(open_artifact(Path({str(tmp_path / 'm.joblib')!r}), 'joblib').predict([[0.9, 0.1, 0.1]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in {"[0]", "[1]"}


def test_a_sampler_at_the_end_hands_rows_on(tmp_path: Path) -> None:
    model = pipeline.Pipeline([("scale", StandardScaler()), ("sample", over_sampling.SMOTE())])
    joblib.dump(model.fit(X, Y), tmp_path / "m.joblib")
    answers = open_artifact(tmp_path / "m.joblib", "joblib").predict(X)
    np.testing.assert_allclose(answers, StandardScaler().fit(X).transform(X))


@pytest.mark.parametrize(
    "model",
    [
        pipeline.Pipeline([("sample", FunctionSampler(func=np.load)), ("model", LogisticRegression())]),
        ensemble.RUSBoostClassifier(n_estimators=2, random_state=0).fit(X, Y),
    ],
    ids=["function", "boosted"],
)
def test_what_cannot_be_passed_by_is_refused(model: Any, tmp_path: Path) -> None:
    joblib.dump(model, tmp_path / "m.joblib")
    with pytest.raises(ArtifactError):
        open_artifact(tmp_path / "m.joblib", "joblib")
