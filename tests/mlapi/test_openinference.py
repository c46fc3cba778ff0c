"""Open Inference Protocol v2, through the application and through Django's views."""

from __future__ import annotations

import gzip
import json
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from mlapi import replica
from mlapi.version import VERSION
from tests.support.estimators import constant

ROWS = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])
LENGTH = "Inference-Header-Content-Length"
DTYPES = {"FP64": "<f8", "FP32": "<f4", "FP16": "<f2", "INT64": "<i8", "INT8": "<i1", "UINT16": "<u2", "BOOL": "?"}


def plain():
    return LogisticRegression().fit(ROWS, [0, 1, 0, 1])


def mixed():
    frame = pd.DataFrame({"age": [20.0, 30, 40, np.nan], "city": ["Oslo", "Bonn", "Oslo", "Rome"]})
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]), (OneHotEncoder(), ["city"])
    )
    return make_pipeline(columns, LogisticRegression()).fit(frame, ["low", "high", "high", "low"])


def text():
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good day", "bad night"], ["+", "-"])


def tensor(name, datatype, data, shape=None, **parameters):
    content = {"name": name, "datatype": datatype, "shape": shape or list(np.shape(data)), "data": data}
    return content | ({"parameters": parameters} if parameters else {})


def infer(host, *inputs, model="m", outputs=None, **body):
    content = {"inputs": list(inputs), **({"outputs": [{"name": name} for name in outputs]} if outputs else {}), **body}
    return host.post(f"/v2/models/{model}/infer", content)


def binary(*tensors, **body):
    """Return a request's bytes, and the length of its JSON, for (name, datatype, array of that dtype)."""
    raws = [
        b"".join(struct.pack("<I", len(item)) + item for item in map(str.encode, values))
        if datatype == "BYTES"
        else np.asarray(values).astype(DTYPES[datatype]).tobytes()
        for _, datatype, values in tensors
    ]
    inputs = [
        {
            "name": name,
            "datatype": datatype,
            "shape": list(np.shape(values)),
            "parameters": {"binary_data_size": len(raw)},
        }
        for (name, datatype, values), raw in zip(tensors, raws, strict=True)
    ]
    head = json.dumps({"inputs": inputs, **body}).encode()
    return head + b"".join(raws), len(head)


def send(host, content, length, **headers):
    return host.request("POST", "/v2/models/m/infer", content, {LENGTH: str(length), **headers})


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


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
def test_binary_tensors_in_and_out(host, load, encoding):
    model = plain()
    load(model)
    content, length = binary(("input", "FP64", ROWS), parameters={"binary_data_output": True}, id="7")
    headers = {}
    if encoding:
        content = (gzip if encoding == "gzip" else zlib).compress(content)
        headers = {"Content-Encoding": encoding}
    answer = send(host, content, length, **headers)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/octet-stream"
    head = json.loads(answer.body[: int(answer.headers[LENGTH.lower()])])
    raw = answer.body[int(answer.headers[LENGTH.lower()]) :]
    assert head["id"] == "7"
    assert head["outputs"][0]["parameters"]["binary_data_size"] == len(raw) == 32
    assert "data" not in head["outputs"][0]
    assert np.frombuffer(raw, "<i8").tolist() == model.predict(ROWS).tolist()


def test_each_output_chooses_its_form(host, load):
    model = plain()
    load(model)
    outputs = [
        {"name": "predict", "parameters": {"binary_data": False}},
        {"name": "predict_proba", "parameters": {"binary_data": True}},
        {"name": "decision_function"},
    ]
    content, length = binary(("input", "FP32", ROWS), outputs=outputs)
    answer = send(host, content, length)
    split = int(answer.headers[LENGTH.lower()])
    predict, proba, decision = json.loads(answer.body[:split])["outputs"]
    assert predict["data"] == model.predict(ROWS).tolist()
    assert proba["parameters"]["binary_data_size"] == 64
    assert np.frombuffer(answer.body[split:], "<f8") == pytest.approx(model.predict_proba(ROWS).ravel())
    assert decision["data"] == pytest.approx(model.decision_function(ROWS))


def test_binary_and_json_answer_the_same_for_every_datatype(host, load):
    model = LinearRegression().fit(ROWS, [0.5, 2, 2, 4])
    load(model)
    for datatype in ("FP64", "FP32", "FP16", "INT64", "INT8", "UINT16"):
        values = np.array([[1, 3], [7, 0]])
        content, length = binary(("input", datatype, values))
        answer = send(host, content, length).json["outputs"][0]["data"]
        assert answer == pytest.approx(model.predict(values)), datatype
        assert infer(host, tensor("input", datatype, values.tolist())).json["outputs"][0]["data"] == answer


def test_binary_strings_both_ways(host, load):
    model = mixed()
    load(model)
    content, length = binary(
        ("city", "BYTES", ["Bonn", "Oslo"]),
        ("age", "FP64", [30.0, np.nan]),
        parameters={"binary_data_output": True},
    )
    answer = send(host, content, length)
    raw = answer.body[int(answer.headers[LENGTH.lower()]) :]
    labels = model.predict(pd.DataFrame({"age": [30, np.nan], "city": ["Bonn", "Oslo"]}))
    assert raw == b"".join(struct.pack("<I", len(label)) + label.encode() for label in labels)
    load(text())
    content, length = binary(("text", "BYTES", ["ein gütes 日", ""]))
    assert send(host, content, length).status == 200


def test_a_binary_and_a_json_tensor_in_one_request(host, load):
    load(mixed())
    content, length = binary(("age", "FP64", [30.0]))
    head = json.loads(content[:length])
    head["inputs"].insert(0, tensor("city", "BYTES", ["Bonn"]))
    raw = json.dumps(head).encode()
    assert send(host, raw + content[length:], len(raw)).json["outputs"][0]["data"] == ["high"]


