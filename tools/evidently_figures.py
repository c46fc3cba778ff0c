"""Writes the drift that Evidently computes for generated columns, for tests/monitoring/test_drift.py.

Evidently is large, so it is not in the development environment. Run this program in its own environment:
`uv run --no-project --python 3.11 --with evidently==0.7.21 --with pandas==2.3.3 \
  tools/evidently_figures.py`
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

TARGET = Path(__file__).parents[1] / "tests/monitoring/evidently_figures.json"
ROWS = 300
SEED = 7


def columns(generator: np.random.Generator, shift: float) -> dict[str, list[Any]]:
    """Return columns of each kind, of ROWS values; `shift` moves all of them except `same`."""
    gaps = generator.random(ROWS) < 0.1
    age = generator.normal(40 + 8 * shift, 9, ROWS).round(2)
    return {
        "same": generator.normal(0, 1, ROWS).round(3).tolist(),
        "age": age.tolist(),
        "gaps": [None if gap else value for gap, value in zip(gaps, age.tolist(), strict=True)],
        "count": generator.poisson(30 + 5 * shift, ROWS).tolist(),
        "constant": [1.0 + shift] * ROWS,
        "city": generator.choice(
            ["Oslo", "Bergen", "Rome"], ROWS, p=[0.6 - 0.4 * shift, 0.3, 0.1 + 0.4 * shift]
        ).tolist(),
        "new": generator.choice(["a", "b", "c" if shift else "a"], ROWS).tolist(),
    }


def evidently_drift(reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, float]:
    """Return Evidently's effect size of each column: Wasserstein for numbers, Jensen-Shannon for categories."""
    from evidently import DataDefinition, Dataset, Report  # type: ignore[import-not-found]
    from evidently.metrics import ValueDrift  # type: ignore[import-not-found]

    categories = ["city", "new"]
    numbers = [name for name in reference.columns if name not in categories]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    report = Report(
        [ValueDrift(column=name, method="wasserstein") for name in numbers]
        + [ValueDrift(column=name, method="jensenshannon") for name in categories]
    )
    found = report.run(
        Dataset.from_pandas(current, data_definition=definition),
        Dataset.from_pandas(reference, data_definition=definition),
    )
    values = [float(metric["value"]) for metric in found.dict()["metrics"]]
    return dict(zip([*numbers, *categories], values, strict=True))


if __name__ == "__main__":
    generator = np.random.default_rng(SEED)
    reference, current = columns(generator, 0.0), columns(generator, 1.0)
    sizes = evidently_drift(pd.DataFrame(reference), pd.DataFrame(current))
    TARGET.write_text(json.dumps({"reference": reference, "current": current, "effect_sizes": sizes}) + "\n")
