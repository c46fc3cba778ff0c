"""SageMaker's content types on /invocations, the Accept header, and parameters beside the rows."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlapi.protocols.encodings import decode_csv

ROWS = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])
LABELS = ["a", "b", "a", "b"]
LINES = {"Content-Type": "application/jsonlines"}
NPY = {"Content-Type": "application/x-npy"}
CSV = {"Content-Type": "text/csv"}


def named():
    frame = pd.DataFrame(ROWS, columns=["x", "y"])
    return LogisticRegression().fit(frame, LABELS)


def saved(array):
    raw = io.BytesIO()
    np.save(raw, array, allow_pickle=array.dtype.kind == "O")
    return raw.getvalue()


def header(text: str, version: int = 1) -> bytes:
    """Return the beginning of an npy file with this header."""
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 if version == 1 else 4, "little") + text.encode()


BODIES = {
    "lists on lines": (b"[0, 0]\n[1, 1]\n", LINES),
    "objects on lines": (b'{"y": 0, "x": 0}\r\n\r\n{"x": 1, "y": 1}', LINES),
    "features on lines": (b'{"features": [0, 0]}\n{"features": [1.0, 1.0]}', {"Content-Type": "application/x-ndjson"}),
    "a mark of order before the lines": (b"\xef\xbb\xbf[0, 0]\n[1, 1]", LINES),
    "a bare list of lists": ([[0, 0], [1, 1]], {}),
    "a bare list of objects": ([{"x": 0, "y": 0}, {"y": 1, "x": 1}], {}),
    "npy": (saved(ROWS[:2]), NPY),
    "npy of integers, column by column": (saved(np.asfortranarray(ROWS[:2].astype(">i4"))), NPY),
    "npy with named fields": (saved(np.array([(0, 0), (1, 1)], dtype=[("y", "f4"), ("x", "i8")])), NPY),
}


@pytest.mark.parametrize(("body", "headers"), BODIES.values(), ids=BODIES.keys())
def test_every_body_predicts_the_same(host, load, body, headers):
    load(named())
    answer = host.post("/invocations", body, **headers)
    assert answer.status == 200, answer.body
    assert answer.json == {"predictions": named().predict(pd.DataFrame(ROWS[:2], columns=["x", "y"])).tolist()}


WRONG = {
    "a broken line": (b"[0, 0]\n[1,", LINES, "Line 2: "),
    "a key twice on a line": (b'{"x": 1, "x": 2, "y": 1}', LINES, "Line 1: "),
    "no line": (b"\n", LINES, "at least one row"),
    "a bare number": (b"5", {}, "or a list of rows"),
    "a pickle in npy": (saved(np.array([[{}, 1]], dtype=object)), NPY, "object"),
    "npy that is cut short": (saved(ROWS)[:-1], NPY, "63 bytes follow"),
    "npy of three dimensions": (saved(np.zeros((1, 2, 2))), NPY, "[rows, features]"),
    "npy of another width": (saved(np.zeros((2, 3))), NPY, "[rows, 2]"),
    "npy of times": (saved(np.zeros((1, 2), "M8[s]")), NPY, "expected numbers"),
    "no npy": (b"[[0, 0]]", NPY, "np.save"),
    "npy of more columns than numpy counts": (
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 10" + "0" * 30 + ")}"),
        NPY,
        "its shape is [0, 10",
    ),
    "csv in UTF-16": ("x,y\n0,0\n".encode("utf-16"), CSV, "send UTF-8"),
    "csv in UTF-16 without a mark": ("x,y\n0,0\n".encode("utf-16-be"), CSV, "send UTF-8"),
    "csv in another encoding": ("x,y\n0,\u00e9\n".encode("latin-1"), CSV, "Save it as UTF-8."),
    "json in UTF-16": (json.dumps([[0, 0]]).encode("utf-16"), {"Content-Type": "application/json"}, "send UTF-8"),
    "json lines in UTF-16": (json.dumps([0, 0]).encode("utf-16-le"), LINES, "send UTF-8"),
}


@pytest.mark.parametrize(("body", "headers", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_body_is_refused_in_words(host, load, body, headers, words):
    load(named())
    answer = host.post("/invocations", body, **headers)
    assert answer.status == 400, answer.body
    assert words in answer.json["message"]


# Python's own parser reads the header; each of these breaks it in another way.
BROKEN_HEADERS = [
    "",
    "\0",
    "(" * 300,
    "{'a':" * 300,
    "-" * 9000 + "1",
    "{'descr': '<f8', 'shape': (2,",
    "'''",
    "9 ** 9",
    "[]",
]


@pytest.mark.parametrize("text", BROKEN_HEADERS, ids=range(len(BROKEN_HEADERS)))
@pytest.mark.parametrize("version", [1, 2, 9])
def test_an_npy_header_that_cannot_be_read_is_refused(host, load, text, version):
    load(named())
    answer = host.post("/invocations", header(text, version), **NPY)
    assert answer.status == 400, answer.body
    assert "its header cannot be read. Write it with np.save." in answer.json["message"]


@pytest.mark.parametrize(
    ("accept", "kind", "expected"),
    [
        ("", "application/json", b'{"predictions":["a","b"]}'),
        ("*/*", "application/json", b'{"predictions":["a","b"]}'),
        ("text/html, application/*;q=0.5", "application/json", b'{"predictions":["a","b"]}'),
        ("text/csv", "text/csv", b"a\nb\n"),
        ("application/json;q=0.1, Text/CSV; charset=utf-8", "text/csv", b"a\nb\n"),
        ("application/jsonlines", "application/jsonlines", b'{"prediction":"a"}\n{"prediction":"b"}\n'),
        ("*/*, application/json;q=0", "text/csv", b"a\nb\n"),
        ("application/json;q=0.5, */*;q=0.1, text/csv;q=0.2", "application/json", b'{"predictions":["a","b"]}'),
        ("*/*;q=0.9, application/*;q=0", "text/csv", b"a\nb\n"),
        ("text/csv;q=inf, application/json;q=nan", "text/csv", b"a\nb\n"),
        ("application/x-npy", "application/x-npy", saved(np.array(["a", "b"]))),
    ],
)
def test_the_answer_comes_as_the_accept_header_says(host, load, accept, kind, expected):
    load(named())
    answer = host.post("/invocations", [[0, 0], [1, 1]], Accept=accept)
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, kind, expected)


@pytest.mark.parametrize(
    "accept",
    ["application/xml", "text/html", "text/csv;q=0", "application/json;q=x", "*/*;q=0", "text/*, text/csv;q=0"],
)
def test_any_other_accept_header_is_406(host, load, accept):
    load(named())
    answer = host.post("/invocations", [[0, 0]], Accept=accept)
    assert answer.status == 406
    assert "text/csv" in answer.json["message"]


def test_csv_answers_quote_and_have_a_column_per_output(host, load):
    load(LogisticRegression().fit(ROWS, ['say "a", b', "c", 'say "a", b', "c"]))
    answer = host.post("/invocations", [[0, 0]], Accept="text/csv")
    assert answer.body == b'"say ""a"", b"\n'
    load(LinearRegression().fit(ROWS, np.column_stack([ROWS[:, 0], ROWS[:, 0] * 2])), "two")
    answer = host.post("/models/two/invocations", [[2, 0], [1, 1]], Accept="text/csv")
    assert np.loadtxt(io.BytesIO(answer.body), delimiter=",") == pytest.approx(np.array([[2, 4], [1, 2]]))


ASKED = {
    "in the body": ("/invocations", {"inputs": [[0, 0], [1, 1]], "params": {"probabilities": True}}, {}),
    "in the URL": ("/invocations?probabilities=true", [[0, 0], [1, 1]], {}),
    "in the URL, with CSV": ("/invocations?probabilities=1", b"0,0\n1,1\n", CSV),
    "in SageMaker's header": (
        "/invocations",
        saved(ROWS[:2]),
        {**NPY, "X-Amzn-SageMaker-Custom-Attributes": "trace=7, probabilities=true"},
    ),
}


@pytest.mark.parametrize(("path", "body", "headers"), ASKED.values(), ids=ASKED.keys())
def test_probabilities_are_asked_for_by_parameter(host, load, path, body, headers):
    model = LogisticRegression().fit(ROWS, LABELS)
    load(model)
    answer = host.post(path, body, **headers)
    assert answer.json["predictions"] == model.predict(ROWS[:2]).tolist()
    assert [list(row.values()) for row in answer.json["probabilities"]] == pytest.approx(model.predict_proba(ROWS[:2]))
    lines = host.post(path, body, Accept="application/jsonlines", **headers).body.splitlines()
    assert [json.loads(line)["probabilities"] for line in lines] == answer.json["probabilities"]
    columns = host.post(path, body, Accept="text/csv", **headers).body.decode().splitlines()[0].split(",")
    assert columns[0] == answer.json["predictions"][0]
    assert [float(value) for value in columns[1:]] == list(answer.json["probabilities"][0].values())
    assert host.post(path, body, Accept="application/x-npy", **headers).status == 406


def test_parameters_that_a_model_cannot_meet_are_refused(host, load):
    load(LinearRegression().fit(ROWS, ROWS[:, 0]))
    for params, words in (
        ({"probabilities": True}, "no probabilities"),
        ({"kneighbors": True}, "no 'kneighbors'"),
        ({"probabilities": "yes"}, "true or false"),
    ):
        answer = host.post("/invocations", {"inputs": [[0, 0]], "params": params})
        assert (answer.status, words in answer.json["message"]) == (400, True), answer.body
    assert "true or false" in host.post("/invocations?return_std=maybe", [[0, 0]]).json["message"]


def test_extra_columns_are_ignored_on_request(host, load):
    load(named())
    rows = [{"x": 0, "y": 0, "id": "k1"}, {"id": "k2", "x": 1, "y": 1}]
    bodies = [
        {"dataframe_records": rows},
        {"inputs": {"x": [0, 1], "y": [0, 1], "id": ["k1", "k2"]}},
        {"dataframe_split": {"columns": ["id", "x", "y"], "data": [["k1", 0, 0], ["k2", 1, 1]]}},
    ]
    for body in bodies:
        assert host.post("/invocations", body).status == 400
        answer = host.post("/invocations", body | {"params": {"ignore_extra": True}})
        assert answer.json == {"predictions": ["a", "b"]}
        assert "warning" not in answer.headers
        assert host.post("/invocations", body | {"ignore_extra": True}).json == {"predictions": ["a", "b"]}
        assert host.post("/invocations", body | {"ignore_extra": False}).status == 400
        wrong = host.post("/invocations", body | {"ignore_extra": "yes"})
        assert (wrong.status, "true or false" in wrong.json["message"]) == (400, True)
    lines = "\n".join(map(json.dumps, rows)).encode()
    assert host.post("/invocations?ignore_extra=true", lines, **LINES).json == {"predictions": ["a", "b"]}
    assert host.post("/invocations?ignore_extra=true", b"x,y,id\n0,0,k\n", **CSV).json == {"predictions": ["a"]}
    missing = host.post("/invocations?ignore_extra=true", b"x,id\n0,k\n", **CSV)
    assert "missing. Send a value" in missing.json["message"]


@pytest.mark.parametrize("count", [2, 2000])
def test_flags_stand_beside_the_rows_of_any_number(host, load, count):
    load(named())
    body = {"instances": [{"x": 0.25, "y": 0.125}] * count}
    plain = host.post("/invocations", body | {"probabilities": False})
    asked = host.post("/invocations", body | {"probabilities": True})
    assert set(plain.json) == {"predictions"}
    assert len(asked.json["probabilities"]) == count
    assert asked.json == host.post("/invocations?probabilities=true", body | {"probabilities": False}).json
    unknown = host.post("/invocations", body | {"proba": True})
    assert "allowed next to 'instances' are 'params', 'probabilities', 'ignore_extra'." in unknown.json["message"]


OTHERS = {
    "score_samples": (IsolationForest(random_state=0).fit(ROWS), "score_samples"),
    "score_samples of a pipeline": (
        make_pipeline(StandardScaler(), IsolationForest(random_state=0)).fit(ROWS),
        "score_samples",
    ),
    "kneighbors": (KNeighborsClassifier(2).fit(ROWS, LABELS), "kneighbors"),
    "return_std": (GaussianProcessRegressor().fit(ROWS, [0.0, 1, 2, 3]), "return_std"),
    "return_std of a pipeline": (
        make_pipeline(StandardScaler(), GaussianProcessRegressor()).fit(ROWS, [0.0, 1, 2, 3]),
        "return_std",
    ),
    "return_std of a search": (
        GridSearchCV(GaussianProcessRegressor(), {"alpha": [1e-6]}, cv=2).fit(ROWS, [0.0, 1, 2, 3]),
        "return_std",
    ),
}


def expected_of(model, method):
    if method == "kneighbors":
        return dict(zip(("kneighbors_distances", "kneighbors_indices"), model.kneighbors(ROWS), strict=True))
    if method == "return_std":
        return {"std": getattr(model, "best_estimator_", model).predict(ROWS, return_std=True)[1]}
    return {method: getattr(model, method)(ROWS)}


@pytest.mark.parametrize(("model", "method"), OTHERS.values(), ids=OTHERS.keys())
def test_other_methods_by_parameter_and_as_outputs(host, load, model, method):
    load(model)
    expected = expected_of(model, method)
    answer = host.post("/invocations", {"inputs": ROWS.tolist(), "params": {method: True}})
    assert answer.status == 200, answer.body
    assert answer.json.keys() == {"predictions", *expected}
    tensor = {"name": "x", "shape": [4, 2], "datatype": "FP64", "data": ROWS.tolist()}
    told = {output["name"]: output["datatype"] for output in host.get("/v2/models/m").json["outputs"]}
    asked = host.post("/v2/models/m/infer", {"inputs": [tensor], "outputs": [{"name": method}]})
    assert asked.status == 200, asked.body
    outputs = {output["name"]: output for output in asked.json["outputs"]}
    assert list(outputs) == list(expected)
    for name, values in expected.items():
        assert np.array(answer.json[name]) == pytest.approx(values)
        assert np.array(outputs[name]["data"]).reshape(values.shape) == pytest.approx(values)
        assert told[name] == outputs[name]["datatype"]


def test_standard_deviation_by_the_request_s_parameter(host, load):
    load(GaussianProcessRegressor().fit(ROWS, [0.0, 1, 2, 3]))
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [5, 5]}
    answer = host.post("/v2/models/m/infer", {"inputs": [tensor], "parameters": {"return_std": True}})
    assert [output["name"] for output in answer.json["outputs"]] == ["predict", "std"]
    load(LinearRegression().fit(ROWS, ROWS[:, 0]), "plain")
    refused = host.post("/v2/models/plain/infer", {"inputs": [tensor], "parameters": {"return_std": True}})
    assert refused.status == 400
    assert "no output 'std'" in refused.json["error"]


def test_zero_byte_alone_is_no_other_encoding():
    assert decode_csv(b"a\0,b\n1,2\n") == "a\0,b\n1,2\n"
