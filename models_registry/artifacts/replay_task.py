"""Runs a version on rows: the sandbox task of `replaying.run_over`."""

import time
from collections.abc import Mapping
from typing import Any

from models_registry.artifacts.asking_task import open_version
from models_registry.artifacts.load_test_task import import_libraries
from models_registry.artifacts.schema import Schema

__all__ = ["import_libraries", "run"]

# The number of rows that are predicted one by one, to measure latency.
TIMED_ROWS = 200
BATCH_ROWS = 500


def run(question: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """Return the predictions of the rows, the reasons of failed rows, and the latencies of single rows."""
    model, schema = open_version(question, answer)
    rows = question["rows"]
    answer.write(stage="while it predicted")
    replayed = _Replayed(model, schema)
    seconds = []
    for index in range(min(TIMED_ROWS, len(rows))):
        began = time.perf_counter()
        replayed.add(rows[index : index + 1])
        seconds.append(time.perf_counter() - began)
    for start in range(len(seconds), len(rows), BATCH_ROWS):
        replayed.add(rows[start : start + BATCH_ROWS])
    return {"predictions": replayed.predictions, "scores": replayed.scores, "problems": replayed.problems,
            "seconds": seconds}  # fmt: skip


class _Replayed:
    """The results so far; `predictions` has null for a failed row, whose reason is in `problems`."""

    def __init__(self, model: Any, schema: Schema) -> None:
        self._model = model
        self._schema = schema
        self.predictions: list[Any] = []
        self.scores: list[float | None] = []
        self.problems: dict[str, str] = {}

    def add(self, rows: list[Any]) -> None:
        """Predict `rows` as a batch, or one by one if one of them fails."""
        try:
            self._answer(rows)
        except Exception as error:  # noqa: BLE001 - a model may refuse a row with any exception
            if len(rows) == 1:
                self.problems[str(len(self.predictions))] = (str(error) or type(error).__name__)[:300]
                self.predictions.append(None)
                self.scores.append(None)
                return
            for row in rows:
                self.add([row])

    def _answer(self, rows: list[Any]) -> None:
        from models_registry.artifacts.prediction import call
        from models_registry.artifacts.prediction_json import content_of
        from models_registry.errors import NoPrediction

        found = call(self._model, self._schema.parse(rows))
        if not found.is_finite():
            raise NoPrediction("The answer has a number that is not finite.")
        content = content_of(found, self._schema, is_single=False, with_probabilities=False)
        self.scores += content.get("confidences") or [None] * len(rows)
        self.predictions += content["predictions"]
