"""Open Inference Protocol v2, through the application and through Django's views."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from mlapi import replica
from mlapi.version import VERSION
from tests.mlapi.tensors import ROWS, binary, infer, mixed, one, plain, send, tensor, text
from tests.support.estimators import constant


def test_a_matrix_predicts_by_any_name_nested_or_flat(host, load):
    load(LinearRegression().fit(ROWS, [0.0, 2, 2, 4]), number=3)
    nested = infer(host, tensor("whatever", "FP64", [[1.5, 1], [0, 0]]), id="42")
    assert nested.status == 200, nested.body
    assert nested.json["model_name"] == "m"
    assert nested.json["model_version"] == "3"
    assert nested.json["id"] == "42"
    (output,) = nested.json["outputs"]
    assert (output["name"], output["shape"], output["datatype"]) == ("predict", [2, 1], "FP64")
    assert output["data"] == pytest.approx([2.5, 0.0])
    flat = infer(host, tensor("input", "FP32", [1.5, 1, 0, 0], [2, 2])).json
    assert flat["outputs"] == nested.json["outputs"]
    assert "id" not in flat
    by_name = infer(host, tensor("x1", "INT8", [1, 0]), tensor("x0", "FP64", [1.5, 0.0])).json
    assert by_name["outputs"] == nested.json["outputs"]


def test_success_needs_no_content_type_and_is_exactly_200(host, load):
    load(plain())
    body = json.dumps({"inputs": [tensor("input", "FP64", [[0, 0]])]}).encode()
    assert host.request("POST", "/v2/models/m/infer", body).status == 200
    assert host.request("POST", "/v2/models/m/versions/1/infer", body, {"Content-Type": "a/b"}).status == 200
    assert host.request("POST", "/v2/models/m/versions/2/infer", body).status == 404


COLUMNS = [tensor("city", "BYTES", ["Bonn", "Oslo"]), tensor("age", "FP64", [30, None])]


@pytest.mark.parametrize("shape", [[2], [2, 1]], ids=["flat", "columns of one"])
@pytest.mark.parametrize("content_type", [None, "pd", "np"])
def test_columns_by_name_with_a_missing_value(host, load, shape, content_type):
    load(mixed())
    body = {"parameters": {"content_type": content_type}} if content_type else {}
    answer = infer(host, *({**item, "shape": shape} for item in COLUMNS), **body)
    assert answer.status == 200, answer.body
    (output,) = answer.json["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [2, 1])
    assert output["data"] == mixed().predict(pd.DataFrame({"age": [30, np.nan], "city": ["Bonn", "Oslo"]})).tolist()


def test_every_input_kind_predicts_as_the_native_protocol(host, load):
    cases = {
        "text": (text(), [tensor("text", "BYTES", ["a good one"])], {"features": "a good one"}),
        "text by any name": (text(), [tensor("t", "BYTES", [["a bad one"]])], {"features": "a bad one"}),
        "strings as a matrix": (
            make_pipeline(OrdinalEncoder(), LogisticRegression()).fit(
                np.array([["a", "x"], ["b", "y"]], dtype=object), ["A", "B"]
            ),
            [tensor("input", "BYTES", [["b", "y"]])],
            {"features": ["b", "y"]},
        ),
        "records": (
            make_pipeline(DictVectorizer(), LogisticRegression()).fit([{"a": 1, "c": "x"}, {"a": 5, "c": "y"}], [0, 1]),
            [tensor("a", "INT64", [5]), tensor("c", "BYTES", ["y"])],
            {"features": {"a": 5, "c": "y"}},
        ),
        "booleans": (
            make_pipeline(OneHotEncoder(), LogisticRegression()).fit(
                pd.DataFrame({"a": [True, False], "b": [False, True]}), [0, 1]
            ),
            [tensor("a", "BOOL", [False]), tensor("b", "BOOL", [True])],
            {"features": {"a": False, "b": True}},
        ),
        "closed numbers": (
            make_pipeline(OrdinalEncoder(), LogisticRegression()).fit(np.array([[1.0], [2.0]]), [0, 1]),
            [tensor("input", "INT64", [[2]])],
            {"features": [2]},
        ),
        "missing by nature": (
            HistGradientBoostingClassifier(max_iter=2).fit(np.repeat(ROWS, 20, axis=0), [0, 1, 0, 1] * 20),
            [tensor("input", "FP64", [[None, 1]])],
            {"features": [None, 1]},
        ),
    }
    for name, (model, inputs, native) in cases.items():
        load(model)
        answer = infer(host, *inputs)
        assert answer.status == 200, (name, answer.body)
        assert answer.json["outputs"][0]["data"] == [host.post("/predict", native).json["prediction"]], name


def test_outputs_are_the_model_s_methods(host, load):
    model = make_pipeline(StandardScaler(), KMeans(2, random_state=0, n_init=1)).fit(ROWS)
    load(model)
    answer = infer(host, tensor("x", "FP64", ROWS.tolist()), outputs=["transform", "predict"]).json["outputs"]
    assert [item["name"] for item in answer] == ["transform", "predict"]
    assert answer[0]["data"] == pytest.approx(model.transform(ROWS).ravel())
    assert answer[0]["shape"] == [4, 2]
    assert (answer[1]["data"], answer[1]["datatype"]) == (model.predict(ROWS).tolist(), "INT64")
    wrong = infer(host, tensor("x", "FP64", ROWS.tolist()), outputs=["predict_proba"])
    assert wrong.status == 400
    assert "it has predict, transform" in wrong.json["error"]

    model = plain()
    load(model)
    both = infer(host, tensor("x", "FP64", ROWS.tolist()), outputs=["predict_proba", "decision_function"]).json
    proba, decision = both["outputs"]
    assert (proba["shape"], decision["shape"]) == ([4, 2], [4, 1])
    assert proba["data"] == pytest.approx(model.predict_proba(ROWS).ravel())
    assert decision["data"] == pytest.approx(model.decision_function(ROWS))


def test_several_outputs_have_their_probabilities_apart(host, load):
    model = MultiOutputClassifier(RandomForestClassifier(3, random_state=0)).fit(ROWS, [[0, 1], [1, 2], [0, 3], [1, 1]])
    load(model)
    answer = infer(host, tensor("x", "FP64", ROWS.tolist()), outputs=["predict", "predict_proba_1"])
    predict, proba = answer.json["outputs"]
    assert predict["shape"] == [4, 2]
    assert proba["shape"] == [4, 3]
    assert proba["data"] == pytest.approx(model.predict_proba(ROWS)[1].ravel())


def check_against_metadata(host, model, answer):
    told = {item["name"]: item for item in host.get(f"/v2/models/{model}").json["outputs"]}
    for output in answer.json["outputs"]:
        assert output["datatype"] == told[output["name"]]["datatype"]
        for size, said in zip(output["shape"], told[output["name"]]["shape"], strict=True):
            assert said in {-1, size}


def test_metadata_is_the_schemas_and_answers_follow_it(host, load):
    load(plain(), "plain", number=7)
    load(mixed(), "mixed")
    load(text(), "text")
    told = host.get("/v2/models/plain").json
    assert told["name"] == "plain"
    assert told["versions"] == ["7"]
    assert told["platform"] == "sklearn"
    assert told["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 2]}]
    assert told["outputs"] == [
        {"name": "predict", "datatype": "INT64", "shape": [-1, 1]},
        {"name": "predict_proba", "datatype": "FP64", "shape": [-1, 2]},
        {"name": "decision_function", "datatype": "FP64", "shape": [-1, 1]},
    ]
    assert host.get("/v2/models/mixed").json["inputs"] == [
        {"name": "age", "datatype": "FP64", "shape": [-1, 1]},
        {"name": "city", "datatype": "BYTES", "shape": [-1, 1]},
    ]
    assert host.get("/v2/models/text").json["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1, 1]}]
    example = {"FP64": 1.0, "BYTES": "Oslo"}
    for model in ("plain", "mixed", "text"):
        told = host.get(f"/v2/models/{model}/versions/{7 if model == 'plain' else 1}").json
        inputs = [
            tensor(item["name"], item["datatype"], [[example[item["datatype"]]] * item["shape"][1]])
            for item in told["inputs"]
        ]
        answer = infer(host, *inputs, model=model, outputs=[item["name"] for item in told["outputs"]])
        assert answer.status == 200, answer.body
        check_against_metadata(host, model, answer)


def test_server_model_and_configuration(host, load):
    load(plain(), number=4)
    server = host.get("/v2").json
    assert server["name"] == "mlapi"
    assert server["version"] == VERSION
    assert {"binary_tensor_data", "model_repository"} <= set(server["extensions"])
    address = "localhost" if host.is_behind_django else "10.1.2.3"
    assert host.get("/v2/health/live", Host=address).json == {"live": True}
    assert host.get("/v2/health/ready", Host=address).json == {"ready": True}
    assert host.get("/v2/models/m/ready").json == {"name": "m", "ready": True}
    assert host.get("/v2/models/m/versions/4/ready").json == {"name": "m", "ready": True}
    assert host.get("/v2/models/m/versions/3/ready").status == 404
    config = host.get("/v2/models/m/versions/4/config").json
    assert config["max_batch_size"] == 0
    assert config["version_policy"] == {"specific": {"versions": [4]}}
    assert config["input"] == [{"name": "input", "data_type": "TYPE_FP64", "dims": [-1, 2]}]
    assert {item["name"] for item in config["output"]} == {"predict", "predict_proba", "decision_function"}


def test_statistics_count_what_every_protocol_asked(host, load):
    load(plain(), "counted", number=3)
    load(plain(), "idle", number=8)

    def counts(path):
        answer = host.get(path)
        assert answer.status == 200, answer.body
        return {line["name"]: line for line in answer.json["model_stats"]}

    before = counts("/v2/models/stats")
    infer(host, tensor("input", "FP64", ROWS.tolist()), model="counted")
    infer(host, tensor("input", "FP64", ROWS.tolist()), model="counted", outputs=["decision_function"])
    host.post("/models/counted/predict", {"features": [0, 0]})
    host.post("/models/counted/predict", {"features": ["x", 0]})
    after = counts("/v2/models/stats")
    assert after["counted"]["inference_count"] - before["counted"]["inference_count"] == 9
    success = after["counted"]["inference_stats"]["success"]
    assert success["count"] - before["counted"]["inference_stats"]["success"]["count"] == 3
    assert success["ns"] > after["counted"]["inference_stats"]["compute_infer"]["ns"] > 0
    assert after["idle"] == before["idle"]
    assert counts("/v2/models/counted/versions/3/stats") == {"counted": after["counted"]}
    assert counts("/v2/models/counted/stats").keys() == {"counted"}
    assert host.get("/v2/models/counted/versions/4/stats").status == 404


def test_what_is_not_loaded_is_not_ready(host, load):
    load(plain(), "a", number=2)
    replica.runtime.post(desired={"a": 3, "b": 1, "c": 5}, problems={"c": "version 5 failed to load: gone"})
    assert host.get("/v2/health/ready").status == 503
    assert host.get("/v2/models/b/ready").status == 503
    assert host.get("/v2/models/nobody/ready").status == 404
    assert set(host.get("/v2/models/b/ready").json) == {"error"}
    index = [
        {"name": "a", "version": "2", "state": "READY", "reason": ""},
        {"name": "a", "version": "3", "state": "LOADING", "reason": "it is loading"},
        {"name": "b", "version": "1", "state": "LOADING", "reason": "it is loading"},
        {"name": "c", "version": "5", "state": "UNAVAILABLE", "reason": "version 5 failed to load: gone"},
    ]
    assert host.request("POST", "/v2/repository/index").json == index
    assert host.post("/v2/repository/index", {}).json == index
    assert host.post("/v2/repository/index", {"ready": True}).json == index[:1]
    assert host.post("/v2/repository/index", {"ready": 1}).status == 400
    assert host.post("/v2/repository/index", b"[").status == 400
    for verb in ("load", "unload"):
        answer = host.request("POST", f"/v2/repository/models/a/{verb}")
        assert answer.status == 400
        assert "activate_model" in answer.json["error"]


GOOD = tensor("input", "FP64", [[1, 2]])
HOSTILE = {
    "empty": b"",
    "no JSON": b"{",
    "deep": b"[" * 100_000,
    "deep parameters": b'{"inputs": [], "parameters": {"\\"": ' + b"[" * 1000 + b"]" * 1000 + b"}}",
    "a list": b"[]",
    "NaN": b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [NaN, 1]}]}',
    "1e400": b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1e400, 1]}]}',
    "4301 digits": b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": ['
    + b"9" * 4301
    + b", 1]}]}",
    "surrogate": b'{"inputs": [{"name": "\\ud800", "shape": [1], "datatype": "FP64", "data": [1]}]}',
    "twice a key": b'{"inputs": [{"name": "x", "name": "y", "shape": [1, 2], "datatype": "FP64", "data": [1, 1]}]}',
    "invalid UTF-8": b'{"inputs": "\xff"}',
    "no inputs": {},
    "inputs no list": {"inputs": {}},
    "no input": {"inputs": []},
    "input no object": {"inputs": [1]},
    "no name": {"inputs": [{k: v for k, v in GOOD.items() if k != "name"}]},
    "name a number": {"inputs": [GOOD | {"name": 1}]},
    "twice the input": {"inputs": [GOOD, GOOD]},
    "no datatype": {"inputs": [{k: v for k, v in GOOD.items() if k != "datatype"}]},
    "unknown datatype": {"inputs": [GOOD | {"datatype": "FP8"}]},
    "datatype a list": {"inputs": [GOOD | {"datatype": ["FP64"]}]},
    "no shape": {"inputs": [{k: v for k, v in GOOD.items() if k != "shape"}]},
    "shape a number": {"inputs": [GOOD | {"shape": 2}]},
    "shape of three": {"inputs": [GOOD | {"shape": [1, 1, 2]}]},
    "shape of none": {"inputs": [GOOD | {"shape": []}]},
    "shape negative": {"inputs": [GOOD | {"shape": [-1, 2]}]},
    "shape negative twice": {"inputs": [GOOD | {"shape": [-1, -2]}]},
    "shape negative twice, flat": {"inputs": [GOOD | {"shape": [-1, -2], "data": [1, 2]}]},
    "shape a float": {"inputs": [GOOD | {"shape": [1.0, 2]}]},
    "shape a boolean": {"inputs": [GOOD | {"shape": [True, 2]}]},
    "shape huge": {"inputs": [GOOD | {"shape": [2**62, 2**62]}]},
    "shape of no row": {"inputs": [GOOD | {"shape": [0, 2], "data": []}]},
    "shape of no column": {"inputs": [GOOD | {"shape": [5, 0], "data": []}]},
    "shape of another size": {"inputs": [GOOD | {"shape": [2, 2]}]},
    "shape of another size, flat": {"inputs": [GOOD | {"shape": [2, 2], "data": [1, 2]}]},
    "shape of another size, strings": {"inputs": [GOOD | {"datatype": "BYTES", "shape": [1, 2], "data": ["a"]}]},
    "shape of one row as one dimension": {"inputs": [GOOD | {"shape": [2], "data": [1, 2]}]},
    "ragged": {"inputs": [GOOD | {"shape": [2, 2], "data": [[1, 2, 3], [4]]}]},
    "half nested": {"inputs": [GOOD | {"shape": [2, 2], "data": [1, [2], 3, 4]}]},
    "nested too deep": {"inputs": [GOOD | {"data": [[[1], [2]]]}]},
    "too narrow": {"inputs": [tensor("input", "FP64", [[1]])]},
    "too wide": {"inputs": [tensor("input", "FP64", [[1, 2, 3]])]},
    "no data": {"inputs": [{k: v for k, v in GOOD.items() if k != "data"}]},
    "data a string": {"inputs": [GOOD | {"data": "1, 2"}]},
    "data null": {"inputs": [GOOD | {"data": None}]},
    "numbers as text": {"inputs": [GOOD | {"data": ["1", "2"]}]},
    "booleans as numbers": {"inputs": [GOOD | {"data": [True, False]}]},
    "objects": {"inputs": [GOOD | {"data": [{}, {}]}]},
    "missing that is not taken": {"inputs": [GOOD | {"data": [None, 2]}]},
    "missing in whole numbers": {"inputs": [GOOD | {"datatype": "INT64", "data": [None, 2]}]},
    "fractions in whole numbers": {"inputs": [GOOD | {"datatype": "INT64", "data": [1.5, 2]}]},
    "beyond INT8": {"inputs": [GOOD | {"datatype": "INT8", "data": [300, 2]}]},
    "negative UINT8": {"inputs": [GOOD | {"datatype": "UINT8", "data": [-1, 2]}]},
    "beyond FP16": {"inputs": [GOOD | {"datatype": "FP16", "data": [1e6, 2]}]},
    "beyond FP32": {"inputs": [GOOD | {"data": [1e39, 2]}]},
    "a BOOL tensor for numbers": {"inputs": [GOOD | {"datatype": "BOOL", "data": [True, False]}]},
    "a BYTES tensor for numbers": {"inputs": [GOOD | {"datatype": "BYTES", "data": ["1", "2"]}]},
    "numbers for BYTES": {"inputs": [GOOD | {"datatype": "BYTES"}]},
    "unequal rows": {"inputs": [tensor("x0", "FP64", [1, 2]), tensor("x1", "FP64", [1])]},
    "unknown column": {"inputs": [tensor("x0", "FP64", [1]), tensor("z", "FP64", [1])]},
    "missing column": {"inputs": [tensor("x0", "FP64", [1])]},
    "two matrices": {"inputs": [GOOD, GOOD | {"name": "other"}]},
    "a matrix as pd": {"inputs": [GOOD], "parameters": {"content_type": "pd"}},
    "unknown codec": {"inputs": [GOOD], "parameters": {"content_type": "pickle"}},
    "codec a list": {"inputs": [GOOD], "parameters": {"content_type": []}},
    "unknown codec of an input": {"inputs": [GOOD | {"parameters": {"content_type": "pil"}}]},
    "parameters a list": {"inputs": [GOOD], "parameters": []},
    "shared memory": {"inputs": [GOOD | {"parameters": {"shared_memory_region": "r"}}]},
    "binary size without bytes": {"inputs": [{**GOOD, "parameters": {"binary_data_size": 16}}]},
    "id a number": {"inputs": [GOOD], "id": 1},
    "outputs an object": {"inputs": [GOOD], "outputs": {}},
    "output a string": {"inputs": [GOOD], "outputs": ["predict"]},
    "output without a name": {"inputs": [GOOD], "outputs": [{}]},
    "unknown output": {"inputs": [GOOD], "outputs": [{"name": "fit"}]},
    "output twice": {"inputs": [GOOD], "outputs": [{"name": "predict"}, {"name": "predict"}]},
    "classification": {"inputs": [GOOD], "outputs": [{"name": "predict", "parameters": {"classification": 1}}]},
    "binary_data a number": {"inputs": [GOOD], "outputs": [{"name": "predict", "parameters": {"binary_data": 1}}]},
    "binary_data_output a string": {"inputs": [GOOD], "parameters": {"binary_data_output": "true"}},
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_json_is_a_400_of_the_protocol(host, load, body):
    load(plain())
    answer = host.post("/v2/models/m/infer", body)
    assert answer.status == 400, answer.body
    assert set(answer.json) == {"error"}
    assert len(answer.json["error"]) > 20


def test_answer_that_is_not_finite_is_always_refused(host, load):
    class Overflowing(type(constant(1))):
        """Has a transform that knows no bounds."""

        def transform(self, rows):
            return np.full((len(rows), 2), np.inf)

    load(Overflowing(strategy="constant", constant=1.0).fit(ROWS, [0.0] * 4))
    answer = infer(host, tensor("input", "FP64", ROWS.tolist()), outputs=["transform"])
    assert answer.status == 400
    assert "not finite" in answer.json["error"]


def test_boolean_of_two_is_refused(host, load):
    load(make_pipeline(OneHotEncoder(), LogisticRegression()).fit(pd.DataFrame({"a": [True, False]}), [0, 1]))
    for value, status in ((b"\x01", 200), (b"\x02", 400)):
        answer = send(host, *one("BOOL", (1,), 1, value, name="a"))
        assert answer.status == status, answer.body


def test_refused_numbers_are_named_by_row_and_feature(host, load):
    load(plain())
    rows = np.tile(ROWS, (3, 1))
    rows[7, 1] = np.inf
    rows[9, 0] = np.nan
    content, length = binary(("input", "FP64", rows))
    message = send(host, content, length).json["error"]
    assert message.startswith("Row 7, feature 'x1': expected a number, found a number that is too large")
    rows[7, 1] = 0
    content, length = binary(("input", "FP64", rows))
    assert send(host, content, length).json["error"].startswith("Row 9, feature 'x0'")


def test_a_body_may_come_in_chunks(host, load):
    load(plain())
    content = json.dumps({"inputs": [tensor("input", "FP64", [1, 2], [1, 2])]}).encode()
    assert host.request("POST", "/v2/models/m/infer", chunks=[content[:9], content[9:], b""]).status == 200


def test_wire_errors_keep_the_protocol_s_shape(host, load, settings):
    load(plain())
    settings.MLAPI_MAX_BODY_MB = 0.001
    path = "/v2/models/m/infer"
    bomb = gzip.compress(b" " * 100_000)
    answers = {
        "method": (host.request("GET", path), 405),
        "chunks": (host.request("POST", path, chunks=[b" " * 600, b" " * 401]), 413),
        "large": (host.request("POST", path, b" " * 1001), 413),
        "bomb": (host.request("POST", path, bomb, {"Content-Encoding": "gzip"}), 413),
        "encoding": (host.request("POST", path, b"x", {"Content-Encoding": "br"}), 415),
        **({} if host.is_behind_django else {"host": (host.post(path, b"x", Host="elsewhere.example"), 400)}),
        "unknown model": (host.post("/v2/models/none/infer", {}), 404),
        "nowhere": (host.get("/v2/systemsharedmemory/status"), 404),
        "version no number": (host.get("/v2/models/m/versions/one"), 404),
        "slash": (host.get("/v2/"), 404),
    }
    for name, (answer, status) in answers.items():
        assert answer.status == status, (name, answer.body)
        assert set(answer.json) == {"error"}, name
        assert answer.headers["x-request-id"]
