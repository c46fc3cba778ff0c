"""MLflow's /invocations and SageMaker's container routes, through the application and through Django's views."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mlapi import replica
from mlapi.version import VERSION
from tests.support.estimators import constant

ROWS = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])
CSV = {"Content-Type": "text/csv"}


def linear():
    return LinearRegression().fit(ROWS, [0.0, 2, 2, 4])


def mixed():
    frame = pd.DataFrame({"age": [20.0, 30, 40, np.nan], "city": ["Oslo", "Bonn", "Oslo", "Rome"]})
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]), (OneHotEncoder(), ["city"])
    )
    return make_pipeline(columns, LogisticRegression()).fit(frame, ["low", "high", "high", "low"])


FRAME = pd.DataFrame({"city": ["Bonn", "Oslo"], "age": [30, np.nan]})
SPLIT = {"columns": ["city", "age"], "index": [0, 1], "data": [["Bonn", 30], ["Oslo", None]]}
FORMS = {
    "split": {"dataframe_split": SPLIT},
    "split in order, without names": {"dataframe_split": {"data": [[30, "Bonn"], [None, "Oslo"]]}},
    "split with pandas' numbers for names": {
        "dataframe_split": {"columns": [0, 1], "data": [[30, "Bonn"], [None, "Oslo"]]}
    },
    "records": {"dataframe_records": [{"age": 30, "city": "Bonn"}, {"city": "Oslo", "age": None}]},
    "instances by name": {"instances": [{"age": 30, "city": "Bonn"}, {"city": "Oslo", "age": None}]},
    "instances in order": {"instances": [[30, "Bonn"], [None, "Oslo"]]},
    "inputs by column": {"inputs": {"city": ["Bonn", "Oslo"], "age": [30, None]}},
    "inputs as rows": {"inputs": [[30, "Bonn"], [None, "Oslo"]]},
    "with params": {"dataframe_split": SPLIT, "params": {}},
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS.keys())
def test_every_form_predicts_the_same(host, load, body):
    model = mixed()
    load(model, number=3)
    answer = host.post("/invocations", body)
    assert answer.status == 200, answer.body
    assert answer.json == {"predictions": model.predict(FRAME[["age", "city"]]).tolist()}
    assert answer.headers["x-model-version"] == "3"
    assert "warning" not in answer.headers


def test_mlflow_clients_nan_is_a_missing_value(host, load):
    load(mixed())
    body = json.dumps({"dataframe_split": FRAME.to_dict(orient="split")}).encode()
    assert b"NaN" in body
    assert host.post("/invocations", body).json == host.post("/invocations", FORMS["split"]).json


def test_any_model_and_version_has_its_own_address(host, load):
    load(constant(1), "a")
    load(constant(2), "b", number=4)
    body = {"instances": [[0, 0]]}
    assert host.post("/invocations", body).json == {"predictions": [1.0]}
    assert host.post("/models/b/invocations", body).json == {"predictions": [2.0]}
    assert host.post("/models/b/versions/4/invocations", body).json == {"predictions": [2.0]}
    missing = host.post("/models/b/versions/5/invocations", body)
    assert missing.status == 404
    assert missing.json["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_params_are_ignored_and_the_answer_says_so(host, load):
    load(linear())
    answer = host.post("/invocations", {"inputs": [[1, 1]], "params": {"temperature": 1}})
    assert answer.status == 200
    assert "only the documented params" in answer.headers["warning"]


@pytest.mark.parametrize(
    ("model", "advice"),
    [
        (DecisionTreeClassifier().fit(ROWS, ["a", "a", "b", "b"]), "Ask for probabilities."),
        (linear(), "It only has predictions."),
        (KNeighborsClassifier(1).fit(ROWS, ["a", "a", "b", "b"]), "Ask for probabilities, kneighbors."),
    ],
    ids=["tree", "regressor", "neighbors"],
)
def test_refused_output_says_what_to_ask_for(host, load, model, advice):
    load(model)
    answer = host.post("/invocations", {"inputs": [[1, 1]], "params": {"decision_function": True}})
    assert (answer.status, advice in answer.json["message"]) == (400, True), answer.body
    for name in advice.removeprefix("Ask for ").removesuffix(".").split(", ") if advice.startswith("Ask") else ():
        assert host.post("/invocations", {"inputs": [[1, 1]], "params": {name: True}}).status == 200


def test_other_kinds_of_models(host, load):
    load(KNeighborsRegressor(1).fit(ROWS, [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]))
    assert host.post("/invocations", {"inputs": [[1, 1]]}).json == {"predictions": [[2.0, 3.0]]}
    load(make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good day", "bad night"], ["+", "-"]))
    assert host.post("/invocations", {"inputs": ["a good one", "bad"]}).json == {"predictions": ["+", "-"]}
    assert host.post("/invocations", b'text\n"a good one, ""so"" to say"\n', **CSV).json == {"predictions": ["+"]}
    load(make_pipeline(DictVectorizer(), LogisticRegression()).fit([{"a": 1, "c": "x"}, {"a": 5, "c": "y"}], [0, 1]))
    assert host.post("/invocations", {"dataframe_records": [{"a": 5, "c": "y"}]}).json == {"predictions": [1]}
    assert host.post("/invocations", b"a,c\n5,y\n", **CSV).json == {"predictions": [1]}


CSVS = {
    "header": b"age,city\n30,Bonn\n,Oslo\n",
    "header in another order": b"city,age\r\nBonn,30.0\r\nOslo,\r\n",
    "no header": b"30,Bonn\n,Oslo",
    "quotes and a mark of order": b'\xef\xbb\xbf"age","city"\n"3e1","Bonn"\n"","Oslo"\n\n',
}


@pytest.mark.parametrize("body", CSVS.values(), ids=CSVS.keys())
@pytest.mark.parametrize("kind", ["text/csv", "Text/CSV; charset=utf-8"])
def test_csv_with_and_without_a_header(host, load, body, kind):
    load(mixed())
    answer = host.post("/invocations", body, **{"Content-Type": kind})
    assert answer.status == 200, answer.body
    assert answer.json == host.post("/invocations", FORMS["split"]).json


def test_ambiguous_first_line_is_asked_about(host, load):
    load(linear())
    body = pd.DataFrame([[1.0, 1.0]]).to_csv(index=False).encode()
    assert body.startswith(b"0,1\n")
    asked = host.post("/invocations", body, **CSV)
    assert asked.status == 400
    assert "header=present" in asked.json["message"]
    with_header = host.post("/invocations", body, **{"Content-Type": "text/csv; header=present"}).json["predictions"]
    assert with_header == pytest.approx([2.0])
    without = host.post("/invocations", body, **{"Content-Type": "text/csv;header=absent"}).json["predictions"]
    assert without == pytest.approx([1.0, 2.0])
    assert host.post("/invocations", b"0,1.0\n", **CSV).json["predictions"] == pytest.approx([1.0])


NAMED = {
    "missing": ({"dataframe_split": {"columns": ["age"], "data": [[30]]}}, ["missing", "'city'"]),
    "missing in records": ({"dataframe_records": [{"age": 30}]}, ["missing", "'city'"]),
    "extra": ({"inputs": {"age": [1], "city": ["Oslo"], "zip": ["0150"]}}, ["Unknown", "'zip'"]),
    "extra and missing": ({"inputs": {"age": [1], "town": ["Oslo"]}}, ["Unknown", "'town'", "missing: 'city'"]),
    "misspelt": ({"inputs": {"age": [1], "citty": ["Oslo"]}}, ["did you mean 'city'?"]),
    "type": ({"inputs": {"age": ["old"], "city": ["Oslo"]}}, ["Row 0", "'age'", "a number", "'old'"]),
    "category": ({"instances": [[1, "Oslo"], [1, "Paris"]]}, ["Row 1", "'city'", "'Bonn'", "'Paris'"]),
}


@pytest.mark.parametrize(("body", "words"), NAMED.values(), ids=NAMED.keys())
def test_errors_name_the_columns(host, load, body, words):
    load(mixed())
    answer = host.post("/invocations", body)
    assert answer.status == 400
    assert set(answer.json) == {"error_code", "message"}
    assert answer.json["error_code"] == "BAD_REQUEST"
    for word in words:
        assert word in answer.json["message"]


HOSTILE = {
    "empty": b"",
    "deep": b"[" * 100_000,
    "deep beside NaN": b"[NaN," * 100_000,
    "cut short": b'{"inputs": [[1',
    "a number": b"5",
    "a list of lists of lists": b"[[[1, 2]]]",
    "a list with NaN": b"[NaN]",
    "NaN": b'{"inputs": [[NaN, 1]]}',
    "Infinity beside NaN": b'{"inputs": [[NaN, Infinity]]}',
    "1e400 beside NaN": b'{"inputs": [[NaN, 1e400]]}',
    "4301 digits": b'{"inputs": [[1, ' + b"9" * 4301 + b"]]}",
    "4301 digits beside NaN": b'{"inputs": [[NaN, ' + b"9" * 4301 + b"]]}",
    "400 digits beside NaN": b'{"inputs": [[NaN, ' + b"9" * 400 + b"]]}",
    "surrogate": b'{"inputs": {"\\ud800": [1]}}',
    "surrogate beside NaN": b'{"inputs": {"\\ud800": [NaN]}}',
    "a key twice": b'{"inputs": [[1, 2]], "inputs": [[1, 2]]}',
    "a key twice beside NaN": b'{"inputs": {"a": [NaN], "a": [1]}}',
    "a column twice": b'{"inputs": {"x0": [1], "x0": [1], "x1": [1]}}',
    "invalid UTF-8": b'{"inputs": "\xff"}',
    "no form": {},
    "params alone": {"params": {}},
    "two forms": {"inputs": [[1, 2]], "instances": [[1, 2]]},
    "another field": {"inputs": [[1, 2]], "signature_name": "x"},
    "params a list": {"inputs": [[1, 2]], "params": [1]},
    "split a list": {"dataframe_split": [[1, 2]]},
    "split without data": {"dataframe_split": {"columns": ["x0", "x1"]}},
    "split of columns that are none": {"dataframe_split": {"columns": "x0", "data": [[1, 2]]}},
    "split of columns of several kinds": {"dataframe_split": {"columns": ["x0", 1], "data": [[1, 2]]}},
    "split of columns that are lists": {"dataframe_split": {"columns": [["x0"], ["x1"]], "data": [[1, 2]]}},
    "split of a column twice": {"dataframe_split": {"columns": ["x0", "x0"], "data": [[1, 2]]}},
    "split of a column once more": {"dataframe_split": {"columns": ["x0", "x1", "x0"], "data": [[1, 2, 3]]}},
    "split of no columns": {"dataframe_split": {"columns": [], "data": [[]]}},
    "split of another field": {"dataframe_split": {"data": [[1, 2]], "dtype": "f8"}},
    "split of ragged rows": {"dataframe_split": {"columns": ["x1", "x0"], "data": [[1, 2], [1]]}},
    "split of rows that are none": {"dataframe_split": {"columns": ["x1", "x0"], "data": [1, 2]}},
    "split of no rows": {"dataframe_split": {"columns": ["x1", "x0"], "data": []}},
    "records an object": {"dataframe_records": {"x0": 1, "x1": 2}},
    "records of lists": {"dataframe_records": [[1, 2]]},
    "no records": {"dataframe_records": []},
    "instances an object": {"instances": {"x0": [1], "x1": [2]}},
    "no instances": {"instances": []},
    "instances of numbers": {"instances": [1, 2]},
    "inputs null": {"inputs": None},
    "inputs a string": {"inputs": "1,2"},
    "inputs of no column": {"inputs": {}},
    "inputs of a scalar": {"inputs": {"x0": 1, "x1": 2}},
    "inputs of unequal columns": {"inputs": {"x0": [1], "x1": [2, 3]}},
    "inputs of no rows": {"inputs": {"x0": [], "x1": []}},
    "inputs of nested columns": {"inputs": {"x0": [[1]], "x1": [[2]]}},
    "ragged": {"inputs": [[1, 2], [1]]},
    "numbers as text": {"inputs": [["1", "2"]]},
    "booleans": {"inputs": [[True, False]]},
    "null": {"inputs": [[None, 1]]},
    "beyond float32": {"inputs": [[1e39, 1]]},
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_json_is_a_400_in_mlflow_s_shape(host, load, body):
    load(linear())
    answer = host.post("/invocations", body)
    assert answer.status == 400, answer.body
    assert set(answer.json) == {"error_code", "message"}
    assert len(answer.json["message"]) > 20


def test_beside_a_nan_that_is_taken_nothing_else_passes(host, load):
    frame = pd.DataFrame({"a": [20.0, 30, 40, np.nan], "b": ["Oslo", "Bonn", "Oslo", "Rome"]})
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["a"]), (OneHotEncoder(handle_unknown="ignore"), ["b"])
    )
    load(make_pipeline(columns, LogisticRegression()).fit(frame, [0, 1, 1, 0]))
    assert host.post("/invocations", b'{"inputs": [[NaN, "any"]]}').status == 200
    for value in ("Infinity", "-Infinity", "1e400", "9" * 400, "9" * 5000):
        body = b'{"inputs": [[NaN, "any"], [%s, "any"]]}' % value.encode()
        assert host.post("/invocations", body).status == 400, value
    assert host.post("/invocations", b'{"inputs": [[NaN, "\\ud800"]]}').status == 400


def test_records_of_no_columns_are_refused(host, load):
    load(make_pipeline(DictVectorizer(), LogisticRegression()).fit([{"a": 1, "c": "x"}, {"a": 5, "c": "y"}], [0, 1]))
    assert host.post("/invocations", {"dataframe_split": {"columns": [], "data": [[], []]}}).status == 400


HOSTILE_CSV = {
    "empty": b"",
    "blank": b"\n\n\r\n",
    "header alone": b"x0,x1\n",
    "nan": b"nan,1\n",
    "infinity": b"1,Infinity\n",
    "1e400": b"1e400,1\n",
    "hexadecimal": b"0x1,1\n",
    "underscored": b"1_0,1\n",
    "digits of another script": "٣,1\n".encode(),
    "5000 digits": b"9" * 5000 + b",1\n",
    "missing": b",1\n",
    "ragged": b"1,2\n3\n",
    "ragged under a header": b"x1,x0\n1,2\n3\n",
    "too wide": b"1,2,3\n",
    "unknown header": b"x0,z\n1,2\n",
    "header twice": b"x0,x0\n1,2\n",
    "open quote": b'"1,2\n',
    "stray quote": b'"1"2,2\n',
    "NUL": b"1\x00,2\n",
    "a field of a million": b"1" * 1_000_000 + b",2\n",
    "UTF-16": "1,2".encode("utf-16"),
    "invalid UTF-8": b"\xff,1\n",
    "JSON": b'{"inputs": [[1, 2]]}',
}


@pytest.mark.parametrize("body", HOSTILE_CSV.values(), ids=HOSTILE_CSV.keys())
def test_hostile_csv_is_a_400_in_mlflow_s_shape(host, load, body):
    load(linear())
    answer = host.post("/invocations", body, **CSV)
    assert answer.status == 400, answer.body
    assert set(answer.json) == {"error_code", "message"}


def test_a_body_may_come_in_chunks(host, load):
    load(linear())
    content = json.dumps({"inputs": [[1, 2]]}).encode()
    chunks = [content[:9], content[9:], b""]
    assert host.request("POST", "/invocations", chunks=chunks).status == 200


def test_wire_errors_keep_mlflow_s_shape(host, load, settings):
    load(linear())
    settings.MLAPI_MAX_BODY_MB = 0.001
    answers = {
        "method": (host.get("/invocations"), 405),
        "kind": (host.post("/invocations", b"x", **{"Content-Type": "application/xml"}), 415),
        "chunks": (host.request("POST", "/invocations", chunks=[b" " * 600, b" " * 401]), 413),
        "large": (host.post("/invocations", b" " * 1001), 413),
        "unknown model": (host.post("/models/none/invocations", {"inputs": [[1, 2]]}), 404),
    }
    for name, (answer, status) in answers.items():
        assert answer.status == status, (name, answer.body)
        assert set(answer.json) == {"error_code", "message"}, name


def test_ping_is_empty_and_reports_loaded_models(host, load):
    load(linear(), "a")
    ping = host.get("/ping", Host="localhost" if host.is_behind_django else "10.0.0.9:8080")
    assert (ping.status, ping.body) == (200, b"")
    assert host.get("/version").body == VERSION.encode()
    replica.runtime.post(desired={"a": 1, "b": 1})
    missing = host.get("/ping")
    assert missing.status == 503
    assert missing.json["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert host.post("/models/b/invocations", {"inputs": [[1, 2]]}).status == 503
