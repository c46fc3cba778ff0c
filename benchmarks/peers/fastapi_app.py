"""The usual way to serve a model by hand: FastAPI, pydantic, and joblib or the very ONNX graph that mlapi serves.

Run by uvicorn in its own environment. BENCH_RUNTIME is `joblib` or `onnx`; BENCH_FORM is `def` or `async`.
"""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

warnings.filterwarnings("ignore")
MODELS = Path(os.environ["BENCH_MODELS"])
NAMES = json.loads((MODELS / "names.json").read_text())


class One(BaseModel):
    features: dict[str, float]


class Many(BaseModel):
    instances: list[dict[str, float]]


class ByJoblib:
    def __init__(self, name: str) -> None:
        self.model = joblib.load(MODELS / name / "model.joblib")
        self.classes = self.model.classes_

    def answer(self, rows: np.ndarray) -> tuple[list[Any], list[float]]:
        # One call, as a careful author writes it: `predict` would run the model a second time.
        scores = self.model.predict_proba(rows)
        return self.classes[scores.argmax(axis=1)].tolist(), scores.max(axis=1).tolist()


class ByOnnx:
    def __init__(self, name: str) -> None:
        plan = json.loads((MODELS / name / "plan.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession((MODELS / name / "model.onnx").read_bytes(), options)
        self.outputs = [plan["outputs"]["label"], plan["outputs"]["probabilities"]]
        self.classes = np.array(plan["classes"]["values"])
        # A column that two steps of a pipeline read is there twice.
        sources = [column["source"] for column in plan["columns"]]
        self.sources = None if sources == list(range(len(NAMES))) else sources

    def answer(self, rows: np.ndarray) -> tuple[list[Any], list[float]]:
        if self.sources is not None:
            rows = rows[:, self.sources]
        labels, scores = self.session.run(self.outputs, {"X": rows})
        return self.classes[labels].tolist(), scores.max(axis=1).tolist()


runtime = {"joblib": ByJoblib, "onnx": ByOnnx}[os.environ["BENCH_RUNTIME"]]
models = {path.parent.name: runtime(path.parent.name) for path in sorted(MODELS.glob("*/model.joblib"))}
app = FastAPI()


def one(model: str, row: One) -> dict[str, Any]:
    labels, confidences = models[model].answer(np.array([[row.features[name] for name in NAMES]]))
    return {"prediction": labels[0], "confidence": confidences[0], "model": model}


def many(model: str, batch: Many) -> dict[str, Any]:
    rows = np.array([[row[name] for name in NAMES] for row in batch.instances])
    labels, confidences = models[model].answer(rows)
    return {"predictions": labels, "confidences": confidences, "model": model}


if os.environ["BENCH_FORM"] == "def":
    app.post("/models/{model}/predict")(one)
    app.post("/models/{model}/predict-many")(many)
else:

    @app.post("/models/{model}/predict")
    async def one_async(model: str, row: One) -> dict[str, Any]:
        return one(model, row)

    @app.post("/models/{model}/predict-many")
    async def many_async(model: str, batch: Many) -> dict[str, Any]:
        return many(model, batch)