def test_a_body_of_values_alone(host, load):
    model = plain()
    load(model)
    answer = send(host, ROWS.tobytes(), 0)
    assert answer.status == 200, answer.body
    raw = answer.body[int(answer.headers[LENGTH.lower()]) :]
    assert np.frombuffer(raw, "<i8").tolist() == model.predict(ROWS).tolist()
    assert send(host, ROWS.tobytes()[:-1], 0).status == 400


def test_a_large_answer_is_compressed_where_the_client_asks(host, load):
    load(plain())
    rows = np.tile(ROWS, (500, 1))
    content, length = binary(("input", "FP64", rows))
    for encoding, undo in (("gzip", gzip.decompress), ("deflate", zlib.decompress)):
        answer = send(host, content, length, **{"Accept-Encoding": encoding})
        assert answer.headers["content-encoding"] == encoding
        assert json.loads(undo(answer.body))["outputs"][0]["shape"] == [2000, 1]
    assert "content-encoding" not in send(host, content, length, **{"Accept-Encoding": "gzip, deflate, br"}).headers


def test_model_gets_its_own_array_wherever_the_tensor_lies(host, load):
    class Doubling(type(constant(1))):
        """Changes what it is given, as own code may."""

        def predict(self, rows):
            assert rows.flags.aligned
            rows *= 2
            return rows[:, 0]

    load(Doubling(strategy="constant", constant=1.0).fit(ROWS, [0.0] * 4))
    for padding in range(8):
        content, length = binary(("input", "FP64", ROWS), id="x" * padding)
        assert send(host, content, length).json["outputs"][0]["data"] == (ROWS[:, 0] * 2).tolist()


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


def one(datatype="FP64", shape=(1, 2), size=16, raw=None, name="input", **parameters):
    head = {
        "inputs": [
            {
                "name": name,
                "datatype": datatype,
                "shape": list(shape),
                "parameters": {"binary_data_size": size, **parameters},
            }
        ]
    }
    encoded = json.dumps(head).encode()
    return encoded + (ROWS[:1].tobytes() if raw is None else raw), len(encoded)


def f8(*values):
    return np.array(values, "<f8").tobytes()


NUMBERS = one()
TEXT = one("BYTES", (2,), 10, struct.pack("<I", 1) + b"a" + struct.pack("<I", 1) + b"b")
BINARY = {
    "length beyond the body": (NUMBERS[0], len(NUMBERS[0]) + 1),
    "length negative": (NUMBERS[0], -1),
    "length no number": (NUMBERS[0], "x"),
    "length of no digits": (NUMBERS[0], "²"),
    "length within the JSON": (NUMBERS[0], NUMBERS[1] - 1),
    "length within the values": (NUMBERS[0], NUMBERS[1] + 1),
    "values without a header": (NUMBERS[0][: NUMBERS[1]], NUMBERS[1]),
    "too few values": one(raw=b"1234"),
    "too many values": one(raw=f8(1, 2) + b"x"),
    "size of another shape": one(shape=(2, 2)),
    "size of another datatype": one("FP32"),
    "size negative": one(size=-1),
    "size a string": one(size="16"),
    "size a boolean": one(size=True, raw=b"1"),
    "shape huge": one(shape=(2**62, 2**62)),
    "shape negative twice": one(shape=(-1, -2)),
    "no rows": one(shape=(0, 2), size=0, raw=b""),
    "infinite": one(raw=f8(np.inf, 1)),
    "minus infinite": one(raw=f8(1, -np.inf)),
    "NaN": one(raw=f8(np.nan, 1)),
    "beyond float32": one(raw=f8(1e39, 1)),
    "infinite FP32": one("FP32", size=8, raw=np.array([np.inf, 1], "<f4").tobytes()),
    "infinite FP16": one("FP16", size=4, raw=np.array([np.inf, 1], "<f2").tobytes()),
    "boolean of 2": one("BOOL", size=2, raw=b"\x02\x01"),
    "boolean for a number": one("BOOL", size=2, raw=b"\x00\x01"),
    "strings for numbers": TEXT,
    "string past the end": one("BYTES", (1,), 5, struct.pack("<I", 2) + b"a"),
    "string of 4 GiB": one("BYTES", (1,), 5, struct.pack("<I", 2**32 - 1) + b"a"),
    "string's length cut short": one("BYTES", (2,), 8, struct.pack("<I", 1) + b"a" + b"\x01\x00\x00"),
    "string left over": one("BYTES", (1,), 10, TEXT[0][TEXT[1] :]),
    "more strings than bytes": one("BYTES", (2**40,), 10, TEXT[0][TEXT[1] :]),
    "string of invalid UTF-8": one("BYTES", (1,), 6, struct.pack("<I", 2) + b"\xff\xfe"),
}


@pytest.mark.parametrize(("content", "length"), BINARY.values(), ids=BINARY.keys())
def test_hostile_bytes_are_a_400_of_the_protocol(host, load, content, length):
    load(plain())
    assert send(host, *NUMBERS).status == 200
    answer = send(host, content, length)
    assert answer.status == 400, answer.body
    assert set(answer.json) == {"error"}
    load(text())
    assert send(host, content, length).status == 400 or content is TEXT[0]


def test_values_in_the_json_and_after_it_are_refused(host, load):
    load(plain())
    content, length = binary(("input", "FP64", ROWS))
    head = json.loads(content[:length])
    head["inputs"][0]["data"] = ROWS.tolist()
    raw = json.dumps(head).encode()
    assert "send one of them" in send(host, raw + content[length:], len(raw)).json["error"]


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
