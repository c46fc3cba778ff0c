"""Predictions in the service's own protocol, through the application and through Django's views."""

from __future__ import annotations

import gzip
import json
import zlib

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from models_registry.artifacts.features import Feature
from tests.support.estimators import constant

ROWS = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])


def classifier(labels):
    return LogisticRegression().fit(ROWS, labels)


def mixed():
    frame = pd.DataFrame({"age": [20.0, 30, 40, np.nan], "city": ["Oslo", "Bonn", "Oslo", "Rome"]})
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]), (OneHotEncoder(), ["city"])
    )
    return make_pipeline(columns, LogisticRegression()).fit(frame, ["low", "high", "high", "low"])


def test_one_row_in_both_forms_and_many(host, load):
    load(LinearRegression().fit(pd.DataFrame(ROWS, columns=["a", "b"]), [0.0, 2, 2, 4]), number=3)
    named = host.post("/predict", {"features": {"b": 1, "a": 1.5}}, **{"X-Request-ID": "mine-1"})
    assert named.status == 200
    assert named.json["prediction"] == pytest.approx(2.5)
    assert named.json | {"prediction": 0, "processing_time_ms": 0} == {
        "prediction": 0,
        "confidence": None,
        "processing_time_ms": 0,
        "model": "m",
        "version": 3,
        "request_id": "mine-1",
    }
    assert named.headers["x-request-id"] == "mine-1"
    assert named.headers["x-model-version"] == "3"
    assert host.post("/predict", {"features": [1.5, 1]}).json["prediction"] == named.json["prediction"]
    many = host.post("/models/m/predict", {"instances": [[1.5, 1], [0, 0]]}).json
    assert many["predictions"] == pytest.approx([2.5, 0.0])
    assert many["confidences"] is None
    assert "prediction" not in many


@pytest.mark.parametrize(
    "labels", [[0, 1, 0, 1], ["no", "yes", "no", "yes"], [True, False, True, False]], ids=["int", "str", "bool"]
)
def test_labels_keep_their_type(host, load, labels):
    load(classifier(labels))
    answer = host.post("/predict", {"features": [0, 0], "probabilities": True}).json
    assert answer["prediction"] == labels[0]
    assert type(answer["prediction"]) is type(labels[0])
    assert answer["confidence"] == pytest.approx(max(answer["probabilities"].values()))
    keys = {json.dumps(label).strip('"') for label in labels}
    assert set(answer["probabilities"]) == keys


CASES = {
    "no probabilities": (RidgeClassifier().fit(ROWS, [0, 1, 0, 1]), {"features": [0, 0]}, 0),
    "outliers": (IsolationForest(n_estimators=5, random_state=0).fit(ROWS), {"features": [1, 1]}, 1),
    "clusters": (KMeans(2, random_state=0, n_init=1).fit(ROWS), {"features": [0, 0]}, None),
    "several outputs": (
        KNeighborsRegressor(1).fit(ROWS, [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]),
        {"features": [1, 1]},
        [2.0, 3.0],
    ),
    "several labels": (
        MultiOutputClassifier(RandomForestClassifier(5, random_state=0)).fit(ROWS, [[0, 1], [1, 0], [0, 1], [1, 0]]),
        {"features": [0, 0]},
        [0, 1],
    ),
    "text": (
        make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good day", "bad night"], ["+", "-"]),
        {"features": {"text": "a good one"}},
        "+",
    ),
    "bare text": (
        make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good day", "bad night"], ["+", "-"]),
        {"features": "a bad one"},
        "-",
    ),
    "mixed columns": (mixed(), {"features": {"city": "Bonn", "age": 30}}, "high"),
    "a missing value where it is imputed": (mixed(), {"features": {"city": "Bonn", "age": None}}, "high"),
    "missing values by nature": (
        HistGradientBoostingClassifier(max_iter=2).fit(np.repeat(ROWS, 20, axis=0), [0, 1, 0, 1] * 20),
        {"features": [None, 1]},
        None,
    ),
    "strings without names": (
        make_pipeline(OrdinalEncoder(), LogisticRegression()).fit(
            np.array([["a", "x"], ["b", "y"]], dtype=object), ["A", "B"]
        ),
        {"features": ["b", "y"]},
        "B",
    ),
    "records": (
        make_pipeline(DictVectorizer(), LogisticRegression()).fit([{"a": 1, "c": "x"}, {"a": 5, "c": "y"}], [0, 1]),
        {"features": {"a": 5, "c": "y"}},
        1,
    ),
}


@pytest.mark.parametrize(("model", "body", "expected"), CASES.values(), ids=CASES.keys())
def test_every_kind_of_estimator_predicts(host, load, model, body, expected):
    load(model)
    answer = host.post("/predict", body)
    assert answer.status == 200, answer.body
    if expected is not None:
        assert answer.json["prediction"] == expected
        assert type(answer.json["prediction"]) is type(expected)


