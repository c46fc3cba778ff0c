"""What the binary form of Open Inference Protocol v2 saves: 10,000 rows of 64 FP64 values, as bytes and as JSON.

    python -m benchmarks.binary_tensors

Both go through the handler that serves them, to a linear model, so that the way to the model is what counts. They take
turns, since the speed of a shared machine drifts. Prints the median rates and their ratio. Exit status 1: it is below
the target.
"""

import argparse
import json
import statistics
import sys
import time
from datetime import UTC, datetime

import numpy as np
from sklearn.linear_model import LinearRegression

from mlapi.protocols.base import Call
from mlapi.protocols.openinference import infer
from models_registry.artifacts.inference import infer_schema
from models_registry.explanations.lazy import LazyExplainer
from models_registry.inference.batching import DynamicBatcher, run_blocking
from models_registry.inference.runtime import LoadedModel, Runtime, ServingSnapshot

LENGTH = "Inference-Header-Content-Length"
TARGET = 5.0


def serving(features: int) -> Runtime:
    """Return a runtime that serves a linear model."""
    model = LinearRegression().fit(np.eye(features), np.arange(features))
    runtime = Runtime()
    runtime.snapshot = ServingSnapshot(
        models={
            "m": LoadedModel(
                name="m",
                number=1,
                version_id=1,
                generation=1,
                digest="",
                schema=infer_schema(model),
                predictor=DynamicBatcher(model),
                estimator=model,
                explainer=LazyExplainer(infer_schema(model), lambda: model, is_open=True),
                example=None,
                description="",
                runs={},
                loaded_at=datetime.now(UTC),
            )
        }
    )
    return runtime


def calls(rows: np.ndarray) -> tuple[Call, Call]:
    """Return the same request as JSON and as bytes."""
    tensor = {"name": "input", "shape": list(rows.shape), "datatype": "FP64"}
    plain = json.dumps({"inputs": [tensor | {"data": rows.ravel().tolist()}]}).encode()
    head = json.dumps(
        {
            "inputs": [tensor | {"parameters": {"binary_data_size": rows.nbytes}}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    return (
        Call(plain, {}, "r", 0.0, model="m"),
        Call(head + rows.tobytes(), {LENGTH: str(len(head))}, "r", 0.0, model="m"),
    )


def measure(*, rows: int, features: int, rounds: int) -> tuple[float, float]:
    """Return the median rows a second of JSON and of bytes."""
    runtime = serving(features)
    forms = calls(np.random.default_rng(0).normal(size=(rows, features)))
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, taken in zip(forms, seconds, strict=True):
            began = time.perf_counter()
            run_blocking(infer(call, runtime))
            taken.append(time.perf_counter() - began)
    as_json, as_bytes = (rows / statistics.median(taken) for taken in seconds)
    return as_json, as_bytes


def main() -> int:
    """Measure, and print; return 1 where bytes save less than they should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    as_json, as_bytes = measure(rows=arguments.rows, features=arguments.features, rounds=arguments.rounds)
    print(f"{arguments.rows} rows × {arguments.features} FP64")
    print(f"JSON    {as_json:12,.0f} rows/s")
    print(f"binary  {as_bytes:12,.0f} rows/s")
    print(f"ratio   {as_bytes / as_json:12.1f} (at least {TARGET:g})")
    return int(as_bytes < TARGET * as_json)


if __name__ == "__main__":
    sys.exit(main())
