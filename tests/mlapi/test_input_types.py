"""Booleans, times, missing values and columns that may be left out mean the same in every protocol."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from models_registry.artifacts.features import DeclaredInput

CSV = {"Content-Type": "text/csv"}
ROWS = [{"at": "2024-05-01T12:30:00+02:00", "paid": True}, {"at": "2024-05-02", "paid": False}]
SEEN = [1714559400.0 + 1, 1714608000.0]


class Reader:
    """Answers what it sees: the seconds of `at`, and 1 for what is paid."""

    feature_names_in_ = np.array(["at", "paid", "note"], dtype=object)

    def predict(self, frame):
        assert dict(frame.dtypes.astype(str)) | {"note": ""} == {"at": "datetime64[ns]", "paid": "bool", "note": ""}
        seconds = frame["at"].astype("int64") / 1e9
        return np.where(frame["at"].isna(), -1, seconds + frame["paid"])


def reader(load, **given):
    declared = [DeclaredInput("at", "datetime", **given), DeclaredInput("paid", "boolean"), DeclaredInput("note")]
    return load(Reader(), declared=declared)


def by_column(at, paid, kind="BOOL"):
    return {
        "inputs": [
            {"name": "at", "shape": [2], "datatype": "BYTES", "data": at},
            {"name": "paid", "shape": [2, 1], "datatype": kind, "data": paid},
            {"name": "note", "shape": [2], "datatype": "BYTES", "data": ["", "x"]},
        ]
    }


TIMES = [row["at"] for row in ROWS]
NOTED = [{**row, "note": "x"} for row in ROWS]
REQUESTS = {
    "rows by name": ("/models/m/predict", {"instances": NOTED}, {}),
    "0 and 1 by name": ("/models/m/predict", {"instances": [{**NOTED[0], "paid": 1}, {**NOTED[1], "paid": 0}]}, {}),
    "rows in order": ("/models/m/predict", {"instances": [[TIMES[0], 1.0, ""], [TIMES[1], False, ""]]}, {}),
    "records": ("/invocations", {"dataframe_records": NOTED}, {}),
    "split": (
        "/invocations",
        {"dataframe_split": {"columns": ["note", "paid", "at"], "data": [["", 1, TIMES[0]], ["", 0, TIMES[1]]]}},
        {},
    ),
    "inputs": ("/invocations", {"inputs": {"at": TIMES, "paid": [True, 0], "note": ["", ""]}}, {}),
    "CSV as Python writes booleans": (
        "/invocations", f"at,paid,note\n{TIMES[0]},True,x\n{TIMES[1]},False,x\n".encode(), CSV,
    ),
    "CSV in lower case": ("/invocations", f"at,paid,note\n{TIMES[0]},true,x\n{TIMES[1]},false,x\n".encode(), CSV),
    "CSV of 0 and 1": ("/invocations", f"at,paid,note\n{TIMES[0]},1,x\n{TIMES[1]},0,x\n".encode(), CSV),
    "tensors": ("/v2/models/m/infer", by_column(TIMES, [True, False]), {}),
    "tensors of whole numbers": ("/v2/models/m/infer", by_column(TIMES, [1, 0], "INT64"), {}),
    "tensors of floats": ("/v2/models/m/infer", by_column(TIMES, [1.0, 0.0], "FP32"), {}),
}  # fmt: skip


def predictions_of(answer):
    assert answer.status == 200, answer.body
    return answer.json["outputs"][0]["data"] if "outputs" in answer.json else answer.json["predictions"]


@pytest.mark.parametrize(("path", "body", "headers"), REQUESTS.values(), ids=REQUESTS)
def test_times_and_booleans_reach_the_model_from_every_protocol(host, load, path, body, headers):
    reader(load)
    assert predictions_of(host.post(path, body, **headers)) == SEEN


def test_missing_time_is_not_a_declared_time(host, load):
    reader(load, nullable=True)
    assert host.post("/predict", {"features": [None, True, ""]}).json["prediction"] == -1
    csv = host.post("/invocations", b"at,paid,note\n,True,x\n", **CSV)
    assert predictions_of(csv) == [-1]


REFUSED = {
    "another format": ({"at": "05/01/2024", "paid": True}, "at", "a time in ISO 8601"),
    "seconds": ({"at": 1714566600, "paid": True}, "at", "a time in ISO 8601"),
    "no time": ({"at": None, "paid": True}, "at", "found null"),
    "another number": ({"at": "2024-05-01", "paid": 2}, "paid", "true or false (or 1 or 0), found 2"),
    "a text": ({"at": "2024-05-01", "paid": "true"}, "paid", "found the string 'true'"),
}


@pytest.mark.parametrize(("row", "feature", "sentence"), REFUSED.values(), ids=REFUSED)
def test_other_values_are_refused_by_name(host, load, row, feature, sentence):
    reader(load)
    answer = host.post("/predict", {"features": {**row, "note": ""}})
    assert (answer.status, answer.json["code"], answer.json["feature"]) == (400, "invalid_feature", feature)
    assert sentence in answer.json["error"]


@pytest.mark.parametrize("field", ["2", "yes", "nan"])
def test_other_booleans_of_a_csv_are_refused(host, load, field):
    reader(load)
    answer = host.post("/invocations", f"at,paid,note\n2024-05-01,{field},x\n".encode(), **CSV)
    assert (answer.status, "feature 'paid'" in answer.json["message"]) == (400, True)


def dropping():
    frame = pd.DataFrame({"id": ["a", "b", "c"], "city": ["Oslo", "Rome", "Oslo"], "age": [1.0, 2, 4]})
    columns = make_column_transformer((OneHotEncoder(), ["city"]), ("passthrough", ["age"]))
    return make_pipeline(columns, LinearRegression()).fit(frame, [1.0, 2, 4])


WITHOUT = {"city": "Oslo", "age": 4.0}
LEFT_OUT = {
    "one row": ("/predict", {"features": WITHOUT}, {}),
    "rows that have it and not": ("/predict", {"instances": [WITHOUT, {**WITHOUT, "id": "z"}]}, {}),
    "as null": ("/predict", {"features": {**WITHOUT, "id": None}}, {}),
    "records": ("/invocations", {"dataframe_records": [WITHOUT]}, {}),
    "split": ("/invocations", {"dataframe_split": {"columns": ["age", "city"], "data": [[4.0, "Oslo"]]}}, {}),
    "CSV": ("/invocations", b"city,age\nOslo,4\n", CSV),
    "tensors": (
        "/v2/models/m/infer",
        {
            "inputs": [
                {"name": "city", "shape": [1], "datatype": "BYTES", "data": ["Oslo"]},
                {"name": "age", "shape": [1], "datatype": "FP64", "data": [4.0]},
            ]
        },
        {},
    ),
}


@pytest.mark.parametrize(("path", "body", "headers"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_column_the_model_drops_is_optional(host, load, path, body, headers):
    model = dropping()
    load(model)
    answer = host.post(path, body, **headers)
    assert answer.status == 200, answer.body
    expected = float(model.predict(pd.DataFrame([{"id": "", **WITHOUT}]))[0])
    found = answer.json.get("prediction")
    assert (found if found is not None else predictions_of(answer)[0]) == pytest.approx(expected)


def test_a_column_that_the_model_uses_may_not(host, load):
    load(dropping())
    answer = host.post("/predict", {"features": {"id": "a", "age": 1.0}})
    assert (answer.status, answer.json["code"], answer.json["expected"]) == (400, "missing_feature", ["city"])
    unknown = host.post("/predict", {"features": {**WITHOUT, "idd": "a"}})
    assert (unknown.status, unknown.json["code"]) == (400, "unknown_feature")


def test_what_may_be_left_out_is_shown(host, load):
    load(dropping())
    described = host.get("/models/m").json
    assert [item.get("optional", False) for item in described["signature"]["inputs"]] == [True, False, False]
    assert set(described["example"]["body"]["features"]) == {"city", "age"}
    document = host.get("/openapi.json").json
    assert document["components"]["schemas"]["m.NamedRow"]["required"] == ["city", "age"]
    for example in document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"][
        "examples"
    ].values():
        assert host.post("/predict", example["value"]).status == 200, json.dumps(example)
