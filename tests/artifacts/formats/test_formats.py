"""The file extension decides the format; the loaded model has `predict` and runs on one thread."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.cluster import DBSCAN
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler

from models_registry.artifacts.formats import format_of, is_artifact, open_artifact
from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.object_graph import walk
from models_registry.artifacts.policy import judge
from models_registry.errors import NoPrediction, UnsupportedFormat

X = np.random.RandomState(0).rand(40, 2)
Y = np.arange(40) % 2


@pytest.mark.parametrize(
    ("key", "format"),
    [("a.joblib", "joblib"), ("a/b.c/d.skops", "skops"), ("x.pkl.onnx", "onnx"),
     ("a.JOBLIB", "joblib"), ("a.Skops", "skops"), ("a.ONNX", "onnx"), ("a.pkl", "joblib"), ("a.PKL", "joblib"),
     ("a/b.pickle", "joblib"), ("a.Pickle", "joblib"), ("a.sav", "joblib"), ("a.SAV", "joblib")],
)  # fmt: skip
def test_ending_names_the_format(key: str, format: str) -> None:
    assert format_of(key) == format


@pytest.mark.parametrize(
    "key", ["a.pkl.gz", "a.joblib.gz", "a.p", "pkl", ".sav", "joblib", ".joblib", "a.onnx/", "a.joblib "]
)
def test_other_endings_are_refused(key: str) -> None:
    if key == "a.onnx/":
        # A trailing slash is not a part of a name.
        assert format_of(key) == "onnx"
        return
    with pytest.raises(UnsupportedFormat, match=r"\.joblib, \.pkl, \.pickle, \.sav, \.skops, \.onnx"):
        format_of(key)


@pytest.mark.parametrize(
    ("ending", "step"),
    [
        (".cbm", "format='onnx'"),
        (".PT", "torch.onnx.export"),
        (".keras", "tf2onnx"),
        (".bst", "save_model('model.ubj')"),
        (".txt", "rename it to end in .lgb"),
        (".pkl.gz", "rename it to end in .joblib"),
        (".h5ad", "joblib.dump"),
        ("", "joblib.dump"),
    ],
)
def test_other_ending_says_what_to_do(ending: str, step: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        format_of(f"m/model{ending}")
    assert step in str(caught.value)


@pytest.mark.parametrize(
    ("key", "is_model"),
    [("m/model.json", True), ("m/1/Model.JSON", True), ("m/churn.xgb.json", True), ("m/sample.json", False),
     ("m/metrics.json", False), ("m/model.joblib.manifest.json", False), ("m/a.ubj", True), ("m/submodel.json", False)],
)  # fmt: skip
def test_json_is_an_artifact_by_its_name_alone(key: str, is_model: bool) -> None:
    assert is_artifact(key) is is_model
    assert format_of(key) == "xgboost"


def _dumped(kind: str, protocol: int, path: Path) -> None:
    model = make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=0)).fit(X, Y)
    if kind == "pickle":
        path.write_bytes(pickle.dumps(model, protocol))
    elif kind == "gzip":
        path.write_bytes(gzip.compress(pickle.dumps(model, protocol)))
    else:
        joblib.dump(model, path, compress=(kind, 3) if kind else 0, protocol=protocol)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["pickle", "gzip", "", "zlib", "bz2", "xz", "lz4"])
def test_every_way_to_pickle_is_read(kind: str, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    _dumped(kind, protocol, path)
    inspection = inspect_artifact(path, format_of(path.name), max_claimed_bytes=10**8)
    assert judge(inspection) == ()
    assert inspection.versions["scikit-learn"] == (sklearn.__version__,)
    expected = make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=0)).fit(X, Y).predict_proba(X)
    assert np.array_equal(open_artifact(path, format_of(path.name)).predict_proba(X), expected)


def test_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat):
        open_artifact(tmp_path / "m", "pickle")


@pytest.mark.parametrize("held", [LabelEncoder().fit(Y), {"model": 1}, RandomForestClassifier, [1], None])
def test_what_cannot_predict_is_refused(held: object, tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    joblib.dump(held, path)
    with pytest.raises(NoPrediction, match="no predict"):
        open_artifact(path, "joblib")


@pytest.mark.parametrize(
    ("held", "step"),
    [
        (LabelEncoder().fit(Y), "encodes labels and does not predict"),
        (DBSCAN().fit(X), "can only label the rows that it was fitted with"),
        (RandomForestClassifier, "Publish a fitted instance"),
        ({"model": 1}, "Publish the fitted estimator or pipeline itself"),
    ],
)
def test_what_cannot_predict_says_what_to_publish_instead(held: object, step: str, tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    joblib.dump(held, path)
    with pytest.raises(NoPrediction, match=step):
        open_artifact(path, "joblib")


def test_every_part_runs_single_threaded_without_cache(tmp_path: Path) -> None:
    voters = [("forest", RandomForestClassifier(3)), ("near", KNeighborsClassifier())]
    model = make_pipeline(StandardScaler(), VotingClassifier(voters), memory=str(tmp_path / "cache")).fit(X, Y)
    for part in walk(model):
        if hasattr(part, "n_jobs"):
            part.n_jobs = -1
    path = tmp_path / "m.joblib"
    joblib.dump(model, path)

    opened = open_artifact(path, "joblib")

    jobs = [part.n_jobs for part in walk(opened) if hasattr(part, "n_jobs")]
    assert len(jobs) >= 5
    assert set(jobs) == {1}
    assert opened.memory is None


def test_arrays_of_another_byte_order_are_turned(tmp_path: Path) -> None:
    model = KNeighborsClassifier(1, algorithm="brute").fit(X, Y)
    model.big = X.astype(">f8")
    model.columns = np.asfortranarray(X)
    path = tmp_path / "m.joblib"
    joblib.dump(model, path)
    opened = open_artifact(path, "joblib")
    assert opened.big.dtype.isnative
    np.testing.assert_array_equal(opened.big, X)
    np.testing.assert_array_equal(opened.columns, X)
    assert opened.columns.flags.f_contiguous


@pytest.mark.parametrize("model", [LinearRegression(), make_pipeline(StandardScaler(), LogisticRegression())])
def test_estimator_that_was_never_fitted_is_called_so(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(model, path)
    with pytest.raises(NoPrediction, match=r"The Lo?\w+Regression was never fitted.*Call fit before you save it"):
        open_artifact(path, "joblib")
