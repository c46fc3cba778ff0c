"""Requests of Open Inference Protocol v2."""

from __future__ import annotations

import json
import struct

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

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
