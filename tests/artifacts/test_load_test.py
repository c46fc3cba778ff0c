"""A load test reports the behaviour of an artifact and protects the calling process."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from skl2onnx import to_onnx
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from models_registry.artifacts import codes
from models_registry.artifacts.features import Feature
from models_registry.artifacts.load_test import LoadTestLimits, LoadTestReport, LoadTestRequest, run_load_test
from models_registry.artifacts.manifest import Sample
from models_registry.artifacts.schema import Schema
from tests.artifacts import models
from tests.artifacts.test_structure import NODE_CHANGES, spoil_tree

X = np.random.RandomState(0).rand(60, 3)
Y = (X[:, 0] > 0.5).astype(int)
ROWS = tuple(X[:4].tolist())


def probe_model(model: Any, folder: Path, *, sample: Sample | None = None, **limits: Any) -> LoadTestReport:
    """Run the load test of a model of this folder's tests, whose class the operator trusts."""
    path = folder / "model.joblib"
    joblib.dump(model, path)
    trusted = frozenset({f"tests.artifacts.models.{type(model).__name__}"})
    sample = sample or Sample(instances=([1.0],), predictions=None)
    return run_load_test(LoadTestRequest(path, "joblib", sample=sample, trusted=trusted), LoadTestLimits(**limits))


