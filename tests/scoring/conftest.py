"""A model whose predictions the tests compute by themselves."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from models_registry.artifacts.features import Feature
from models_registry.artifacts.schema import Schema
from models_registry.inference.batching import UnbatchedPredictor
from models_registry.scoring.versions import OpenedVersion
from tests.support.estimators import save
from tests.support.registry import check

COLUMNS = ["age", "income", "city"]
CITIES = ["Oslo", "Bergen", "Tromsø"]


def people(count: int) -> pd.DataFrame:
    """Return rows with a key, two numbers and a text."""
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": [f"{number:07d}" for number in range(count)],
            "age": generator.integers(18, 90, count).astype(float),
            "income": generator.normal(50_000, 10_000, count),
            "city": generator.choice(CITIES, count),
        }
    )


@functools.cache
def model() -> Pipeline:
    """Return a pipeline over named columns of several types."""
    frame = people(500)
    columns = make_column_transformer(
        (StandardScaler(), ["age", "income"]), (OneHotEncoder(handle_unknown="ignore"), ["city"])
    )
    labels = np.where(frame["age"] + frame["income"] / 1000 > 100, "yes", "no")
    return make_pipeline(columns, LogisticRegression()).fit(frame[["age", "income", "city"]], labels)


@pytest.fixture(scope="session")
def opened():
    """Return the model, opened."""
    inputs = (Feature("age"), Feature("income"), Feature("city", type="string"))
    schema = Schema(
        inputs, container="frame", named=True, kind="classifier", classes=(("no", "yes"),),
        methods=("predict", "predict_proba"),
    )  # fmt: skip
    return OpenedVersion("churn", 1, "5" * 64, schema, UnbatchedPredictor(model()))


@pytest.fixture
def published(storage_directory):
    """Return the model's version in the registry, checked."""
    sample = [{"age": 30.0, "income": 40_000.0, "city": "Oslo"}]
    save(model(), storage_directory / "churn/model.joblib", rows=sample)
    return check(storage_directory, "churn/model.joblib")
