"""The demo models that `make run` publishes into an empty registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models_registry.artifacts.manifest import MANIFEST_SUFFIX

SAMPLE_ROWS = 10


def write_digits(directory: Path) -> Path:
    """Train a pipeline on scikit-learn's handwritten digits (8 × 8 pixels) and return its artifact."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_digits(as_frame=True)
    train, test, labels, expected = train_test_split(data.data, data.target, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(train, labels)
    return _write(
        directory / "digits.joblib",
        model,
        description="Handwritten digits, 8 × 8 pixels of 0 to 16.",
        metrics={"accuracy": round(float(model.score(test, expected)), 4)},
        inputs=[{"name": name, "type": "float"} for name in test.columns],
        rows=test.head(SAMPLE_ROWS),
    )


def write_penguins(directory: Path) -> Path:
    """Train a pipeline on the Palmer penguins, strings and numbers mixed, and return its artifact."""
    import pandas as pd
    from palmerpenguins import load_penguins
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
    data = load_penguins().dropna(subset=["sex", *numbers])
    # Plain objects: a string dtype of pandas would depend on the training machine.
    inputs = pd.concat([data[["island", "sex"]].astype(object), data[numbers].astype(float)], axis=1)
    labels = data["species"].astype(object).to_numpy()
    train, test, known, expected = train_test_split(inputs, labels, random_state=0)
    columns = make_column_transformer(
        (OneHotEncoder(), ["island", "sex"]), (make_pipeline(SimpleImputer(), StandardScaler()), numbers)
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(train, known)
    return _write(
        directory / "penguins.joblib",
        model,
        description="The species of a penguin, from where it lives and what it measures.",
        metrics={"accuracy": round(float(model.score(test, expected)), 4)},
        inputs=[{"name": name, "type": "string" if name in {"island", "sex"} else "float"} for name in inputs.columns],
        rows=test.head(SAMPLE_ROWS),
    )


MODELS: dict[str, Callable[[Path], Path]] = {"penguins": write_penguins, "digits": write_digits}


def _write(
    path: Path, model: Any, *, description: str, metrics: dict[str, float], inputs: list[dict[str, str]], rows: Any
) -> Path:
    import joblib

    joblib.dump(model, path)
    manifest = {
        "description": description,
        "metrics": metrics,
        "inputs": inputs,
        "sample": {"instances": rows.to_dict(orient="records"), "predictions": model.predict(rows).tolist()},
    }
    path.with_name(path.name + MANIFEST_SUFFIX).write_text(json.dumps(manifest, indent=2))
    return path
