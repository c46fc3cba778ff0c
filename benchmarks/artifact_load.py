"""What trust costs: a load through the allow-list against `joblib.load`, and the checks of a 100-tree forest.

    python -m benchmarks.artifact_load

Both loaders take turns, since the speed of a shared machine drifts. Prints the ratio of the medians.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.policy import judge
from models_registry.artifacts.structure import validate_structure

LIMIT_BYTES = 4 << 30


def models() -> dict[str, Any]:
    """Return fitted models by name: small, of medium size, and a forest of 100 deep trees."""
    inputs, classes = make_classification(20_000, 20, n_informative=10, flip_y=0.2, random_state=0)
    few = slice(0, 2_000)
    return {
        "logistic pipeline": make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs, classes),
        "gradient boosting, 100 trees": GradientBoostingClassifier().fit(inputs[few], classes[few]),
        "forest, 100 trees": RandomForestClassifier(100, random_state=0).fit(inputs, classes),
    }


def seconds(action: Callable[[], object]) -> float:
    """Return how long `action` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def compare(path: Path, *, rounds: int) -> tuple[float, float]:
    """Return the median seconds of `joblib.load` and of `open_artifact`, taken in turns."""
    plain, trusted = [], []
    for _ in range(rounds):
        plain.append(seconds(lambda: joblib.load(path)))
        trusted.append(seconds(lambda: open_artifact(path, "joblib")))
    return statistics.median(plain), statistics.median(trusted)


def check_seconds(path: Path) -> dict[str, float]:
    """Return the seconds of each check that comes before a model may serve, the load test's process left out."""
    inspection = inspect_artifact(path, "joblib", max_claimed_bytes=LIMIT_BYTES)
    estimator = open_artifact(path, "joblib")
    return {
        "inspection": seconds(lambda: inspect_artifact(path, "joblib", max_claimed_bytes=LIMIT_BYTES)),
        "policy": seconds(lambda: judge(inspection)),
        "structure": seconds(lambda: validate_structure(estimator)),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models().items():
            for compression in (0, 3):
                path = Path(folder) / "model.joblib"
                joblib.dump(model, path, compress=compression)
                plain, trusted = compare(path, rounds=rounds)
                size = path.stat().st_size / 1e6
                print(
                    f"{name:30} compress={compression} {size:8.2f} MB   joblib.load {plain * 1e3:8.1f} ms   "
                    f"allow-list {trusted * 1e3:8.1f} ms   ratio {trusted / plain:.2f}"
                )
            parts = check_seconds(path)
            total = sum(parts.values())
            listed = ", ".join(f"{part} {took * 1e3:.0f} ms" for part, took in parts.items())
            print(f"{name:30} checks: {listed}, together {total:.2f} s")
    print(f"numpy {np.__version__}, joblib {joblib.__version__}")


if __name__ == "__main__":
    main()
