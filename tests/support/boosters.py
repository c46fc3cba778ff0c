"""Small models of XGBoost and LightGBM, trained once for all tests of a process."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import xgboost

FEATURES = 5
CATEGORICAL = 4


@cache
def rows() -> np.ndarray:
    """Return rows with missing values, zeros, and categories in the last column."""
    generator = np.random.default_rng(0)
    table = generator.normal(size=(300, FEATURES))
    table[generator.random(table.shape) < 0.1] = np.nan
    table[generator.random(table.shape) < 0.1] = 0.0
    table[:, CATEGORICAL] = generator.integers(0, 40, 300)
    return table


def asked() -> np.ndarray:
    """Return other rows, with odd categories: unknown, negative, fractions, missing."""
    generator = np.random.default_rng(1)
    table = generator.normal(size=(300, FEATURES))
    table[generator.random(table.shape) < 0.1] = np.nan
    table[:, CATEGORICAL] = generator.choice([np.nan, -1.0, 0.5, 2.5, 1e6, *range(45)], 300)
    return table


def targets(kind: str) -> np.ndarray:
    """Return what to learn: "values", "positive", "two", "three" or "many" (two columns)."""
    table = np.nan_to_num(rows())
    values = table[:, 0] * 3 + table[:, CATEGORICAL] % 3 + table[:, 1]
    return {
        "values": values,
        "positive": np.abs(values) + 0.1,
        "two": (values > 1).astype(int),
        "three": np.digitize(values, [0, 2]),
        "many": np.column_stack([values, -values]),
    }[kind]


def xgboost_booster(objective: str = "binary:logistic", target: str = "two", **parameters: Any) -> Any:
    """Return a booster of 12 rounds."""
    if objective.startswith("multi:"):
        parameters["num_class"] = 3
    table = rows()
    data = xgboost.DMatrix(table, targets(target), qid=np.repeat(np.arange(30), 10) if "rank" in objective else None)
    if objective == "survival:aft":
        data.set_float_info("label_lower_bound", targets(target))
        data.set_float_info("label_upper_bound", targets(target) + 1)
    depth = {} if parameters.get("booster") == "gblinear" else {"max_depth": 4}
    return xgboost.train({"objective": objective, "nthread": 1, **depth, **parameters}, data, 12)


def xgboost_by_sets(**parameters: Any) -> Any:
    """Return a booster that splits its last column by sets of categories."""
    data = xgboost.DMatrix(rows(), targets("two"), feature_types=["q"] * CATEGORICAL + ["c"], enable_categorical=True)
    settings = {"objective": "binary:logistic", "max_depth": 5, "nthread": 1, "max_cat_to_onehot": 2, **parameters}
    return xgboost.train(settings, data, 12)


def xgboost_document(booster: Any) -> dict[str, Any]:
    """Return a booster's document."""
    found: dict[str, Any] = json.loads(booster.save_raw("json"))
    return found


def lightgbm_booster(objective: str = "binary", target: str = "two", *, by_sets: bool = True, **parameters: Any) -> Any:
    """Return a booster of 12 rounds, which splits its last column by sets of categories where that is wanted."""
    settings = {
        "objective": objective, "verbose": -1, "num_leaves": 8, "min_data_per_group": 5, "cat_smooth": 1,
        "min_child_samples": 5, "num_threads": 1, **parameters,
    }  # fmt: skip
    data = lightgbm.Dataset(
        rows(),
        targets(target),
        categorical_feature=[CATEGORICAL] if by_sets else [],
        group=[10] * 30 if objective == "lambdarank" else None,
        free_raw_data=False,
    )
    return lightgbm.train(settings, data, 12)


def frame() -> pd.DataFrame:
    """Return a table with a column of names as categories."""
    table = pd.DataFrame(rows(), columns=[f"c{position}" for position in range(FEATURES)])
    table["city"] = pd.Categorical([f"city {int(value)}" for value in table.pop(f"c{CATEGORICAL}")])
    return table
