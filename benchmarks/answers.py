"""Every answer of every server, compared with scikit-learn's before anything is timed."""

from __future__ import annotations

import math

from benchmarks.artifacts import ESTIMATORS, Models
from benchmarks.servers import Server

TOLERANCE = 1e-7
# XGBoost answers in float32.
TOLERANCES = {"xgboost": 1e-6}


def compare(servers: list[Server], models: Models, *, rows: int) -> int:
    """Return how many answers were compared; RuntimeError for the first that is not scikit-learn's."""
    compared = 0
    for server in servers:
        for model in ESTIMATORS:
            for index in range(rows):
                label, confidence = server.ask(model, models.named(index))
                expected = models.labels[model][index], models.confidences[model][index]
                if label != expected[0] or not math.isclose(
                    confidence, expected[1], rel_tol=TOLERANCES.get(model, TOLERANCE)
                ):
                    raise RuntimeError(
                        f"{server.name}, {model}, row {index}: answers {label!r} at {confidence!r}, "
                        f"scikit-learn says {expected[0]!r} at {expected[1]!r}."
                    )
                compared += 1
    return compared
