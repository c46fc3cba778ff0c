"""`mlapi_model` inside Ray Data itself: 100,000 rows, whose answers are compared with those of the API.

    python3 -m venv .venv-ray && .venv-ray/bin/pip install -r requirements.txt "ray[data]==2.60.0"
    .venv/bin/python -m benchmarks.engines --python .venv-ray/bin/python

Ray Data gets an environment of its own: it is large, and no other part of the project uses it.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import joblib
import numpy as np
import orjson
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from benchmarks.servers import ROOT, Registry, Server, running

ROWS = 100_000
BATCH = 10_000
CITIES = ["Lima", "Oslo", "Rome"]
INPUTS = ["age", "income", "city"]
JOB = """
import sys
import ray
from models_registry.scoring import mlapi_model

ray.init(num_cpus=2, include_dashboard=False)
rows = ray.data.read_parquet(sys.argv[1])
scored = rows.map_batches(mlapi_model("churn", 1), batch_size=10_000)
scored.write_parquet(sys.argv[2])
"""


def people(count: int) -> pd.DataFrame:
    """Return rows of numbers and text, with their number as `id`."""
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": np.arange(count),
            "age": generator.integers(18, 90, count).astype(float),
            "income": generator.normal(50_000, 15_000, count),
            "city": generator.choice(CITIES, count),
        }
    )


def publish(registry: Registry, directory: Path) -> None:
    """Publish version 1 of `churn`, trained on some of the rows, and activate it."""
    table = people(3_000)
    target = np.where((table["age"] > 50) & (table["income"] < 50_000) | (table["city"] == "Lima"), "leaves", "stays")
    columns = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    model = make_pipeline(columns, RandomForestClassifier(50, random_state=0)).fit(table[INPUTS], target)
    joblib.dump(model, directory / "churn.joblib")
    table[INPUTS][:20].to_csv(directory / "sample.csv", index=False)
    registry.manage(
        *("publish_model", "churn", str(directory / "churn.joblib")),
        *("--sample", str(directory / "sample.csv"), "--activate"),
    )


def run_engine(python: str, registry: Registry, directory: Path) -> float:
    """Score the rows in Ray Data and return the seconds that it took, its start included."""
    began = time.perf_counter()
    subprocess.run(
        [python, "-c", JOB, str(directory / "in.parquet"), str(directory / "out")],
        env={**registry.environment, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"},
        cwd=ROOT,
        check=True,
    )
    return time.perf_counter() - began


def differences(server: Server, scored: pd.DataFrame) -> tuple[int, float]:
    """Return how many labels are not the API's, and the largest difference of a confidence."""
    labels, apart = 0, 0.0
    for start in range(0, len(scored), BATCH):
        part = scored[start : start + BATCH]
        body = orjson.dumps({"instances": part[INPUTS].to_dict("records")})
        status, answer = server.request("POST", "/models/churn/versions/1/predict", body)
        if status != 200:
            raise RuntimeError(f"The API answers {status}: {answer}")
        found: Any = answer
        labels += int((part["prediction"].to_numpy() != np.array(found["predictions"])).sum())
        apart = max(apart, float(np.abs(part["confidence"].to_numpy() - np.array(found["confidences"])).max()))
    return labels, apart


def main() -> None:
    """Score in the engine, compare with the API, and print both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    parser.add_argument("--python", required=True, help="the interpreter of the environment that has Ray Data")
    python = parser.parse_args().python
    with tempfile.TemporaryDirectory(prefix="mlapi-engines-") as folder:
        directory = Path(folder)
        registry = Registry(directory / "registry")
        publish(registry, directory)
        duckdb.from_df(people(ROWS)).write_parquet(str(directory / "in.parquet"))
        seconds = run_engine(python, registry, directory)
        scored = duckdb.sql(f"SELECT * FROM read_parquet('{directory / 'out'}/*.parquet') ORDER BY id").df()
        if len(scored) != ROWS:
            raise RuntimeError(f"{len(scored):,} rows came back of {ROWS:,}.")
        with running([registry.server("mlapi")]) as (server,):
            labels, apart = differences(server, scored)
    print(
        f"Ray Data scored {ROWS:,} rows in {seconds:.0f} s: {labels} labels and {apart:g} of confidence off the API's."
    )
    if labels or apart > 1e-12:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
