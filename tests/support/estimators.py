"""Small honest estimators, and files of them."""

from __future__ import annotations

import ctypes
import json
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder


def constant(number: int, *, features: int = 2) -> Any:
    """Return a regressor that answers `number` to everything: a version that says which one it is."""
    return DummyRegressor(strategy="constant", constant=float(number)).fit(np.zeros((1, features)), [0.0])


def constant_tree(number: int, *, features: int = 2) -> Any:
    """Return what `constant` does, as a model that is worth compiling."""
    return RandomForestRegressor(5, random_state=0).fit(np.zeros((1, features)), [float(number)])


def constant_label(label: str) -> Any:
    """Return a classifier that answers `label` to everything."""
    return DummyClassifier(strategy="constant", constant=label).fit(np.zeros((2, 2)), [label, label + "'"])


def forest(*, seed: int, trees: int = 20, features: int = 4, rows: int = 300) -> Any:
    """Return a forest; its labels are noise, so that `rows` decides how large its trees grow."""
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(rows, features))
    return RandomForestClassifier(n_estimators=trees, random_state=seed, n_jobs=1).fit(
        inputs, generator.integers(2, size=rows)
    )


SLEEP = "tests.support.estimators.sleep_by_value"


def mixed() -> Any:
    """Return a pipeline that takes a column of text and one of numbers by name."""
    frame = pd.DataFrame({"city": ["a", "b", "c"] * 20, "size": np.arange(60.0)})
    columns = ColumnTransformer([("city", OneHotEncoder(handle_unknown="ignore"), ["city"])], remainder="passthrough")
    return make_pipeline(columns, LogisticRegression(max_iter=500)).fit(frame, np.arange(60) % 2)


def sleep_by_value(rows: Any) -> Any:
    """Sleep as many seconds as the largest first value says; a function that the operator has to trust."""
    time.sleep(max(float(row[0]) for row in rows))
    return rows


def sleeper() -> Any:
    """Return a model that takes as many seconds as its feature says."""
    model = make_pipeline(FunctionTransformer(), DummyRegressor()).fit([[0.0]], [0.0])
    model.steps[0] = ("sleep", FunctionTransformer(sleep_by_value).fit([[0.0]]))
    return model


BURN = "tests.support.estimators.burn_by_value"


def burn_by_value(rows: Any) -> Any:
    """Take as many seconds of CPU time as the largest first value says."""
    until = time.process_time() + max(float(row[0]) for row in rows)
    while time.process_time() < until:
        pass
    return rows


def burner() -> Any:
    """Return a model that takes as many seconds of CPU time as its feature says."""
    model = make_pipeline(FunctionTransformer(), DummyRegressor()).fit([[0.0]], [0.0])
    model.steps[0] = ("burn", FunctionTransformer(burn_by_value).fit([[0.0]]))
    return model


HOLD = "tests.support.estimators.hold_by_value"


def hold_by_value(rows: Any) -> Any:
    """Hold the interpreter for as many seconds as the largest first value says: nothing else of Python runs."""
    ctypes.PyDLL(None).usleep(int(max(row[0] for row in rows) * 1e6))
    return rows


def holder() -> Any:
    """Return a model that holds the interpreter for the seconds that its feature says."""
    model = make_pipeline(FunctionTransformer(), DummyRegressor()).fit([[0.0]], [0.0])
    model.steps[0] = ("hold", FunctionTransformer(hold_by_value).fit([[0.0]]))
    return model


CRASH = "tests.support.estimators.crash_by_value"


def crash_by_value(rows: Any) -> Any:
    """End the process by a signal where a first value is above 0, and raise where it is below."""
    if any(row[0] > 0 for row in rows):
        ctypes.string_at(0)
    if any(row[0] < 0 for row in rows):
        raise ValueError("No value below 0.")
    return rows


def crasher(*, answer: float = 0.0) -> Any:
    """Return a model that crashes, raises or answers as its feature says."""
    model = make_pipeline(FunctionTransformer(), DummyRegressor()).fit([[0.0]], [answer])
    model.steps[0] = ("crash", FunctionTransformer(crash_by_value).fit([[0.0]]))
    return model


def save(
    model: Any,
    path: Path,
    *,
    rows: list[Any] | None = None,
    predictions: list[Any] | None = None,
    inputs: list[dict[str, str]] | None = None,
) -> Path:
    """Write `model` as joblib, with a manifest where there is anything to say."""
    path.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, path)
    manifest: dict[str, Any] = {}
    if rows is not None:
        manifest["sample"] = {"instances": rows} | ({"predictions": predictions} if predictions else {})
    if inputs is not None:
        manifest["inputs"] = inputs
    if manifest:
        path.with_name(path.name + ".manifest.json").write_text(json.dumps(manifest))
    return path
