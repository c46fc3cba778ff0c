"""A model is ready only if it answers its own example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from models_registry.artifacts.features import Feature
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.manifest import Sample
from models_registry.artifacts.schema import Schema
from models_registry.artifacts.trial import MAX_SCHEMA_BYTES, require_describable, try_model
from models_registry.errors import NoPrediction, SampleMismatch

TABLE = pd.DataFrame({"age": np.arange(60.0), "size": pd.Categorical(["S", "L"] * 30)})
BOOSTED = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=3).fit(TABLE, [0, 1] * 30)
# As if nothing told that one column holds texts.
UNTOLD = Schema((Feature("age"), Feature("size")), container="frame", named=True, classes=(0, 1))


class Texts(BaseEstimator):
    """Takes texts alone, and does not tell."""

    n_features_in_ = 1

    def predict(self, rows: Any) -> Any:
        return [len(row[0].strip()) for row in np.asarray(rows, dtype=object)]


class Answering(BaseEstimator):
    """Answers with what a function makes of the number of rows."""

    n_features_in_ = 1

    def __init__(self, answer: Callable[[int], Any] | None = None) -> None:
        self.answer = answer

    def predict(self, rows: Any) -> Any:
        return self.answer(len(rows))  # type: ignore[misc]


def test_types_that_no_row_fits_are_asked_for() -> None:
    with pytest.raises(NoPrediction) as caught:
        try_model(BOOSTED, UNTOLD, None, is_declared=False)
    reason = str(caught.value)
    assert "refuses a row with the input types that were inferred from it (" in reason
    assert 'in the manifest\'s \'inputs\', in this form: [{"name": "age", "type": "float"}' in reason


def test_sample_of_another_type_asks_for_its_declaration() -> None:
    sample = Sample(({"age": 0.9, "size": "L"},))
    with pytest.raises(
        SampleMismatch, match="Row 0, feature 'size': expected a number, found the string 'L'"
    ) as caught:
        try_model(BOOSTED, UNTOLD, sample, is_declared=False)
    assert '[{"name": "size", "type": "string"}, …]' in str(caught.value)


def test_made_up_row_that_fails_asks_for_a_sample() -> None:
    schema = Schema((Feature("x0"),))
    with pytest.raises(
        NoPrediction, match="The version has no sample, and the model refuses the generated rows"
    ) as caught:
        try_model(Texts(), schema, None, is_declared=True)
    assert "add a sample with a row that the model accepts" in str(caught.value)


@pytest.mark.parametrize(
    ("model", "schema", "example"),
    [
        (Texts(), Schema((Feature("x0", "any"),), container="objects"), ["text"]),
        (make_pipeline(FunctionTransformer(np.log), LinearRegression()).fit([[1.0], [2.0]], [1, 2]), None, [1.0]),
    ],
    ids=["texts", "logarithm"],
)
@pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning")
def test_example_is_the_first_generated_row_with_an_answer(model: Any, schema: Any, example: Any) -> None:
    trial = try_model(model, schema or infer_schema(model), None, is_declared=False)
    assert trial.example == example


@pytest.mark.parametrize(
    "sample", [None, Sample(([1.0],)), Sample(([1.0], [2.0], [3.0]))], ids=["none", "one", "three"]
)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda count: [0, 1, 0] if count == 1 else [[0, 1, 0]] * count, "3 predictions for (the sample's )?1 row"),
        (lambda count: [0.5], "1 predictions for (the sample's )?[23] rows"),
        (lambda count: [[1, 2]] if count == 1 else [[1, 2, 3]] * count, "expected the same form"),
        (lambda count: np.array(["2020-01-01"] * count, dtype="datetime64[D]"), "datetime64"),
        (lambda count: [float("nan")] * count, "not finite"),
    ],
    ids=["squeezed", "one for all", "another width alone", "dates", "NaN"],
)
def test_rows_together_and_alone_are_tried(answer: Any, reason: str, sample: Sample | None) -> None:
    schema = Schema((Feature("x0"),))
    with pytest.raises(NoPrediction, match=reason):
        try_model(Answering(answer), schema, sample, is_declared=False)


def test_outputs_are_those_that_were_seen() -> None:
    model = Answering(lambda count: [[1, 2]] * count)
    assert try_model(model, Schema((Feature("x0"),)), None, is_declared=False).schema.outputs == 2


@pytest.mark.parametrize("is_pipeline", [False, True])
def test_millions_of_features_are_refused_before_they_are_described(is_pipeline: bool) -> None:
    model = LinearRegression().fit([[0.0], [1.0]], [0, 1])
    model.n_features_in_ = 2_097_253
    with pytest.raises(NoPrediction, match=f"takes 2097253 features, .* at most {MAX_SCHEMA_BYTES} are"):
        require_describable(make_pipeline(model) if is_pipeline else model)


def test_hundreds_of_thousands_of_features_may_be_described() -> None:
    model = LinearRegression().fit([[0.0], [1.0]], [0, 1])
    model.n_features_in_ = 460_909
    require_describable(model)
