"""Predicts with XGBoost and LightGBM themselves, on a copy of the model that is rewritten from validated trees.

The libraries never read the bytes of a file: `copy_of` writes only known fields and validated trees. A sandboxed
process has loaded the same copy with the same library before a worker does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models_registry.artifacts.boosters.estimators import Boosted, BoosterSource, Margins
from models_registry.artifacts.boosters.forest import Array
from models_registry.artifacts.boosters.model import XGBOOST, BoostedModel
from models_registry.artifacts.object_graph import walk
from models_registry.errors import BrokenArtifact

# Limit in a worker, next to running requests: a larger copy takes seconds and hundreds of megabytes.
MAX_NODES = 300_000


def open_library(source: BoosterSource, *, iterations: int | None = None) -> Margins:
    """Return a function of the library from float64 rows to the sums before the link, shape (rows, outputs).

    `iterations` is the number of first iterations to use, None for all. Predictions use one thread. Raises
    BrokenArtifact if the library is not installed here, and the library's own exceptions.
    """
    return (_xgboost if source.model.library == XGBOOST else _lightgbm)(source, iterations)


def use_libraries(estimator: Any) -> bool:
    """Let the boosters inside `estimator` predict with their libraries; return whether any does.

    Large models are skipped: writing the copy takes about 500 bytes of memory for each node. Raises the errors of
    `open_library`; then no booster is changed.
    """
    found = [value for value in walk(estimator) if isinstance(value, Boosted) and _is_fit(value)]
    opened = [open_library(one.source_, iterations=one.model_.n_iterations) for one in found]
    for one, library in zip(found, opened, strict=True):
        one.library_ = library
    return bool(found)


def leave_libraries(estimator: Any) -> None:
    """Let the boosters inside `estimator` predict without their libraries again."""
    for value in walk(estimator):
        if isinstance(value, Boosted):
            value.library_ = None


def _is_fit(value: Boosted) -> bool:
    forest = value.model_.forest if hasattr(value, "source_") else None
    return forest is not None and len(forest.feature) <= MAX_NODES


def _xgboost(source: BoosterSource, iterations: int | None) -> Margins:
    from models_registry.artifacts.boosters.xgboost_copy import copy_of

    model, xgboost = source.model, _imported("xgboost")
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(copy_of(source.blob)))
    rounds = (0, iterations or 0)

    def linear(rows: Array) -> Array:
        matrix = xgboost.DMatrix(rows.astype(np.float32), nthread=1)
        return _shaped(booster.predict(matrix, output_margin=True), model)

    def trees(rows: Array) -> Array:
        found = booster.inplace_predict(rows, iteration_range=rounds, predict_type="margin", validate_features=False)
        return _shaped(found, model)

    # XGBoost's in-place prediction supports only trees.
    return linear if model.forest is None else trees


def _lightgbm(source: BoosterSource, iterations: int | None) -> Margins:
    from models_registry.artifacts.boosters.lightgbm_text import copy_of

    model, lightgbm = source.model, _imported("lightgbm")
    booster = lightgbm.Booster(model_str=copy_of(source.blob))
    divisor = model.kept(iterations).divisor

    def margins(rows: Array) -> Array:
        sums = booster.predict(rows, raw_score=True, num_threads=1, num_iteration=iterations or -1)
        # A random forest predicts the mean of its trees, but its raw scores are sums (GBDT::PredictRaw).
        return _shaped(sums, model) / divisor

    return margins


def _shaped(margins: Any, model: BoostedModel) -> Array:
    return np.asarray(margins, dtype=np.float64).reshape(-1, model.n_outputs)


def _imported(name: str) -> Any:
    try:
        return __import__(name)
    except (ImportError, OSError) as error:
        # LightGBM needs the system library libgomp, which no wheel contains.
        raise BrokenArtifact(
            f"The artifact holds a model of {name}. This library, which must give the same answers, cannot be imported "
            f"here ({str(error)[:200]}). Install the pinned requirements (LightGBM needs the system package libgomp1), "
            "and check again."
        ) from error
