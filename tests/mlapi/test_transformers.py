"""Every protocol answers for a transformer without predict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from jsonschema import Draft202012Validator
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import StandardScaler

from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.row_transformer import RowTransformer

ROWS = pd.DataFrame({"age": [20.0, 30, 40], "size": [1.0, 5, 3]})
SCALER = StandardScaler().fit(ROWS)
SCALED = SCALER.transform(ROWS).tolist()
TEXTS = ["a red fox", "a blue fox"]


@pytest.fixture
def scaler(load):
    model = RowTransformer(SCALER)
    return load(model, schema=replace(infer_schema(model), outputs=2))


def test_native_answers_are_the_transformed_rows(host, scaler):
    rows = ROWS.to_dict("records")
    one, many = (host.post("/predict", {"features": rows[0]}), host.post("/predict", {"instances": rows}))
    assert one.json["prediction"] == SCALED[0]
    assert (many.json["predictions"], many.json["confidences"]) == (SCALED, None)


@pytest.mark.parametrize("outputs", [None, [{"name": "transform"}], [{"name": "predict"}]])
def test_open_inference_answers_an_array(host, scaler, outputs):
    inputs = [
        {"name": name, "datatype": "FP64", "shape": [3], "data": column}
        for name, column in ROWS.to_dict("list").items()
    ]
    answer = host.post("/v2/models/m/infer", {"inputs": inputs, **({"outputs": outputs} if outputs else {})})
    (output,) = answer.json["outputs"]
    assert (output["shape"], output["datatype"]) == ([3, 2], "FP64")
    assert output["data"] == np.ravel(SCALED).tolist()


def test_metadata_lists_transform_with_its_width(host, scaler):
    told = {item["name"]: item["shape"] for item in host.get("/v2/models/m").json["outputs"]}
    assert told == {"predict": [-1, 2], "transform": [-1, 2]}


def test_mlflow_and_kserve_answer_the_same(host, scaler):
    split = ROWS.to_dict("split")
    invoked = host.post("/invocations", {"dataframe_split": {"columns": split["columns"], "data": split["data"]}})
    assert invoked.json["predictions"] == SCALED
    assert host.post("/v1/models/m:predict", {"instances": ROWS.to_dict("records")}).json["predictions"] == SCALED


def test_sparse_answers_are_written_out(host, load):
    vectorizer = TfidfVectorizer().fit(TEXTS)
    model = RowTransformer(vectorizer)
    load(model, schema=replace(infer_schema(model), outputs=3))
    answer = host.post("/predict", {"instances": TEXTS}).json["predictions"]
    assert answer == vectorizer.transform(TEXTS).toarray().tolist()


def test_openapi_describes_the_answer(host, scaler):
    schema = host.get("/openapi.json").json["components"]["schemas"]["m.Prediction"]
    Draft202012Validator(schema).validate(SCALED[0])
    assert schema["type"] == "array"


def test_ground_truth_is_refused(host, scaler):
    answer = host.post("/models/m/ground-truth", {"request_id": "a", "label": 1.0})
    assert answer.status == 400
    assert "'m' (transformer, 2 outputs) does not take ground truth" in answer.json["error"]
