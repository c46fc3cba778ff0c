"""Whatever outputs a converter writes: the estimator's labels, probabilities that are such, or a reason in words."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import convert_sklearn, to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC, LinearSVC

from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.prediction import call
from models_registry.errors import BrokenArtifact, NoPrediction

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3)).astype(np.float32)
WORDS = np.where(X[:, 0] > 0, "up", "down")
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
SEVERAL = (X[:, :2] > 0).astype(int)
SUM = X.sum(axis=1)


def opened(tmp_path: Path, content: Any) -> Any:
    path = tmp_path / "m.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return open_artifact(path, "onnx")


def fitted(estimator: Any, labels: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(X, labels)


WITH_PROBABILITIES = {
    "a dictionary for each row": (LogisticRegression(), WORDS, {"zipmap": True}),
    "an array": (LogisticRegression(), THREE, {"zipmap": False}),
    "an output for each class of words": (LogisticRegression(), WORDS, {"zipmap": "columns"}),
    "an output for each class of numbers": (LogisticRegression(), THREE, {"zipmap": "columns"}),
    "an output for each boolean": (LogisticRegression(), THREE > 0, {"zipmap": "columns"}),
    "beside the paths through the trees": (
        RandomForestClassifier(3, max_depth=2), WORDS, {"zipmap": False, "decision_path": True, "decision_leaf": True},
    ),
    "beside the classes' names": (LogisticRegression(), WORDS, {"zipmap": False, "output_class_labels": True}),
    "of several outputs": (MultiOutputClassifier(LogisticRegression()), SEVERAL, {"zipmap": False}),
    "of several outputs of one forest": (RandomForestClassifier(3), SEVERAL, {"zipmap": False}),
}  # fmt: skip


@pytest.mark.parametrize(("estimator", "labels", "options"), WITH_PROBABILITIES.values(), ids=WITH_PROBABILITIES)
@pytest.mark.parametrize("rows", [1, 2])
def test_labels_and_probabilities_are_the_estimators(
    estimator: Any, labels: Any, options: Any, rows: int, tmp_path: Path
) -> None:
    fitted(estimator, labels)
    answer = _answer(tmp_path, to_onnx(estimator, X[:1], options={id(estimator): options}), rows)
    expected = estimator.predict_proba(X[:rows])
    assert answer.predictions() == estimator.predict(X[:rows]).tolist()
    several = isinstance(expected, list)
    for found, wanted in zip(
        answer.probabilities if several else [answer.probabilities], expected if several else [expected], strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def _answer(tmp_path: Path, content: Any, rows: int) -> Any:
    model = opened(tmp_path, content)
    return call(model, infer_schema(model).parse(X[:rows].astype(float).tolist()))


WITHOUT = {
    "scores of a support vector machine": (SVC(), WORDS, {}),
    "scores of three classes": (SVC(), THREE, {}),
    "one score": (LinearSVC(), WORDS, {}),
    "scores of ridge regression": (RidgeClassifier(), THREE, {}),
    "raw scores by request": (LogisticRegression(), WORDS, {"raw_scores": True, "zipmap": False}),
    "distances to clusters": (KMeans(3, n_init=1, random_state=0), None, {}),
    "scores of outliers": (IsolationForest(n_estimators=5, random_state=0), None, {}),
    "one share for each label of many": (OneVsRestClassifier(LogisticRegression()), SEVERAL, {}),
    "values": (LinearRegression(), SUM, {}),
    "values of several outputs": (LinearRegression(), np.column_stack([SUM, -SUM]), {}),
}


@pytest.mark.parametrize(("estimator", "labels", "options"), WITHOUT.values(), ids=WITHOUT)
@pytest.mark.parametrize("rows", [1, 2])
def test_scores_are_not_served_as_probabilities(
    estimator: Any, labels: Any, options: Any, rows: int, tmp_path: Path
) -> None:
    fitted(estimator, labels)
    options = {id(estimator): options} if options else None
    opset = {"": 18, "ai.onnx.ml": 3}
    answer = _answer(tmp_path, to_onnx(estimator, X[:1], options=options, target_opset=opset), rows)
    assert answer.probabilities is None
    expected = estimator.predict(X[:rows])
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(answer.labels, expected, atol=1e-5)
    else:
        assert answer.predictions() == expected.tolist()


@pytest.mark.parametrize("zipmap", [True, False, "columns"])
def test_outputs_in_another_order_under_other_names(zipmap: Any, tmp_path: Path) -> None:
    estimator = fitted(LogisticRegression(), WORDS)
    model = to_onnx(estimator, X[:1], options={"zipmap": zipmap})
    names = {model.graph.output[0].name: "a"} | ({} if zipmap == "columns" else {model.graph.output[1].name: "b"})
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    outputs = list(model.graph.output)
    for output in outputs:
        output.name = names.get(output.name, output.name)
    del model.graph.output[:]
    model.graph.output.extend(reversed(outputs))
    onnx.checker.check_model(model)
    answer = _answer(tmp_path, model, 2)
    assert answer.predictions() == estimator.predict(X[:2]).tolist()
    np.testing.assert_allclose(answer.probabilities, estimator.predict_proba(X[:2]), atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_a_fixed_batch_takes_any_number_of_rows(batch: int, zipmap: bool, rows: int, tmp_path: Path) -> None:
    estimator = fitted(LogisticRegression(), WORDS)
    types = [("X", FloatTensorType([batch, 3]))]
    answer = _answer(tmp_path, convert_sklearn(estimator, initial_types=types, options={"zipmap": zipmap}), rows)
    assert answer.predictions() == estimator.predict(X[:rows]).tolist()
    np.testing.assert_allclose(answer.probabilities, estimator.predict_proba(X[:rows]), atol=1e-5)


def test_fixed_batch_of_several_outputs_keeps_rows_apart(tmp_path: Path) -> None:
    estimator = fitted(KNeighborsClassifier(3), SEVERAL)
    model = convert_sklearn(estimator, initial_types=[("X", FloatTensorType([1, 3]))], options={"zipmap": False})
    answer = _answer(tmp_path, model, 4)
    assert answer.predictions() == estimator.predict(X[:4]).tolist()
    for found, wanted in zip(answer.probabilities, estimator.predict_proba(X[:4]), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], *, ir_version: int = 9, opset: int = 18) -> bytes:
    made = helper.make_model(
        helper.make_graph(nodes, "made", inputs, outputs),
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=ir_version,
    )
    return bytes(made.SerializeToString())


def info(name: str, kind: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


X_INPUT = info("x", TensorProto.FLOAT, [None, 3])
COPY = helper.make_node("Identity", ["x"], ["y"])
ZIPMAP = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
MAPS = helper.make_value_info(
    "y", helper.make_sequence_type_proto(helper.make_map_type_proto(7, helper.make_tensor_type_proto(1, None)))
)
REFUSED = {
    "dictionaries alone": (graph([ZIPMAP], [X_INPUT], [MAPS]), "expected a tensor with one prediction for each row"),
    "one value for all rows": (
        graph(
            [helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)], [X_INPUT], [info("y", TensorProto.FLOAT, [])]
        ),
        r"shape \[\] for 3 rows; expected one value",
    ),
    "a picture": (
        graph([COPY], [info("x", 1, [None, 3, 32, 32])], [info("y", 1, [None, 3, 32, 32])]),
        r"4 dimensions \(\[None, 3, 32, 32\]\), like images or sequences",
    ),
    "an input of complex numbers": (
        graph([COPY], [info("x", TensorProto.BFLOAT16, [None, 2])], [info("y", TensorProto.BFLOAT16, [None, 2])]),
        "which JSON values cannot fill",
    ),
    "inputs of different batches": (
        graph(
            [helper.make_node("Concat", ["x", "z"], ["y"], axis=0)],
            [info("x", 1, [1, 2]), info("z", 1, [4, 2])],
            [info("y", 1, [5, 2])],
        ),
        "take 1 and 4 rows at a time",
    ),
    "a format of the future": (
        graph([COPY], [X_INPUT], [info("y", 1, [None, 3])], ir_version=99),
        r"version 99 of ONNX's format \(IR\); this server's onnxruntime .* reads up to \d+",
    ),
    "operators of the future": (
        graph([COPY], [X_INPUT], [info("y", 1, [None, 3])], opset=99),
        r"operator set 99 of ai\.onnx; this server's onnxruntime .* has up to \d+\. Convert .* target_opset=\d+",
    ),
}


def lower(locale: str) -> bytes:
    """Return a graph that writes texts in lower case by the rules of a locale."""
    node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale=locale)
    return graph([node], [info("x", TensorProto.STRING, [None])], [info("y", TensorProto.STRING, [None])])


def test_text_graph_runs_with_an_available_locale(tmp_path: Path) -> None:
    model = opened(tmp_path, lower("C.UTF-8"))
    assert call(model, infer_schema(model).parse(["ÄB", "c"])).predictions() == ["äb", "c"]


def test_a_locale_that_the_server_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenArtifact, match=r"locale xx_XX\.UTF-8 .* does not have\. Install it .* press Check again"):
        opened(tmp_path, lower("xx_XX.UTF-8"))


@pytest.mark.parametrize(("content", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_served_is_refused_in_words(content: bytes, sentence: str, tmp_path: Path) -> None:
    with pytest.raises((NoPrediction, BrokenArtifact), match=sentence):
        opened(tmp_path, content)
