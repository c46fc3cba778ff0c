"""LitServe with one joblib file behind each path; BENCH_BATCH is how many requests it may take together."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import joblib
import litserve
import numpy as np

warnings.filterwarnings("ignore")
MODELS = Path(os.environ["BENCH_MODELS"])
NAMES = json.loads((MODELS / "names.json").read_text())


class OneModel(litserve.LitAPI):
    def __init__(self, name: str, **given: Any) -> None:
        super().__init__(api_path=f"/models/{name}/predict", **given)
        self.model_name = name

    def setup(self, device: str) -> None:
        self.model = joblib.load(MODELS / self.model_name / "model.joblib")

    def decode_request(self, request: dict[str, Any]) -> list[float]:
        features = request["features"]
        return [features[name] for name in NAMES]

    def predict(self, row: Any) -> Any:
        is_batch = isinstance(row, list) and isinstance(row[0], list)
        scores = self.model.predict_proba(np.array(row if is_batch else [row]))
        answers = list(zip(self.model.classes_[scores.argmax(axis=1)].tolist(), scores.max(axis=1).tolist()))  # noqa: B905
        return answers if is_batch else answers[0]

    def batch(self, rows: list[list[float]]) -> list[list[float]]:
        return rows

    def unbatch(self, answers: list[Any]) -> list[Any]:
        return answers

    def encode_response(self, answer: tuple[Any, float]) -> dict[str, Any]:
        return {"prediction": answer[0], "confidence": answer[1]}


if __name__ == "__main__":
    size = int(os.environ.get("BENCH_BATCH", "1"))
    batching: dict[str, Any] = {"max_batch_size": size, "batch_timeout": 0.005} if size > 1 else {}
    apis = [OneModel(path.parent.name, **batching) for path in sorted(MODELS.glob("*/model.joblib"))]
    server = litserve.LitServer(apis, accelerator="cpu", devices=1, workers_per_device=1, timeout=120)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
