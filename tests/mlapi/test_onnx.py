"""An ONNX graph answers the same in every protocol, in the types that its documents name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from skl2onnx import convert_sklearn, to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import SVC

from models_registry.artifacts.formats import open_artifact

X = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
ROWS = X[:2].astype(float).tolist()
WORDS = np.where(X[:, 0] > 0, "up", "down")
SEVERAL = (X[:, :2] > 0).astype(int)
GRAPHS: dict[str, tuple[Any, Any, Any]] = {
    "words": (LogisticRegression(), WORDS, {"zipmap": "columns"}),
    "numbers": (LogisticRegression(), (X[:, 0] > 0).astype(int), {"zipmap": True}),
    "several": (RandomForestClassifier(3), SEVERAL, {"zipmap": False}),
    "scores": (SVC(), WORDS, {}),
    "clusters": (KMeans(3, n_init=1, random_state=0), None, {}),
    "values": (LinearRegression(), X.sum(axis=1), {}),
    "lists": (LinearRegression(), np.column_stack([X.sum(axis=1), X[:, 0]]), {}),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("batch", [None, 1])
def test_every_protocol_gives_the_estimators_answers(host, load, tmp_path, name, batch):
    estimator, labels, options = GRAPHS[name]
    estimator.fit(X, labels)
    graph = convert_sklearn(
        estimator, initial_types=[("X", FloatTensorType([batch, 3]))],
        options={id(estimator): options} if options else None,
    )  # fmt: skip
    path = tmp_path / "m.onnx"
    path.write_bytes(graph.SerializeToString())
    loaded = load(open_artifact(path, "onnx"))
    expected = estimator.predict(X[:2])
    has_probabilities = loaded.schema.has("predict_proba")

    body = {"instances": ROWS, **({"probabilities": True} if has_probabilities else {})}
    answer = host.post("/predict", body)
    assert answer.status == 200, answer.body
    same(answer.json["predictions"], expected)
    assert (answer.json["confidences"] is None) == (not has_probabilities)
    one = host.post("/predict", {"features": ROWS[0]}).json
    same([one["prediction"]], expected[:1])
    document = host.get("/openapi.json").json
    reply = {"$ref": "#/components/schemas/m.Reply", "components": document["components"]}
    Draft202012Validator(reply).validate(answer.json)
    Draft202012Validator(reply).validate(one)

    same(host.post("/invocations", {"instances": ROWS}).json["predictions"], expected)
    same(host.post("/invocations", {"dataframe_split": {"data": ROWS}}).json["predictions"], expected)
    told = {item["name"]: item for item in host.get("/v2/models/m").json["outputs"]}
    tensor = {"name": "input", "shape": [2, 3], "datatype": "FP64", "data": ROWS}
    for found in host.post(
        "/v2/models/m/infer", {"inputs": [tensor], "outputs": [{"name": output} for output in told]}
    ).json["outputs"]:
        assert found["datatype"] == told[found["name"]]["datatype"]
        assert told[found["name"]]["shape"][1:] in ([-1], found["shape"][1:])
        if found["name"] == "predict":
            same(np.array(found["data"]).reshape(found["shape"]).tolist(), expected.reshape(2, -1))


def same(found, expected):
    if np.asarray(expected).dtype.kind == "f":
        np.testing.assert_allclose(found, expected, atol=1e-5)
    else:
        assert found == expected.tolist()


def test_texts_and_whole_numbers_keep_their_types_from_csv(host, load, tmp_path):
    from tests.artifacts.formats.test_onnx_inputs import copying
    from tests.artifacts.formats.test_onnx_outputs import opened

    for number, (kind, field, value) in enumerate(
        (("string", "01234", "01234"), ("int64", "9007199254740993", 2**53 + 1))
    ):
        load(opened(tmp_path, copying(kind)), f"m{number}")
        answer = host.post(f"/models/m{number}/invocations", f"x0\n{field}\n".encode(), **{"Content-Type": "text/csv"})
        assert answer.json == {"predictions": [value]}


def test_a_missing_value_reaches_a_graph_that_declares_it(host, load, tmp_path):
    from models_registry.artifacts.features import DeclaredInput

    estimator = LinearRegression().fit(X, X.sum(axis=1))
    path = tmp_path / "m.onnx"
    path.write_bytes(to_onnx(estimator, X[:1]).SerializeToString())
    load(open_artifact(path, "onnx"), declared=[DeclaredInput("x1", nullable=True)])
    refused = host.post("/predict", {"features": [None, 1, 2]})
    assert (refused.status, refused.json["feature"]) == (400, "x0")
    # A linear model answers NaN, which no JSON holds.
    assert host.post("/predict", {"features": [1, None, 2]}).json["code"] == "prediction_not_finite"
