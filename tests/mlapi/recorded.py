"""Records of requests, as the metrics take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlapi.observability.metrics.records import Record

ROOT = Path(__file__).resolve().parents[2]


def record(**given) -> Record:
    """Return a record of one good request."""
    values = {
        "model": "m",
        "version": "1",
        "protocol": "native",
        "outcome": "success",
        "seconds": 0.002,
        "waiting_seconds": 0.0,
        "model_seconds": 0.001,
        "rows": 1,
        "call_rows": 1,
        "kind": "regressor",
        "predictions": np.array([1.5]),
    }
    return Record(**(values | given))
