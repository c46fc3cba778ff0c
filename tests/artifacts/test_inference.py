"""Schemas, read off estimators."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from models_registry.artifacts.features import DeclaredInput, Feature
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.prediction import call
from models_registry.artifacts.schema import Schema
from models_registry.errors import InputError, NoPrediction

FRAME = pd.DataFrame(
    {"city": ["Oslo", None, "Rome", "Oslo"], "age": [20.0, np.nan, 40, 50], "text": ["a b", "b c", "c d", "d e"]}
)
LABELS = ["x", "y", "x", "y"]


def mixed(*city_steps):
    columns = make_column_transformer(
        (make_pipeline(*city_steps), ["city"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
        (TfidfVectorizer(token_pattern=r"\w"), "text"),
    )
    return make_pipeline(columns, LogisticRegression())


@pytest.mark.parametrize("missing", [None, np.nan], ids=["None", "NaN"])
def test_missing_string_answers_alike_alone_and_in_batches(missing):
    frame = FRAME.assign(city=pd.Series(["Oslo", missing, "Rome", "Oslo"], dtype=object))
    model = mixed(OneHotEncoder()).fit(frame, LABELS)
    schema = Schema.from_json(json.loads(json.dumps(infer_schema(model).to_json())))
    rows = [{"city": city, "age": 30, "text": "a"} for city in (None, "Oslo", "Rome")]
    together = call(model, schema.parse(rows)).probabilities
    alone = [call(model, schema.parse([row])).probabilities[0] for row in rows]
    np.testing.assert_allclose(together, alone)
    asked = pd.DataFrame({"city": pd.Series([missing], dtype=object), "age": [30.0], "text": ["a"]})
    np.testing.assert_allclose(alone[0], model.predict_proba(asked)[0])


def test_imputed_columns_have_the_encoders_type_and_categories():
    frame = FRAME.assign(city=pd.Series(["Oslo", np.nan, "Rome", "Oslo"], dtype=object))
    model = mixed(SimpleImputer(strategy="most_frequent"), OneHotEncoder()).fit(frame, LABELS)
    city, age, text = infer_schema(model).inputs
    assert (city.type, city.categories, city.closed, city.nullable) == ("string", ("Oslo", "Rome"), True, True)
    assert (age.type, age.nullable) == ("float", True)
    assert (text.type, text.nullable) == ("string", False)
    schema = infer_schema(model)
    call(model, schema.parse([{"city": None, "age": None, "text": "a"}]))
    with pytest.raises(InputError, match="one of 'Oslo', 'Rome' or null"):
        schema.parse([{"city": "Bonn", "age": 1, "text": "a"}])


def test_scaler_passes_missing_values_only_where_accepted():
    rows, labels = np.array([[0.0], [1.0]]), [0, 1]
    assert not infer_schema(make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels)).inputs[0].nullable
    assert (
        infer_schema(make_pipeline(StandardScaler(), SimpleImputer(), LogisticRegression()).fit(rows, labels))
        .inputs[0]
        .nullable
    )


class Silent(BaseEstimator):
    """Predicts, and tells nothing of itself."""

    def predict(self, rows):
        return np.asarray(rows).sum(axis=1)


def test_unknown_schema_parts_come_from_manifest_or_sample():
    with pytest.raises(NoPrediction, match="give 'inputs' or a sample"):
        infer_schema(Silent())
    assert infer_schema(Silent(), [Feature("a"), Feature("b")]).names == ("a", "b")
    assert infer_schema(Silent(), None, [{"p": 1, "q": 2}]).names == ("p", "q")
    assert len(infer_schema(Silent(), None, [[1, 2, 3]]).inputs) == 3


def test_what_cannot_predict_or_contradicts_its_manifest_is_refused():
    with pytest.raises(NoPrediction, match="has no 'predict'"):
        infer_schema(StandardScaler().fit([[0.0]]))
    model = LogisticRegression().fit(pd.DataFrame({"a": [0, 1], "b": [1, 0]}), [0, 1])
    with pytest.raises(NoPrediction, match="'c', which the estimator was not trained with"):
        infer_schema(model, [Feature("a"), Feature("c")])
    nameless = LogisticRegression().fit([[0, 1], [1, 0]], [0, 1])
    with pytest.raises(NoPrediction, match="declares 3 inputs, but the estimator takes 2"):
        infer_schema(nameless, [Feature("a"), Feature("b"), Feature("c")])


def test_a_manifest_may_declare_some_columns_only():
    frame = pd.DataFrame({"a": [0.0, 1], "b": ["x", "y"], "c": [1, 0]})
    columns = make_column_transformer((OneHotEncoder(), ["b"]), ("passthrough", ["a", "c"]))
    model = make_pipeline(columns, LogisticRegression()).fit(frame, [0, 1])
    read = infer_schema(model)
    schema = infer_schema(model, [DeclaredInput("c", "integer"), DeclaredInput("b", nullable=True)])
    assert [item.type for item in schema.inputs] == ["float", "string", "integer"]
    assert schema.inputs[0] == read.inputs[0]
    assert schema.inputs[1] == replace(read.inputs[1], nullable=True)
    nameless = LogisticRegression().fit([[0, 1], [1, 0]], [0, 1])
    told = infer_schema(nameless, [DeclaredInput("x1", "boolean")])
    assert [(item.name, item.type) for item in told.inputs] == [("x0", "float"), ("x1", "boolean")]
    sampled = infer_schema(Silent(), [DeclaredInput("q", "integer")], [{"p": 1, "q": 2}])
    assert [(item.name, item.type) for item in sampled.inputs] == [("p", "float"), ("q", "integer")]


@pytest.mark.parametrize("nullable", [True, False])
def test_a_manifest_says_whether_a_value_may_be_missing(nullable):
    boosted = HistGradientBoostingClassifier(max_iter=2).fit(np.arange(60.0).reshape(60, 1), [0, 1] * 30)
    for model in (boosted, LogisticRegression().fit([[0], [1]], [0, 1])):
        assert infer_schema(model, [DeclaredInput("x0", nullable=nullable)]).inputs[0].nullable is nullable


def test_columns_that_are_dropped_everywhere_are_optional():
    frame = pd.DataFrame({"id": ["a", "b"], "age": [0.0, 1], "size": [1.0, 0]})
    first = make_column_transformer((StandardScaler(), ["age"]), ("drop", ["id"]))
    second = make_column_transformer((StandardScaler(), ["age", "size"]), ("drop", ["age"]))
    model = make_pipeline(make_union(first, second), LogisticRegression()).fit(frame, [0, 1])
    assert [item.name for item in infer_schema(model).inputs if item.optional] == ["id"]


def test_imputed_column_that_is_dropped_is_required():
    columns = ColumnTransformer([("n", StandardScaler(), [0])])
    model = make_pipeline(SimpleImputer(), columns, LogisticRegression()).fit([[0.0, 1], [1, 0]], [0, 1])
    assert not any(item.optional for item in infer_schema(model).inputs)


def test_times_among_categories_are_told_as_iso_8601():
    frame = pd.DataFrame({"day": pd.to_datetime(["2024-05-01", "2024-05-02", "2024-05-01"])})
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(frame, [0, 1, 0])
    schema = infer_schema(model)
    known = ("2024-05-01T00:00:00", "2024-05-02T00:00:00")
    assert schema.inputs == (Feature("day", "datetime", known, closed=True),)
    answers = model.predict(schema.parse([{"day": "2024-05-01"}, {"day": "2024-05-02T00:00Z"}]))
    assert answers.tolist() == model.predict(frame[:2]).tolist()
    with pytest.raises(InputError, match="Row 0, feature 'day': expected one of '2024-05-01T00:00:00'"):
        schema.parse([{"day": "2024-05-03"}])
    tolerant = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(frame, [0, 1, 0])
    schema = infer_schema(tolerant)
    assert call(tolerant, schema.parse([{"day": None}, {"day": "1999-01-01"}])).labels.tolist() == [0, 0]


def test_histogram_boosting_tells_the_columns_that_hold_categories():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": random.normal(size=60),
            "city": pd.Categorical(random.choice(["Oslo", "Rome"], 60)),
            "size": pd.Categorical(random.choice(["S", "L", None], 60)),
            "rooms": pd.Categorical(random.choice([1, 3, 4], 60)),
        }
    )
    labels = (frame["city"] == "Oslo") & (frame["age"] > 0)
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=5).fit(frame, labels)
    schema = infer_schema(model)
    assert [(item.type, item.categories) for item in schema.inputs] == [
        ("float", None),
        ("string", ("Oslo", "Rome")),
        ("string", ("L", "S")),
        ("float", (1, 3, 4)),
    ]
    assert all(item.nullable and not item.closed for item in schema.inputs)
    rows = json.loads(frame.to_json(orient="records", double_precision=15))
    expected = model.predict_proba(pd.DataFrame(rows).astype(frame.dtypes))
    np.testing.assert_array_equal(call(model, schema.parse(rows)).probabilities, expected)
    for row, one in enumerate(rows[:10]):
        np.testing.assert_array_equal(call(model, schema.parse([one])).probabilities[0], expected[row])
    nothing = dict.fromkeys(schema.names)
    unseen = {**nothing, "city": "Paris", "rooms": 2}
    answers = call(model, schema.parse([nothing, unseen])).probabilities
    np.testing.assert_array_equal(answers[0], answers[1])


def test_histogram_boosting_on_an_array_tells_its_categories():
    rows = np.array([[0.5, 3.0], [1.5, 7.0], [2.5, 3.0], [3.5, 7.0]])
    schema = infer_schema(HistGradientBoostingClassifier(categorical_features=[1]).fit(rows, [0, 1, 0, 1]))
    assert [item.categories for item in schema.inputs] == [None, (3.0, 7.0)]
    assert (schema.container, schema.is_plain) == ("array", True)
