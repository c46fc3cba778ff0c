"""Measures the processor's time of usage windows in this process, and prints it as JSON.

    python -m benchmarks.usage_windows ROUNDS MODELS…

Run in the environment of a registry with a model `m`. Of each number of models: seconds of a window, from the totals of
the metrics to the rows in the database. `recording`: seconds in which one request is summed up. `offering`: seconds of
handing one request to the counter of features; `counting`: seconds of one step of that counter, at its bound.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")

import django

django.setup()

import numpy as np  # noqa: E402 - after Django's settings

from mlapi.observability.metrics.records import Record, sum_up  # noqa: E402
from mlapi.observability.metrics.totals import Totals  # noqa: E402
from mlapi.observability.metrics.usage import usage_by_version  # noqa: E402
from models_registry import services  # noqa: E402
from models_registry.agent.feature_counter import MAX_VALUES, joined  # noqa: E402
from models_registry.agent.usage_reporter import UsageReporter  # noqa: E402
from models_registry.artifacts.features import Feature  # noqa: E402
from models_registry.artifacts.schema import Schema  # noqa: E402
from models_registry.inference.served_rows import RowSample  # noqa: E402
from models_registry.models import ModelVersion, State  # noqa: E402
from models_registry.monitoring.feature_bins import bins_of  # noqa: E402

REQUESTS = 256
FEATURES = 30


def main() -> None:
    """Measure and print."""
    rounds, counts = int(sys.argv[1]), [int(word) for word in sys.argv[2:]]
    found = {str(count): _windows(count, rounds) for count in counts}
    offering, counting = zip(*(_counting() for _ in range(rounds)), strict=True)
    recording = [_recording() for _ in range(rounds)]
    print(json.dumps({"windows": found, "recording": recording, "offering": offering, "counting": counting}))


def _records(name: str) -> list[Record]:
    labels = [np.array([str(number % 2)]) for number in range(REQUESTS)]
    return [Record(name, "1", "native", "success", 1e-3, 0.0, 5e-4, 1, 1, "classifier", label) for label in labels]


def _recording() -> float:
    totals, records = Totals(), _records("m")
    return _processor_seconds(lambda: sum_up(records, totals)) / REQUESTS


def _counting() -> tuple[float, float]:
    """Return the processor's seconds of handing one row over, and of counting as many rows as are counted in a step."""
    generator = np.random.default_rng(0)
    features = tuple(Feature(f"x{number}") for number in range(FEATURES))
    schema = Schema(features, kind="classifier", classes=("0", "1"))
    inputs, labels = generator.normal(size=(2_000, FEATURES)), generator.choice(["0", "1"], 2_000)
    bins = bins_of(schema, inputs, labels)
    sample = RowSample(MAX_VALUES // FEATURES)
    rows = [(inputs[index : index + 1], labels[index : index + 1]) for index in range(2_000)]
    offering = _processor_seconds(lambda: [sample.offer(row, label, 1) for row, label in rows]) / len(rows)
    requests, _ = sample.take()
    return offering, _processor_seconds(lambda: bins.count(*joined(requests, limit=len(requests))))


def _windows(count: int, rounds: int) -> list[float]:
    """Return the processor's seconds of windows in which each of `count` models was used."""
    names = [f"window{number}" for number in range(count)]
    for name in names:
        model = services.register_model(name)
        if not model.versions.exists():
            values = {"state": State.READY, "digest": "0" * 64, "format": "joblib", "size_bytes": 1}
            ModelVersion.objects.create(model=model, number=1, storage_key=name, storage_version="1", **values)
    totals = Totals()
    reporter = UsageReporter("benchmark", lambda: usage_by_version(totals.copy()))
    now = datetime.now(UTC)
    found = []
    for number in range(rounds):
        for name in names:
            sum_up(_records(name), totals)
        # Each call closes the minute before.
        minute = now + timedelta(minutes=number + 1)
        found.append(_processor_seconds(lambda minute=minute: reporter.report(minute)))  # type: ignore[misc]
    return found


def _processor_seconds(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


if __name__ == "__main__":
    main()
