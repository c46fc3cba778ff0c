"""Ids of 64 bits reach the model as they are in every protocol, or are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

CASES = {"INT64": [2**60 + step for step in range(4)], "UINT64": [2**63 + step for step in range(4)]}


@pytest.fixture(params=CASES)
def served(request: pytest.FixtureRequest, load: Any) -> tuple[str, list[int]]:
    """Serve a model that tells four ids apart."""
    values = CASES[request.param]
    table = pd.DataFrame({"account": np.array(values, dtype=request.param.lower())})
    load(make_pipeline(OneHotEncoder(), DecisionTreeClassifier()).fit(table, range(4)))
    return request.param, values


def test_every_protocol_carries_them(served: Any, host: Any) -> None:
    datatype, values = served
    rows = [{"account": value} for value in values]
    assert host.post("/models/m/predict", {"instances": rows}).json["predictions"] == [0, 1, 2, 3]
    assert host.post("/models/m/predict", {"instances": [[value] for value in values]}).json["predictions"] == [
        *range(4)
    ]
    for body in (
        {"dataframe_records": rows},
        {"inputs": {"account": values}},
        {"dataframe_split": {"columns": ["account"], "data": [[value] for value in values]}},
    ):
        assert host.post("/models/m/invocations", body).json["predictions"] == [0, 1, 2, 3]
    text = "account\n" + "\n".join(map(str, values))
    reply = host.post("/models/m/invocations", text.encode(), **{"Content-Type": "text/csv"})
    assert reply.json["predictions"] == [0, 1, 2, 3]
    assert host.get("/v2/models/m").json["inputs"][0]["datatype"] == datatype
    tensor = {"name": "account", "shape": [4], "datatype": datatype, "data": values}
    assert host.post("/v2/models/m/infer", {"inputs": [tensor]}).json["outputs"][0]["data"] == [0, 1, 2, 3]


@pytest.mark.parametrize("datatype", ["FP64", "FP32"])
def test_tensor_of_floats_is_refused(datatype: str, served: Any, host: Any) -> None:
    tensor = {"name": "account", "shape": [4], "datatype": datatype, "data": served[1]}
    reply = host.post("/v2/models/m/infer", {"inputs": [tensor]})
    assert reply.status == 400
    assert "as INT64 or UINT64 in a tensor" in reply.json["error"]


def test_number_with_an_exponent_is_refused(served: Any, host: Any) -> None:
    reply = host.post("/models/m/predict", b'{"features": {"account": 1.152921504606846976e18}}')
    assert (reply.status, reply.json["code"]) == (400, "inexact_number")
