"""`"explain": true` in the service's own protocol."""

from __future__ import annotations

import threading

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from models_registry.errors import Busy
from models_registry.explanations.lazy import LazyExplainer
from models_registry.inference import explaining

ROWS = np.random.default_rng(0).normal(size=(40, 2))
FRAME = pd.DataFrame(ROWS, columns=["age", "size"])
LABELS = np.where(ROWS[:, 0] > 0, "yes", "no")
THREE = np.array(["a", "b", "c"])[np.digitize(ROWS[:, 1], [-0.5, 0.5])]


def total(explanation):
    return explanation["base_value"] + sum(explanation["contributions"].values())


def test_one_row_is_explained_by_name(host, load):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, LABELS)
    load(model)
    answer = host.post("/predict", {"features": {"size": 1, "age": 0.5}, "explain": True}).json
    found = answer["explanation"]
    assert found["output"] == "log_odds"
    assert found["class"] == "yes"
    assert list(found["contributions"]) == ["age", "size"]
    assert found["value"] == pytest.approx(model.decision_function(pd.DataFrame({"age": [0.5], "size": [1.0]}))[0])
    assert total(found) == pytest.approx(found["value"])
    assert found["base_value"] == pytest.approx(model[-1].intercept_[0])


def test_each_of_many_rows_explains_its_answer(host, load):
    model = RandomForestClassifier(5, random_state=0).fit(FRAME, THREE)
    load(model)
    answer = host.post("/predict", {"instances": ROWS.tolist(), "explain": True, "probabilities": True}).json
    assert len(answer["explanations"]) == len(ROWS)
    for label, chances, found in zip(
        answer["predictions"], answer["probabilities"], answer["explanations"], strict=True
    ):
        assert found["output"] == "probability"
        assert found["class"] == label
        assert total(found) == pytest.approx(found["value"]) == chances[label]


def test_two_classes_explain_the_second(host, load):
    load(RandomForestClassifier(5, random_state=0).fit(FRAME, LABELS))
    answer = host.post("/predict", {"instances": ROWS.tolist(), "explain": True, "probabilities": True}).json
    assert {found["class"] for found in answer["explanations"]} == {"yes"}
    values = [found["value"] for found in answer["explanations"]]
    assert values == pytest.approx([chances["yes"] for chances in answer["probabilities"]])


def test_a_regression_names_no_class(host, load):
    load(LinearRegression().fit(FRAME, ROWS @ [1.0, 2.0] + 3))
    found = host.post("/predict", {"features": [1, 1], "explain": True}).json["explanation"]
    assert found == {
        "output": "value",
        "base_value": pytest.approx(3),
        "value": pytest.approx(6),
        "contributions": {"age": pytest.approx(1), "size": pytest.approx(2)},
    }


def test_a_large_body_of_numbers_is_explained(host, load):
    load(LinearRegression().fit(FRAME, ROWS @ [1.0, 2.0]))
    rows = [{"age": float(index), "size": 1.0} for index in range(1500)]
    answer = host.post("/predict", {"instances": rows, "explain": True}).json
    assert [total(found) for found in answer["explanations"]] == pytest.approx(answer["predictions"])


@pytest.mark.parametrize("flag", [{}, {"explain": False}], ids=["left out", "false"])
def test_what_asks_for_no_explanation_gets_none(host, load, flag):
    load(SVC().fit(ROWS, LABELS))
    answer = host.post("/predict", {"features": [1, 1], **flag})
    assert answer.status == 200
    assert "explanation" not in answer.json


def test_an_inexact_model_is_refused_by_name(host, load):
    load(SVC().fit(ROWS, LABELS), number=4)
    answer = host.post("/predict", {"features": [1, 1], "explain": True})
    assert answer.status == 400
    assert answer.json["code"] == "no_explanation"
    assert "SVC" in answer.json["error"]
    assert answer.json["version"] == 4


def test_a_flag_of_another_type_is_refused(host, load):
    load(LinearRegression().fit(FRAME, ROWS[:, 0]))
    answer = host.post("/predict", {"features": [1, 1], "explain": "yes"})
    assert (answer.status, answer.json["code"], answer.json["field"]) == (400, "invalid_field", "explain")


def test_a_model_is_opened_once_for_all_explanations(host, load):
    opened = []
    model = LinearRegression().fit(FRAME, ROWS[:, 0])

    def open_native():
        opened.append(1)
        return model

    loaded = load(model)
    object.__setattr__(loaded, "explainer", LazyExplainer(loaded.schema, open_native, is_open=False))
    host.post("/predict", {"features": [1, 1]})
    assert not opened
    for _ in range(3):
        assert host.post("/predict", {"features": [1, 1], "explain": True}).status == 200
    assert len(opened) == 1


def test_explanations_beyond_the_queue_are_refused(host, load):
    load(LinearRegression().fit(FRAME, ROWS[:, 0]))
    goes_on = threading.Event()
    held = [explaining.submit(goes_on.wait) for _ in range(explaining.MAX_EXPLANATIONS)]
    try:
        with pytest.raises(Busy):
            explaining.submit(goes_on.wait)
        refused = host.post("/predict", {"features": [1, 1], "explain": True})
        predicted = host.post("/predict", {"features": [1, 1]})
    finally:
        goes_on.set()
    for running in held:
        running.result()
    assert (refused.status, refused.json["code"], refused.headers["retry-after"]) == (429, "busy", "2")
    assert predicted.status == 200
    assert host.post("/predict", {"features": [1, 1], "explain": True}).status == 200


def test_the_document_says_what_is_explained(host, load):
    load(SVC().fit(ROWS, LABELS), name="inexact")
    load(LinearRegression().fit(FRAME, ROWS[:, 0]), name="exact")
    schemas = host.get("/openapi.json").json["components"]["schemas"]
    flags = {
        name: schemas[f"{name}.Request"]["oneOf"][0]["properties"]["explain"].get("const", True)
        for name in ("inexact", "exact")
    }
    assert flags == {"inexact": False, "exact": True}


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        (
            "/v2/models/m/infer",
            {
                "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}],
                "parameters": {"explain": True},
            },
            (400, "Explanations are not part of this protocol"),
        ),
        ("/v1/models/m:predict", {"instances": [[1, 2]], "explain": True}, (400, "Unknown field 'explain'")),
        ("/invocations", {"inputs": [[1, 2]], "params": {"explain": True}}, (200, "only the documented params")),
    ],
    ids=["v2", "v1", "MLflow"],
)
def test_other_protocols_tell_that_they_explain_nothing(host, load, path, body, told):
    load(LinearRegression().fit(ROWS, ROWS[:, 0]))
    answer = host.post(path, body)
    status, sentence = told
    assert (answer.status, sentence in answer.body.decode() + answer.headers.get("warning", "")) == (status, True)