def test_multilabel_answers_have_confidence_and_probabilities_by_label(host, load):
    load(CASES["several labels"][0])
    answer = host.post("/predict", {"features": [0, 0], "probabilities": True}).json
    assert len(answer["confidence"]) == 2
    assert [set(part) for part in answer["probabilities"]] == [{"0", "1"}, {"0", "1"}]


LABELS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 1], [1, 0, 0]])
BY_OUTPUT = {
    "chain": ClassifierChain(LogisticRegression()).fit(ROWS, LABELS),
    "several binary labels": OneVsRestClassifier(LogisticRegression()).fit(ROWS, LABELS),
    "one output of several": MultiOutputClassifier(LogisticRegression()).fit(ROWS, LABELS[:, :1]),
}


@pytest.mark.parametrize("model", BY_OUTPUT.values(), ids=BY_OUTPUT)
def test_one_probability_for_each_output_is_told_by_label(host, load, model):
    load(model)
    answer = host.post("/predict", {"instances": ROWS.tolist(), "probabilities": True})
    assert answer.status == 200, answer.body
    held = model.predict_proba(ROWS)
    if isinstance(held, list):
        assert answer.json["probabilities"] == [{"0": row[0], "1": row[1]} for row in held[0].tolist()]
        return
    for row, chances in zip(answer.json["probabilities"], held, strict=True):
        assert row == [{"0": pytest.approx(1 - chance), "1": pytest.approx(chance)} for chance in chances]


@pytest.mark.parametrize(
    ("rows", "odd"),
    [([1, 2, [3]], 2), ([[1], 2], 1), ([1, {"x0": 1}], 1), ([{"x0": 1}, {"x0": 2}, 3], 2), ([None, 1, [3]], 2)],
)
def test_row_of_another_form_is_named_for_single_features(host, load, rows, odd):
    load(LinearRegression().fit(ROWS[:, :1], [0.0, 1, 2, 3]))
    answer = host.post("/predict", {"instances": rows}).json
    assert (answer["code"], answer["row"]) == ("mixed_rows", odd)


FEATURES = {"age": 30, "city": "Oslo"}
WRONG = {
    "missing": ({"features": {"age": 30}}, "missing_feature", {"row": 0, "feature": "city"}),
    "unknown": ({"features": {**FEATURES, "x": 1}}, "unknown_feature", {"row": 0, "feature": "x"}),
    "misspelt": ({"features": {"age": 30, "citty": "Oslo"}}, "unknown_feature", {"expected": "city"}),
    "a string for a number": ({"features": {**FEATURES, "age": "30"}}, "invalid_feature", {"feature": "age"}),
    "a boolean for a number": ({"features": {**FEATURES, "age": True}}, "invalid_feature", {"found": "true"}),
    "a number for a string": ({"features": {**FEATURES, "city": 5}}, "invalid_feature", {"feature": "city"}),
    "nested": ({"features": {**FEATURES, "age": [1]}}, "invalid_feature", {"found": "a list of 1"}),
    "unknown category": ({"features": {**FEATURES, "city": "Paris"}}, "unknown_category", {"feature": "city"}),
    "null that is not imputed": ({"features": {**FEATURES, "city": None}}, "invalid_feature", {"found": "null"}),
    "too large for float32": ({"features": {**FEATURES, "age": 1e39}}, "invalid_feature", {"feature": "age"}),
    "second row": ({"instances": [FEATURES, {**FEATURES, "age": "x"}]}, "invalid_feature", {"row": 1}),
    "ragged": ({"instances": [[30, "Oslo"], [30]]}, "wrong_feature_count", {"row": 1, "expected": 2, "found": 1}),
    "empty": ({"instances": []}, "empty_batch", {}),
    "mixed forms": ({"instances": [FEATURES, [30, "Oslo"]]}, "mixed_rows", {"row": 1}),
    "no row": ({"instances": [5]}, "invalid_input", {"row": 0}),
    "not a list": ({"instances": FEATURES}, "invalid_field", {"field": "instances"}),
    "features are a number": ({"features": 5}, "invalid_input", {"row": 0}),
    "neither": ({}, "missing_field", {}),
    "both": ({"features": FEATURES, "instances": []}, "invalid_field", {}),
    "unknown field": ({"feature": FEATURES}, "unknown_field", {"field": "feature"}),
    "probabilities": ({"features": FEATURES, "probabilities": 1}, "invalid_field", {"field": "probabilities"}),
}


