"""Parts in a dict, a tuple or several files become one predictor, in the one order that fits or that is said."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, OneHotEncoder, StandardScaler

from models_registry.artifacts import pack
from models_registry.artifacts.bundles import Bundle
from models_registry.artifacts.formats import open_bundle
from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.policy import judge
from models_registry.artifacts.prediction import call
from models_registry.errors import ArtifactError, BrokenArtifact, NoPrediction

X = np.random.RandomState(0).rand(60, 3) * [1, 10, 100]
Y = (X[:, 1] > 5).astype(int)
NAMES = np.array(["no", "yes"])
TEXTS = ["good film", "bad film", "good book", "bad book"] * 5
TABLE = pd.DataFrame({"age": X[:, 0], "city": ["Oslo", "Rome", "Bern"] * 20})
SCALER = StandardScaler().fit(X)
PARTED = PCA(2).fit(SCALER.transform(X))
MODEL = LogisticRegression().fit(SCALER.transform(X), Y)
AMOUNTS = LinearRegression().fit(X, X[:, 0] * 2)
ENCODER = LabelEncoder().fit(NAMES)
COUNTS = CountVectorizer().fit(TEXTS)
WEIGHTS = TfidfTransformer().fit(COUNTS.transform(TEXTS))
TFIDF = TfidfVectorizer().fit(TEXTS)
MOODS = LogisticRegression().fit(TFIDF.transform(TEXTS), [1, 0] * 10)
ENCODED = make_column_transformer((OneHotEncoder(), ["city"]), (StandardScaler(), ["age"])).fit(TABLE)
ON_ENCODED = LogisticRegression().fit(ENCODED.transform(TABLE), Y)
SCALED_LABELS = MODEL.predict(SCALER.transform(X)).tolist()


def opened(value: Any, path: Path) -> Bundle:
    joblib.dump(value, path / "model.joblib")
    return open_bundle(path / "model.joblib", "joblib")


def packed(values: dict[str, Any], steps: tuple[str, ...], path: Path, format: str = "joblib") -> Path:
    """Write files and the pack of them, as the registry does."""
    contents = {}
    for name, value in values.items():
        buffer = io.BytesIO()
        joblib.dump(value, buffer)
        contents[name] = buffer.getvalue()
    parts = tuple(pack.PinnedPart(name, name, "1", len(content)) for name, content in contents.items())
    pinned = pack.PinnedPack(format, steps, parts, "")
    with (path / "pack.bundle").open("wb") as target:
        pinned.write(target, lambda part, target: target.write(contents[part.name]) and None)
    assert (path / "pack.bundle").stat().st_size == pinned.size_bytes
    return path / "pack.bundle"


@pytest.mark.parametrize(
    ("parts", "rows", "expected"),
    [
        ({"scaler": SCALER, "model": MODEL}, X, SCALED_LABELS),
        ({"model": MODEL, "scaler": SCALER, "accuracy": 0.9, "trained_at": "2026-01-01"}, X, SCALED_LABELS),
        ((SCALER, MODEL), X, SCALED_LABELS),
        ([MODEL, SCALER], X, SCALED_LABELS),
        ({"clf": make_pipeline(SCALER, MODEL)}, X, SCALED_LABELS),
        ({"pipeline": make_pipeline(SCALER, MODEL), "mean": X[0], "notes": {"k": [1, None]}}, X, SCALED_LABELS),
        ((TFIDF, MOODS), TEXTS, [1, 0] * 10),
        ({"model": MOODS, "vectorizer": TFIDF}, TEXTS, [1, 0] * 10),
        ({"model": MOODS, "weights": WEIGHTS, "counts": COUNTS}, TEXTS, [1, 0] * 10),
        ({"preprocessor": ENCODED, "model": ON_ENCODED}, TABLE, ON_ENCODED.predict(ENCODED.transform(TABLE)).tolist()),
        ({"pca": PARTED, "scaler": SCALER, "model": LogisticRegression().fit(PARTED.transform(SCALER.transform(X)), Y)},
         X, LogisticRegression().fit(PARTED.transform(SCALER.transform(X)), Y)
         .predict(PARTED.transform(SCALER.transform(X))).tolist()),
        ({"scaler": SCALER, "model": MODEL, "label_encoder": ENCODER}, X, NAMES[SCALED_LABELS].tolist()),
        ({"scaler": SCALER, "model": MODEL, "classes": ["no", "yes"]}, X, NAMES[SCALED_LABELS].tolist()),
        ({"scaler": SCALER, "model": MODEL, "target_names": NAMES}, X, NAMES[SCALED_LABELS].tolist()),
        ({"model": AMOUNTS, "target_names": ["amount"]}, X, AMOUNTS.predict(X).tolist()),
        ({"scaler": SCALER, "model": MODEL, "classes": {0: "no", 1: "yes"}}, X, NAMES[SCALED_LABELS].tolist()),
        ({"scaler": SCALER, "model": MODEL, "classes": [0, 1]}, X, SCALED_LABELS),
        ({"scaler": SCALER, "model": LogisticRegression().fit(SCALER.transform(X), NAMES[Y]), "le": ENCODER},
         X, NAMES[SCALED_LABELS].tolist()),
        ((SCALER, LinearRegression().fit(SCALER.transform(X), X[:, 0]), {"r2": 1.0}), X, None),
    ],
)  # fmt: skip
def test_plain_parts_are_one_chain(parts: Any, rows: Any, expected: Any, tmp_path: Path) -> None:
    found = call(opened(parts, tmp_path).estimator, rows).predictions()
    if expected is None:
        np.testing.assert_allclose(found, X[:, 0])
    else:
        assert found == expected


@pytest.mark.parametrize("threshold", [0.1, 0.9, np.float64(0.9), 1, 0])
def test_threshold_decides_and_probabilities_stay(threshold: Any, tmp_path: Path) -> None:
    parts = {"scaler": SCALER, "model": MODEL, "threshold": threshold, "label_encoder": ENCODER}
    bundle = opened(parts, tmp_path)
    probabilities = MODEL.predict_proba(SCALER.transform(X))
    answer = call(bundle.estimator, X)
    assert answer.predictions() == NAMES[(probabilities[:, 1] >= threshold).astype(int)].tolist()
    np.testing.assert_array_equal(answer.probabilities, probabilities)
    assert f"threshold: 1 from a probability of {threshold:g}" in bundle.description


@pytest.mark.parametrize("parts", [{"m": MODEL, "features": ["a", "b", "c"]}, (MODEL, ["a", "b", "c"])])
def test_names_beside_a_model_name_its_inputs(parts: Any, tmp_path: Path) -> None:
    assert opened(parts, tmp_path).features == ("a", "b", "c")


@pytest.mark.parametrize("names", [["a", "b"], ["a", "a", "b"], "abc", [1, 2, 3]])
def test_other_lists_name_no_inputs(names: Any, tmp_path: Path) -> None:
    bundle = opened({"m": MODEL, "features": names}, tmp_path)
    assert (bundle.features, "Not used: 'features'" in bundle.description) == ((), True)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"a": MODEL, "b": MODEL}, "'a', 'b' are all models"),
        ({"scaler": SCALER, "other": StandardScaler().fit(X * 2), "model": MODEL}, "more than one order fits"),
        ({"scaler": SCALER, "model": MOODS}, "the output of one part does not fit the input of the next"),
        (
            {"scaler": SCALER, "model": make_pipeline(StandardScaler(), MODEL).fit(X, Y)},
            "contains a StandardScaler already, and 'scaler' is another one",
        ),
        ({"scaler_y": SCALER, "model": MODEL}, "'scaler_y' seems to belong to the target"),
        (
            {"model": MODEL, "label_encoder": LabelEncoder().fit(["a", "b", "c"])},
            "which values belong to 'label_encoder'",
        ),
        ({"model": MODEL, "le": ENCODER, "le2": LabelEncoder().fit(["x", "y"])}, "which values belong to 'le', 'le2'"),
        ({"model": MODEL, "encoders": {"city": ENCODER}}, "'encoders' (dict) may change the answers"),
        ({"model": MODEL, "prepare": np.log1p}, "'prepare' (ufunc) may change the answers"),
        ({"model": MODEL, "threshold": 3}, "'threshold' is 3; a threshold is a number from 0 to 1"),
        ({"model": MODEL, "threshold": 0.2, "best_threshold": 0.3}, "'best_threshold' is a second threshold"),
        ({"model": KMeans(2, n_init=1).fit(X), "threshold": 0.5}, "a classifier of two classes"),
        ({"model": MODEL, "classes": ["a", "b", "c"]}, "'classes' does not name the model's classes"),
        ({"preprocessor": ENCODED, "model": LogisticRegression().fit(TABLE[["age"]], Y)}, "takes 'age', which"),
        (
            {
                "scaler": StandardScaler().fit(pd.DataFrame(X, columns=["a", "b", "c"])),
                "model": LogisticRegression().fit(pd.DataFrame(X, columns=["a", "b", "d"]), Y),
            },
            "takes 'd', which 'scaler' does not give",
        ),
    ],
)
def test_parts_that_are_not_plain_ask_for_steps(parts: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(NoPrediction) as caught:
        opened(parts, tmp_path)
    assert words in str(caught.value)
    assert 'in their order, the model last: "steps": [' in str(caught.value)


@pytest.mark.parametrize("parts", [{"scaler": SCALER}, (SCALER, "notes"), {"accuracy": 0.9}, [1, 2], {}, ()])
def test_parts_without_a_model_are_refused(parts: Any, tmp_path: Path) -> None:
    with pytest.raises(NoPrediction, match="predict"):
        opened(parts, tmp_path)


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({"model.pkl": {"a": MODEL, "b": LogisticRegression().fit(X, Y), "scaler": SCALER}}, ("scaler", "a")),
        ({"model.pkl": (MODEL, SCALER, LogisticRegression().fit(X, Y))}, ("1", "0")),
        ({"scaler.pkl": SCALER, "model.pkl": MODEL}, ("scaler.pkl", "model.pkl")),
        ({"model.pkl": {"prepare": np.log1p, "scaler": SCALER, "model": MODEL}}, ("scaler", "model")),
    ],
)  # fmt: skip
def test_steps_say_what_follows_what(values: Any, steps: tuple[str, ...], tmp_path: Path) -> None:
    path = packed(values, steps, tmp_path)
    assert not judge(inspect_artifact(path, pack.FORMAT, max_claimed_bytes=10**9))
    assert call(open_bundle(path, pack.FORMAT).estimator, X).predictions() == SCALED_LABELS


def test_steps_may_end_with_the_encoder_of_the_labels(tmp_path: Path) -> None:
    files = {"scaler.pkl": SCALER, "model.pkl": MODEL, "labels.pkl": ENCODER}
    path = packed(files, tuple(files), tmp_path)
    assert call(open_bundle(path, pack.FORMAT).estimator, X).predictions() == NAMES[SCALED_LABELS].tolist()


@pytest.mark.parametrize(
    ("values", "steps", "words"),
    [
        ({"m.pkl": {"scaler": SCALER, "model": MODEL}}, ("scaler", "modell"), "did you mean 'model'?"),
        ({"m.pkl": {"scaler": SCALER, "model": MODEL}}, ("model", "scaler"), "'model' (LogisticRegression) before"),
        ({"m.pkl": {"scaler": SCALER, "model": MODEL}}, ("scaler",), "at the end, but it has no predict"),
        ({"m.pkl": MODEL}, ("model",), "holds a single LogisticRegression"),
        ({"m.pkl": {"m": MODEL, "le": LabelEncoder().fit(["a"])}}, ("m", "le"), "are not the positions of its labels"),
    ],
)
def test_steps_that_do_not_fit_are_refused_in_words(
    values: Any, steps: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    with pytest.raises(NoPrediction) as caught:
        open_bundle(packed(values, steps, tmp_path), pack.FORMAT)
    assert words in str(caught.value)


@pytest.mark.parametrize("where", ["beside", "file"])
def test_live_object_in_any_part_is_refused_without_effect(where: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Marking:
        def __reduce__(self) -> Any:
            return (marker.touch, ())

    values = {"m.pkl": {"model": MODEL, "x": Marking()}} if where == "beside" else {"x.pkl": Marking(), "m.pkl": MODEL}
    path = packed(values, ("model",) if where == "beside" else ("x.pkl", "m.pkl"), tmp_path)
    assert judge(inspect_artifact(path, pack.FORMAT, max_claimed_bytes=10**9))
    with pytest.raises(ArtifactError):
        open_bundle(path, pack.FORMAT)
    assert not marker.exists()


def test_unused_parts_are_checked_like_the_others(tmp_path: Path) -> None:
    broken = RandomForestClassifier(2).fit(X, Y)
    nodes = broken.estimators_[0].tree_.__getstate__()
    nodes["nodes"]["left_child"][0] = 10**6
    broken.estimators_[0].tree_.__setstate__(nodes)
    path = packed({"m.pkl": {"a": MODEL, "b": broken}}, ("a",), tmp_path)
    with pytest.raises(ArtifactError):
        open_bundle(path, pack.FORMAT)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"no header\n" + content,
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: content.replace(b'"joblib"', b'"onnx"', 1),
        lambda content: content.replace(b'"joblib"', b'"bundle"', 1),
        lambda content: b"{" * 70_000,
    ],
)
def test_damaged_packs_are_refused(change: Any, tmp_path: Path) -> None:
    path = packed({"scaler.pkl": SCALER, "model.pkl": MODEL}, ("scaler.pkl", "model.pkl"), tmp_path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BrokenArtifact):
        open_bundle(path, pack.FORMAT)
    assert inspect_artifact(path, pack.FORMAT, max_claimed_bytes=10**9).problems


def test_function_steps_keep_their_rules(tmp_path: Path) -> None:
    crafted = FunctionTransformer(np.positive, kw_args={"out": np.zeros((1, 3))})
    with pytest.raises(ArtifactError):
        opened({"prepare": crafted, "model": MODEL}, tmp_path)
