"""Contributions to the answers of models, compared with stored ones of the package shap, and with their own sum."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models_registry.artifacts.inference import infer_schema
from models_registry.explanations.explainer import Explainer
from tests.support import explained

OF_SHAP = json.loads((Path(__file__).parent / "shap_values.json").read_text())
EXPECTED_OUTPUTS = {
    "probability": ["decision tree", "decision tree of three classes", "forest", "forest of three classes",
                    "extra trees"],
    "log_odds": ["gradient boosting", "histogram boosting", "logistic regression"],
    "decision_function": ["logistic regression of three classes", "ridge classifier", "linear support vectors",
                          "stochastic gradient", "discriminant"],
    "raw_score": ["poisson"],
}  # fmt: skip


def explain(model, rows=None):
    schema = infer_schema(model, None)
    return Explainer(model, schema).explain(explained.asked() if rows is None else schema.parse(rows))


@pytest.mark.parametrize("name", sorted(explained.TREES | explained.LINEAR))
def test_contributions_equal_those_of_shap(name):
    found, wanted = explain(explained.fitted(name)), OF_SHAP[name]
    np.testing.assert_allclose(found.contributions, wanted["contributions"], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.base, wanted["base"], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", sorted(explained.TREES | explained.LINEAR))
def test_contributions_add_up_to_the_output(name):
    model, rows = explained.fitted(name), explained.asked()
    found = explain(model)
    wanted = {
        "probability": lambda: model.predict_proba(rows),
        "log_odds": lambda: model.decision_function(rows),
        "decision_function": lambda: model.decision_function(rows),
        "raw_score": lambda: np.log(model.predict(rows)),
        "value": lambda: model.predict(rows),
    }[found.output]()
    np.testing.assert_allclose(found.values, np.reshape(wanted, found.values.shape), rtol=1e-9, atol=1e-12)


def test_each_kind_names_what_is_explained():
    outputs = {name: output for output, names in EXPECTED_OUTPUTS.items() for name in names}
    names = explained.TREES | explained.LINEAR
    assert {name: explain(explained.fitted(name)).output for name in names} == {
        name: outputs.get(name, "value") for name in names
    }