@pytest.mark.parametrize(("body", "code", "details"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input_is_a_400_with_a_correction(host, load, body, code, details):
    load(mixed())
    answer = host.post("/predict", body, **{"X-Request-ID": "r-1"})
    assert answer.status == 400, answer.body
    assert answer.json["code"] == code
    assert answer.json["request_id"] == "r-1"
    assert len(answer.json["error"]) > 20
    assert answer.json | details == answer.json


HOSTILE = {
    "deep": b"[" * 100_000,
    "deep object": b'{"features":' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
    "4301 digits": b'{"features": [' + b"9" * 4301 + b", 1]}",
    "1e400": b'{"features": [1e400, 1]}',
    "NaN": b'{"features": [NaN, 1]}',
    "Infinity": b'{"features": [Infinity, 1]}',
    "nan as text": b'{"features": ["nan", 1]}',
    "number as text": b'{"features": ["1.5", 1]}',
    "null": b'{"features": [null, 1]}',
    "surrogate": b'{"features": {"\\ud800": 1, "b": 2}}',
    "invalid UTF-8": b'{"features": {"\xff": 1}}',
    "list at the top": b"[1, 2]",
    "a bare number": b"1",
    "empty": b"",
    "cut short": b'{"features": [1,',
    "duplicate feature": b'{"features": {"x0": 1, "x0": 2, "x1": 3}}',
    "duplicate field": b'{"features": [1, 2], "features": [3, 4]}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_json_is_a_400_and_nothing_else(host, load, body):
    load(classifier([0, 1, 0, 1]))
    answer = host.post("/predict", body)
    assert answer.status == 400, answer.body
    assert set(answer.json) >= {"error", "code", "request_id"}


NO_NUMBERS = {
    "NaN": b'{"features": [NaN, 1]}',
    "nan": b'{"features": [nan, 1]}',
    "in a later line": b'{"features":\n{"a": "\xc3\xa9",\n"b": NaN}}',
    "Infinity": b'{"features": [1, Infinity]}',
    "-Infinity": b'{"features": [1,-Infinity]}',
    "inf": b'{"features": [1, -inf]}',
}
ODDITIES = {
    "NaN as text before": b'{"a": "NaN", "b":}',
    "None": b'{"features": [None, 1]}',
    "no token": b'{"features": [NaNs, 1]}',
    "cut short": b'{"features": [1,',
    "no UTF-8": b'{"a": "\xff"}',
}


@pytest.mark.parametrize("body", NO_NUMBERS.values(), ids=NO_NUMBERS.keys())
def test_number_outside_json_comes_with_the_next_step(host, load, body):
    load(classifier([0, 1, 0, 1]))
    answer = host.post("/predict", body)
    assert (answer.status, answer.json["code"]) == (400, "invalid_json")
    assert "JSON has no NaN and no Infinity: send null for a missing value" in answer.json["error"]


@pytest.mark.parametrize("body", ODDITIES.values(), ids=ODDITIES.keys())
def test_broken_json_is_no_missing_value(host, load, body):
    load(classifier([0, 1, 0, 1]))
    assert "Infinity" not in host.post("/predict", body).json["error"]


def test_text_for_a_number_is_named_with_its_row(host, load):
    frame = pd.DataFrame({"city": ["Oslo", "Bonn"] * 4, "amount": range(8)})
    columns = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression()).fit(frame, [0, 1] * 4)
    load(model, declared=[Feature("city", "string"), Feature("amount", "any")])
    rows = [{"city": "Oslo", "amount": 1}, {"city": "Bonn", "amount": "banana"}]
    answer = host.post("/predict", {"instances": rows})
    assert (answer.status, answer.json["code"]) == (400, "model_refused_input")
    assert "Row 1, feature 'amount': expected" in answer.json["error"]
    assert "found the string 'banana'. Send the kind of value" in answer.json["error"]


def test_column_that_passes_through_to_numbers_takes_no_text(host, load):
    frame = pd.DataFrame({"city": ["Oslo", "Bonn"] * 4, "amount": range(8)})
    columns = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    load(make_pipeline(columns, LogisticRegression()).fit(frame, [0, 1] * 4))
    answer = host.post("/predict", {"features": {"city": "Bonn", "amount": "banana"}})
    assert (answer.status, answer.json["code"]) == (400, "invalid_feature")
    assert "feature 'amount': expected a number, found the string 'banana'" in answer.json["error"]


def test_honest_quotes_are_not_taken_for_duplicates(host, load):
    load(make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["a b", "c dd"], [0, 1]))
    answer = host.post("/predict", {"features": {"text": 'he said "cc" and \\ "dd"'}})
    assert answer.status == 200, answer.body


def test_wire_errors(host, load, settings):
    load(constant(1))
    settings.MLAPI_MAX_BODY_MB = 0.001
    good = json.dumps({"features": [0, 0]}).encode()
    kind = {"Content-Type": "application/json"}
    assert host.request("GET", "/predict").status == 405
    assert host.request("GET", "/predict").headers["allow"] == "POST"
    assert host.post("/predict", good, **{"Content-Type": "text/plain"}).json["code"] == "unsupported_media_type"
    assert host.request("POST", "/predict", headers=kind, chunks=[good[:5], good[5:], b""]).status == 200
    assert host.request("POST", "/predict", headers=kind, chunks=[b" " * 600, b" " * 401]).status == 413
    assert host.post("/predict", b" " * 1001).status == 413
    bomb = gzip.compress(b" " * 1_000_000)
    assert host.post("/predict", bomb[:900], **{"Content-Encoding": "gzip"}).status in {400, 413}
    assert host.post("/predict", gzip.compress(b" " * 2000), **{"Content-Encoding": "gzip"}).status == 413
    assert host.post("/predict", zlib.compress(good), **{"Content-Encoding": "deflate"}).status == 200
    assert host.post("/predict", b"no gzip", **{"Content-Encoding": "gzip"}).status == 400
    assert host.post("/predict", good, **{"Content-Encoding": "br"}).status == 415
    assert host.post("/predict", good).status == 200
    assert host.post("/predict", good, Host="elsewhere.example").json["code"] in {"invalid_host", "bad_request"}
    insane = host.post("/predict", good, **{"X-Request-ID": "a b\tc"})
    assert len(insane.headers["x-request-id"]) == 32


def test_unknown_and_unloaded_models(host, load):
    load(constant(1), "a", number=2)
    body = {"features": [0, 0]}
    assert host.post("/models/b/predict", body).json["served"] == ["a"]
    assert host.post("/models/b/predict", body).json["error"] == "No model called 'b' is served. Served models: 'a'."
    wrong = host.post("/models/a/versions/1/predict", body)
    assert (wrong.status, wrong.json["loaded"]) == (404, [2])
    assert host.post("/models/a/versions/2/predict", body).status == 200
    from mlapi import replica

    replica.runtime.post(desired={"a": 2, "c": 1}, problems={"c": "version 1 failed to load: gone"})
    unloaded = host.post("/models/c/predict", body)
    assert unloaded.status == 503
    assert "gone" in unloaded.json["error"]
    assert unloaded.headers["retry-after"]


def test_a_misspelt_model_is_guessed_and_many_are_counted(host, load):
    for number in range(70):
        load(constant(1), f"model-{number:02}")
    misspelt = host.post("/models/modle-31/predict", {"features": [0, 0]}).json
    assert misspelt["error"] == "No model called 'modle-31' is served. Did you mean 'model-31'?"
    strange = host.post("/models/churn/predict", {"features": [0, 0]}).json
    assert strange["error"].endswith("'model-07' and 62 more.")
    assert len(strange["served"]) == 64


def test_unserved_default_is_reported_as_none(host, load):
    from mlapi import replica

    load(constant(1), "a")
    replica.runtime.post(default="nope")
    answer = host.post("/predict", {"features": [0, 0]})
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "no_model", "5")
    assert "The default model, 'nope', is not served. Served models: 'a'." in answer.json["error"]
    assert "name another model in MODELS_DEFAULT" in answer.json["error"]


