"""Outputs of any kind are the same values in every protocol, alone and together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain

X = np.random.default_rng(1).normal(size=(120, 3))
FLAGS = np.c_[X[:, 0] > 0, X[:, 1] > 0, X[:, 2] > 1].astype(int)


class Answering(BaseEstimator):
    """Answers with what a function makes of the number of rows."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.n_features_in_ = 3

    def predict(self, rows: Any) -> Any:
        return self.answer(len(rows))


MODELS = {
    "sparse multilabel": (OneVsRestClassifier(LogisticRegression()).fit(X, sp.csr_matrix(FLAGS)), "INT64"),
    "chain": (ClassifierChain(LogisticRegression()).fit(X, FLAGS), "FP64"),
    "table": (Answering(lambda count: pd.DataFrame({"a": [0.5] * count, "b": [1.5] * count})), "FP64"),
    "series of text": (Answering(lambda count: pd.Series(["S"] * count)), "BYTES"),
    "large integers": (Answering(lambda count: np.full(count, 2**64 - 1, dtype=np.uint64)), "UINT64"),
    "booleans in objects": (Answering(lambda count: np.full(count, True, dtype=object)), "BOOL"),
}


@pytest.mark.parametrize("key", MODELS)
def test_every_protocol_answers_the_same_values(key: str, host: Any, load: Any) -> None:
    model, datatype = MODELS[key]
    load(model)
    rows = X[:4].tolist()
    value = model.predict(X[:4])
    expected = np.asarray(value.toarray() if sp.issparse(value) else value).tolist()
    assert host.post("/models/m/predict", {"instances": rows}).json["predictions"] == expected
    assert host.post("/models/m/predict", {"features": rows[0]}).json["prediction"] == expected[0]
    assert host.post("/models/m/invocations", {"inputs": rows}).json["predictions"] == expected
    tensor = {"name": "input", "shape": [4, 3], "datatype": "FP64", "data": rows}
    output = host.post("/v2/models/m/infer", {"inputs": [tensor]}).json["outputs"][0]
    width = np.shape(expected)[1] if np.ndim(expected) == 2 else 1
    assert (output["shape"], output["datatype"]) == ([4, width], datatype)
    assert output["data"] == np.ravel(np.array(expected, dtype=object)).tolist()


def test_each_output_of_a_chain_has_its_own_probabilities(host: Any, load: Any) -> None:
    model = MODELS["chain"][0]
    load(model)
    tensor = {"name": "input", "shape": [2, 3], "datatype": "FP64", "data": X[:2].tolist()}
    asked = {"inputs": [tensor], "outputs": [{"name": "predict_proba_1"}]}
    output = host.post("/v2/models/m/infer", asked).json["outputs"][0]
    chance = model.predict_proba(X[:2])[:, 1]
    assert output["shape"] == [2, 2]
    np.testing.assert_allclose(np.reshape(output["data"], (2, 2)), np.c_[1 - chance, chance])


@pytest.mark.parametrize(
    "answer",
    [
        lambda count: np.array(["2020-01-01"] * count, dtype="datetime64[ns]"),
        lambda count: np.array([b"a"] * count),
        lambda count: [0, 1, 0] if count == 1 else [[0, 1, 0]] * count,
    ],
    ids=["dates", "bytes", "a row without its dimension"],
)
def test_unrepresentable_output_is_an_error_with_reason(answer: Any, host: Any, load: Any) -> None:
    load(Answering(answer))
    reply = host.post("/models/m/predict", {"features": [0.0, 0.0, 0.0]})
    assert reply.status == 400
    assert "The model returns" in reply.json["error"]
