"""The models of the comparison, as files that every server reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

ROWS_SENT = 200
SAMPLE_ROWS = 20


def _with_columns(model: Any) -> Pipeline:
    """Return `model` behind what usually precedes it: numbers are imputed and scaled, categories are encoded."""
    numbers, categories = slice(0, 48), slice(48, 64)
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore"), categories),
    )
    return make_pipeline(columns, model)


ESTIMATORS: dict[str, Any] = {
    "forest": RandomForestClassifier(100, random_state=0, n_jobs=1),
    "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
    "boosting": HistGradientBoostingClassifier(random_state=0),
    "xgboost": XGBClassifier(n_estimators=100, random_state=0, n_jobs=1),
    "lightgbm": LGBMClassifier(n_estimators=100, random_state=0, n_jobs=1, verbose=-1),
    "xgboost-pipeline": _with_columns(XGBClassifier(n_estimators=100, random_state=0, n_jobs=1)),
    "lightgbm-pipeline": _with_columns(LGBMClassifier(n_estimators=100, random_state=0, n_jobs=1, verbose=-1)),
}
TITLES = {
    "forest": "forest of 100 trees",
    "logistic": "scaler and logistic regression",
    "boosting": "histogram boosting, 10 × 100 trees",
    "xgboost": "XGBoost, 10 × 100 trees",
    "lightgbm": "LightGBM, 10 × 100 trees",
    "xgboost-pipeline": "imputer, scaler, one-hot encoder and XGBoost",
    "lightgbm-pipeline": "imputer, scaler, one-hot encoder and LightGBM",
}


@dataclass(frozen=True, slots=True)
class Models:
    """Where the artifacts are, the rows that are sent, and what scikit-learn answers to them."""

    directory: Path
    names: list[str]
    rows: np.ndarray
    labels: dict[str, list[Any]]
    confidences: dict[str, list[float]]

    def named(self, index: int) -> dict[str, float]:
        """Return a row as a caller sends it."""
        return dict(zip(self.names, self.rows[index].tolist(), strict=True))


def train(directory: Path) -> Models:
    """Fit the models to handwritten digits, write `<directory>/<model>/model.joblib` with manifests, return them."""
    data = load_digits()
    names = list(data.feature_names)
    train_rows, rows, known, _ = train_test_split(data.data, data.target, random_state=0, test_size=ROWS_SENT)
    labels, confidences = {}, {}
    for name, estimator in ESTIMATORS.items():
        model = estimator.fit(train_rows, known)
        scores = model.predict_proba(rows)
        labels[name] = model.predict(rows).tolist()
        confidences[name] = scores.max(axis=1).tolist()
        path = directory / name / "model.joblib"
        path.parent.mkdir(parents=True, exist_ok=True)
        joblib.dump(model, path)
        sample = [dict(zip(names, row.tolist(), strict=True)) for row in rows[:SAMPLE_ROWS]]
        manifest = {
            "inputs": [{"name": item, "type": "float"} for item in names],
            "sample": {"instances": sample, "predictions": labels[name][:SAMPLE_ROWS]},
        }
        path.with_name(path.name + ".manifest.json").write_text(json.dumps(manifest))
    (directory / "names.json").write_text(json.dumps(names))
    return Models(directory, names, rows, labels, confidences)