def test_health_by_any_host(host, load):
    from mlapi import replica

    address = "localhost" if host.is_behind_django else "10.0.0.7:8000"
    for path in ("/health", "/health/ready", "/health/live"):
        load(constant(1), "a")
        assert host.get(path, Host=address).status == 200
    assert host.get("/models", Host="10.0.0.7:8000").status == 400
    replica.runtime.post(desired={"a": 1, "b": 4})
    missing = host.get("/health", Host=address)
    assert missing.status == 503
    assert missing.json["missing"] == {"b": "version 4 is loading"}
    assert host.get("/health/live").status == 200


def test_catalogue_gives_an_example_that_works(host, load):
    load(mixed(), "people", example={"age": 1.0, "city": "Rome"})
    load(classifier([0, 1, 0, 1]), "plain")
    for model in host.get("/models").json["models"]:
        path = f"/models/{model['name']}/predict"
        assert model["example"]["url"] == f"http://localhost{path}"
        assert host.post(path, model["example"]["body"]).status == 200
    detail = host.get("/models/people").json
    assert [item["name"] for item in detail["signature"]["inputs"]] == ["age", "city"]
    assert host.get("/models/nobody").status == 404


def test_an_address_that_is_nowhere_answers_json(host, load):
    answer = host.get("/nowhere")
    assert (answer.status, answer.json["code"]) == (404, "not_found")
