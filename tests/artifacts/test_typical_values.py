"""The example of a version without a sample has values like those of its training."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, RobustScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from models_registry.artifacts.features import Feature
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.schema import Schema
from models_registry.artifacts.trial import try_model
from models_registry.artifacts.typical_values import typical_of_rows, typical_row

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({"age": RNG.normal(45, 4, 200), "income": RNG.normal(50_000, 4_000, 200)})
TARGET = np.where((FRAME.age > 45) ^ (FRAME.income > 50_000), "stays", "leaves")
CITIES = FRAME.assign(city=RNG.choice(["Oslo", "Bergen"], 200))


def logistic() -> LogisticRegression:
    return LogisticRegression(max_iter=1_000)


MODELS = {
    "scaler": make_pipeline(StandardScaler(), logistic()),
    "range": make_pipeline(MinMaxScaler(), logistic()),
    "robust scaler": make_pipeline(RobustScaler(), logistic()),
    "imputer before a scaler": make_pipeline(SimpleImputer(), StandardScaler(), logistic()),
    "search": GridSearchCV(make_pipeline(StandardScaler(), logistic()), {}, cv=2),
    "tree": DecisionTreeClassifier(),
    "forest": RandomForestClassifier(10),
    "boosting": GradientBoostingClassifier(n_estimators=10),
    "histogram boosting": HistGradientBoostingClassifier(max_iter=10),
    "neighbors": KNeighborsClassifier(),
    "bayes": GaussianNB(),
    "support vectors": SVC(),
    "clusters": KMeans(3, n_init=1),
}


def example_of(model: Any) -> Any:
    return try_model(model, infer_schema(model), None, is_declared=False).example


@pytest.mark.parametrize("name", MODELS)
def test_example_has_values_of_the_training(name: str) -> None:
    example = example_of(MODELS[name].fit(FRAME, TARGET))
    assert list(example) == ["age", "income"]
    assert 30 < example["age"] < 60
    assert 35_000 < example["income"] < 65_000


@pytest.mark.parametrize("columns", [["age", "income"], [0, 1], slice(0, 2), [True, True, False]])
def test_example_has_the_values_of_a_column_transformer(columns: Any) -> None:
    steps = make_column_transformer((StandardScaler(), columns), (OneHotEncoder(), ["city"]))
    example = example_of(make_pipeline(steps, logistic()).fit(CITIES, TARGET))
    assert 30 < example["age"] < 60
    assert 35_000 < example["income"] < 65_000
    assert example["city"] in {"Oslo", "Bergen"}


def test_example_by_position_has_values_of_the_training() -> None:
    age, income = example_of(make_pipeline(StandardScaler(), logistic()).fit(FRAME.to_numpy(), TARGET))
    assert (30 < age < 60, 35_000 < income < 65_000) == (True, True)


def test_model_that_keeps_nothing_has_the_plain_example() -> None:
    assert example_of(logistic().fit(FRAME, TARGET)) == {"age": 0.0, "income": 0.0}


class Odd(LogisticRegression):
    """Keeps a center that its prediction refuses."""

    def predict(self, X: Any) -> Any:
        if np.any(X > 1):
            raise ValueError("too large")
        return super().predict(X)


def test_plain_example_stays_if_the_model_refuses_typical_values() -> None:
    model = Odd(max_iter=1_000).fit(FRAME, TARGET)
    model.mean_ = np.array([45.0, 50_000.0])
    assert example_of(model) == {"age": 0.0, "income": 0.0}


def city_schema() -> Schema:
    steps = make_column_transformer((StandardScaler(), ["age", "income"]), (OneHotEncoder(), ["city"]))
    return infer_schema(make_pipeline(steps, logistic()).fit(CITIES, TARGET))


PLAIN = {"age": 0.0, "income": 0.0, "city": "Bergen"}
AGES = [(1.0, "Oslo"), (2.0, "Oslo"), (2.0, "Oslo"), (3.0, "Oslo"), (9.0, "Bergen")]


def test_rows_of_a_reference_give_middle_values() -> None:
    rows = [{"age": age, "income": 10.0, "city": city} for age, city in AGES]
    assert typical_of_rows(city_schema(), rows, PLAIN) == {"age": 2.0, "income": 10.0, "city": "Oslo"}


def test_text_of_one_row_stays_out_of_the_example() -> None:
    schema = replace(city_schema(), inputs=(Feature("name", "string"),))
    rows = [{"name": f"person {number}"} for number in range(9)]
    assert typical_of_rows(schema, rows, {"name": "text"}) == {"name": "text"}
    assert typical_of_rows(schema, [*rows, *rows[:1] * 4], {"name": "text"}) == {"name": "person 0"}


def test_reference_of_few_rows_gives_no_example() -> None:
    rows = [{"age": 31.0, "income": 4_321.0, "city": "Oslo"}]
    assert typical_of_rows(city_schema(), rows, PLAIN) == PLAIN


@pytest.mark.parametrize(("rows", "expected"), [(4, [0.0, 0.0]), (5, [30.0, 300.0])])
def test_few_training_rows_stay_out_of_the_example(rows: int, expected: list[float]) -> None:
    data = np.array([[10, 100], [20, 200], [30, 300], [40, 400], [50, 500]], dtype=float)[:rows]
    assert example_of(KNeighborsClassifier(1).fit(data, np.arange(rows) % 2)) == expected


def test_example_copies_a_bounded_number_of_rows() -> None:
    model = KNeighborsClassifier(1).fit(np.zeros((50_000, 100)), np.arange(50_000) % 2)
    schema = infer_schema(model)
    tracemalloc.start()
    typical_row(model, schema, [1.0] * 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