def test_names_that_the_schema_orders_are_no_warning(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(
        make_pipeline(StandardScaler(), LogisticRegression()).fit(pd.DataFrame(X, columns=list("abc")), Y), path
    )
    assert run_load_test(LoadTestRequest(path, "joblib")).warnings == ()


def test_honest_model_passes_with_schema_predictions_and_measures(tmp_path: Path) -> None:
    model = RandomForestClassifier(10, n_jobs=4, random_state=0).fit(X, Y)
    path = tmp_path / "model.joblib"
    joblib.dump(model, path)

    report = run_load_test(LoadTestRequest(path, "joblib", sample=Sample(ROWS, None)))

    assert report.passed, report.reason
    assert report.predictions == model.predict(X[:4]).tolist()
    assert Schema.from_json(report.schema or {}).classes == (0, 1)
    assert 0 < (report.load_seconds or 0) < 30
    assert 0 < (report.row_milliseconds or 0) < 1_000
    assert (report.peak_memory_bytes or 0) > 50_000_000 > (report.model_memory_bytes or 0)
    assert report.versions["scikit-learn"] == "1.9.1"
    assert report.warnings == ()
    assert LoadTestReport.from_json(report.to_json()) == report


def test_table_pipeline_passes_with_its_names(tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": X[:, 0], "city": ["Oslo", "Rome", "Bern"] * 20})
    prepare = ColumnTransformer([("n", StandardScaler(), ["age"]), ("c", OneHotEncoder(), ["city"])])
    path = tmp_path / "model.joblib"
    joblib.dump(make_pipeline(prepare, LogisticRegression()).fit(frame, Y.astype(str)), path)
    declared = (Feature("age", "float"), Feature("city", "string"))

    report = run_load_test(LoadTestRequest(path, "joblib", declared, Sample(({"age": 0.9, "city": "Oslo"},), ("1",))))

    assert report.passed, report.reason
    assert report.predictions == ["1"]


def test_texts_are_found_inside_an_ensemble(tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": X[:, 0], "size": pd.Categorical(["S", "L"] * 30)})
    boosting = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=3)
    path = tmp_path / "model.joblib"
    joblib.dump(VotingClassifier([("one", boosting)]).fit(frame, Y), path)
    report = run_load_test(LoadTestRequest(path, "joblib"))
    assert report.passed, report.reason
    assert Schema.from_json(report.schema or {}).inputs[1].categories == ("L", "S")
    assert report.example == {"age": 0.0, "size": "L"}


def test_array_of_dates_is_no_accusation(tmp_path: Path) -> None:
    frame = pd.DataFrame({"when": pd.to_datetime(["2020-01-01", "2021-01-01"] * 30)})
    path = tmp_path / "model.joblib"
    joblib.dump(make_pipeline(OrdinalEncoder(), LogisticRegression()).fit(frame, Y), path)
    report = run_load_test(LoadTestRequest(path, "joblib"))
    assert not report.passed
    assert "an array of dates or times (datetime64" in report.reason
    assert "Encode dates as numbers or text" in report.reason
    assert "honest" not in report.reason


@pytest.mark.parametrize("name", ["shop", "tests.artifacts.models_that_raise.Own"])
def test_trusted_name_that_cannot_be_imported_is_a_warning(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(LinearRegression().fit(X, Y), path)
    report = run_load_test(LoadTestRequest(path, "joblib", sample=Sample(ROWS, None), trusted=frozenset({name})))
    assert report.passed, report.reason
    assert any(f"The trusted name {name} cannot be imported here" in warning for warning in report.warnings)


def test_onnx_passes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = LogisticRegression().fit(X, Y)
    path.write_bytes(to_onnx(model, X[:1].astype(np.float32)).SerializeToString())

    report = run_load_test(LoadTestRequest(path, "onnx", sample=Sample(ROWS, tuple(model.predict(X[:4]).tolist()))))

    assert report.passed, report.reason


def test_without_a_sample_a_made_up_row_is_tried(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(LinearRegression().fit(X, Y), path)
    report = run_load_test(LoadTestRequest(path, "joblib"))
    assert report.passed
    assert report.predictions is None
    assert report.row_milliseconds


def test_sample_that_disagrees_names_its_first_differing_row(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(LinearRegression().fit(X, X[:, 0]), path)
    expected = X[:4, 0].tolist()
    expected[2] += 1

    report = run_load_test(LoadTestRequest(path, "joblib", sample=Sample(ROWS, tuple(expected))))

    assert not report.passed
    assert "Row 2" in report.reason
    assert report.code == codes.OTHER_ANSWER


def test_crafted_tree_ends_as_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(spoil_tree(DecisionTreeClassifier().fit(X, Y), NODE_CHANGES["left child outside"]), path)
    report = run_load_test(LoadTestRequest(path, "joblib", sample=Sample(ROWS, None)))
    assert not report.passed
    assert "decision tree whose nodes point outside" in report.reason


def test_untrusted_name_ends_as_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(models.Doubling(), path)
    report = run_load_test(LoadTestRequest(path, "joblib"))
    assert not report.passed
    assert "tests.artifacts.models.Doubling" in report.reason


MISBEHAVIOUR: dict[str, tuple[Any, dict[str, Any], str, str]] = {
    "crash": (models.Crashing(), {}, "crashed with signal 11 (SIGSEGV), while it predicted", codes.CRASHED),
    "abort": (models.Aborting(), {}, "crashed with signal 6 (SIGABRT), while it predicted", codes.CRASHED),
    "hang": (models.Sleeping(), {"wall_seconds": 6}, "timed out: it was still busy after 6 s", ""),
    "endless loop": (
        models.Looping(),
        {"cpu_seconds": 2},
        "signal 24 (SIGXCPU): it took more than 2 s of CPU time",
        "",
    ),
    "bloat": (models.Bloating(), {"memory_bytes": 500_000_000}, "needs more than the 500000000 bytes of memory", ""),
    "leaves": (models.Leaving(), {}, "ended with status 0, while it predicted", ""),
    "exits": (models.Exiting(), {}, "failed with SystemExit", codes.EXCEPTION),
    "boasts": (models.Boasting(), {}, "not finite", codes.UNEXPECTED_ANSWER),
    "raises": (models.Failing(), {}, "failed with RuntimeError: no", codes.EXCEPTION),
    "too few predictions": (models.Unequal(), {}, "1 predictions for the sample's 3 rows", codes.UNEXPECTED_ANSWER),
}


@pytest.mark.parametrize("key", MISBEHAVIOUR)
def test_misbehaviour_ends_as_its_reason_and_code(key: str, tmp_path: Path) -> None:
    model, limits, reason, code = MISBEHAVIOUR[key]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    report = probe_model(model, tmp_path, sample=Sample(([1.0], [2.0], [3.0]), None), **limits)

    assert not report.passed
    assert reason in report.reason
    assert report.code == code
    assert report.reason.endswith(report.advice)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 50_000_000


def test_task_is_isolated_from_network_processes_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").touch()
    model = models.Prying()
    model.folder = str(tmp_path)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    report = probe_model(model, tmp_path)

    # The answer has a one for each attempt that got through, and the kernel here denies all of them.
    assert report.passed, report.reason
    assert report.predictions == [0.0]
    assert report.warnings == ()
    assert (tmp_path / "there").exists()
    assert not (tmp_path / "written").exists()


def test_nothing_of_a_hanging_probe_stays_behind(tmp_path: Path) -> None:
    before = _children()
    probe_model(models.Sleeping(), tmp_path, wall_seconds=5)
    assert _children() == before


def _children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_broken_file_ends_as_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes(b"<Error><Code>NoSuchKey</Code></Error>")
    report = run_load_test(LoadTestRequest(path, "joblib"))
    assert not report.passed
    assert "cannot be read as a joblib file" in report.reason
    assert report.code == codes.UNREADABLE


def test_too_many_features_are_a_clear_limit(tmp_path: Path) -> None:
    model = LinearRegression().fit(X, Y)
    model.n_features_in_, model.coef_ = 800_000, np.zeros(800_000)
    path = tmp_path / "model.joblib"
    joblib.dump(model, path, compress=1)
    report = run_load_test(LoadTestRequest(path, "joblib"))
    assert not report.passed
    assert "The model takes 800000 features" in report.reason
    assert "Choose fewer features" in report.reason


def test_sample_with_misnamed_target_names_the_right_one(tmp_path: Path) -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    path = tmp_path / "model.joblib"
    joblib.dump(LinearRegression().fit(frame, Y), path)
    sample = Sample.from_csv("a,b,c,price\n1,2,3,4\n")
    report = run_load_test(LoadTestRequest(path, "joblib", sample=sample))
    assert not report.passed
    assert "last column 'price' is not an input of the model" in report.reason
    assert "rename it to 'prediction'" in report.reason


def test_scores_that_are_no_probabilities_are_refused(tmp_path: Path) -> None:
    model = DecisionTreeClassifier(max_depth=2).fit(X, Y)
    model.__class__ = models.Counting
    path = tmp_path / "model.joblib"
    joblib.dump(model, path)
    trusted = frozenset({"tests.artifacts.models.Counting"})
    for sample in (None, Sample(ROWS, None)):
        report = run_load_test(LoadTestRequest(path, "joblib", sample=sample, trusted=trusted))
        assert not report.passed
        assert "expected numbers from 0 to 1 that sum to 1" in report.reason
