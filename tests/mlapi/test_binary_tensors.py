"""Open Inference Protocol v2: tensors as bytes after the JSON."""

from __future__ import annotations

import gzip
import json
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from tests.mlapi.tensors import LENGTH, ROWS, binary, infer, mixed, one, plain, send, tensor, text
from tests.support.estimators import constant


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
