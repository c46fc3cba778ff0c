"""Compares a booster's predictions with its library's; runs only in the sandbox.

The library reads a copy that is written from the validated model, never the bytes of the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from models_registry.artifacts.boosters.estimators import Boosted, BoosterSource
from models_registry.artifacts.boosters.forest import Array
from models_registry.artifacts.boosters.library import open_library
from models_registry.artifacts.boosters.model import LIGHTGBM, XGBOOST, BoostedModel
from models_registry.errors import BrokenArtifact, NoPrediction

MAX_ROWS = 512
MAX_CELLS = 4_000_000
# Relative, by whether the library adds in float32, as XGBoost does. LightGBM's sums agree to the last bits.
_TOLERANCES = {True: 2e-5, False: 1e-9}


def check_with_library(objects: Iterable[Any]) -> None:
    """Raise NoPrediction if a booster among `objects` predicts other values than its library."""
    sources: dict[int, BoosterSource] = {
        id(value.source_): value.source_
        for value in objects
        if isinstance(value, Boosted) and hasattr(value, "source_")
    }
    for source in sources.values():
        check_source(source)


def check_source(source: BoosterSource) -> None:
    """Raise NoPrediction if a model predicts other values than its library."""
    model = source.model
    rows = rows_for(model)
    expected = _answers_of_library(source, rows)
    found = model.margins(rows)
    scale = np.maximum(1.0, np.abs(expected))
    apart = float(np.max(np.nan_to_num(np.abs(found - expected) / scale, nan=np.inf)))
    if apart > _TOLERANCES[model.sums_in_float32]:
        raise NoPrediction(
            f"The service and {model.library} give different predictions with this model: they differ by {apart:.1e}. "
            f"Save it with the newest {model.library} and publish it again, or export it as ONNX."
        )


def rows_for(model: BoostedModel) -> Array:
    """Return rows with values at and near the splits, missing values and extreme values, shape (rows, features)."""
    generator = np.random.default_rng(0)
    count = int(np.clip(MAX_CELLS // max(1, model.n_features), 4, MAX_ROWS))
    rows = generator.normal(size=(count, model.n_features))
    forest = model.forest
    if forest is not None:
        inner = np.flatnonzero(~forest.is_leaf)
        if inner.size:
            # Each row gets the values at some splits: a model of usual size has every split tested.
            chosen = generator.choice(inner, size=(count, max(1, min(len(inner), 4 * model.n_features))))
            values = forest.threshold[chosen]
            categories = generator.integers(-1, 32 * np.maximum(1, forest.set_words[chosen]) + 2)
            values = np.where(forest.set_words[chosen] > 0, categories, values)
            beside = np.nextafter(
                values.astype(np.float32), generator.choice([-np.inf, np.inf], values.shape).astype("f4")
            )
            values = np.where(generator.random(values.shape) < 0.5, values, beside)
            rows[np.arange(count)[:, None], forest.feature[chosen]] = values
    rows[generator.random(rows.shape) < 0.1] = np.nan
    rows[generator.random(rows.shape) < 0.05] = 0.0
    return rows


def _answers_of_library(source: BoosterSource, rows: Array) -> Array:
    """Return the library's margins; if it refuses the copy, the file is rejected."""
    name = {XGBOOST: "XGBoost", LIGHTGBM: "LightGBM"}[source.model.library]
    try:
        return open_library(source)(rows)
    except BrokenArtifact:
        raise
    except Exception as error:
        raise NoPrediction(
            f"{name} itself cannot read the model ({type(error).__name__}: {str(error).splitlines()[0][:300]}). Save "
            f"it with the newest {name} and publish it again, or export it as ONNX."
        ) from error
