"""Request records, and how they are added to totals in batches."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mlapi.observability.metrics import definitions
from mlapi.observability.metrics.totals import Totals
from models_registry.inference.call_board import WORKER_LOST

# Classes above this number per version are counted together.
MAX_CLASSES = 50
OTHER = "(other)"
# The protocol label of a lost worker's requests, whose protocol is unknown.
UNKNOWN = "unknown"


class Record(NamedTuple):
    """The record of one request."""

    model: str
    version: str
    protocol: str
    outcome: str
    seconds: float
    waiting_seconds: float
    model_seconds: float
    rows: int
    call_rows: int
    kind: str
    predictions: Any
    # How the model failed; empty if it answered, or if the request was refused.
    error: str = ""


def lost_call(model: str, number: int) -> Record:
    """Return the record of a request whose worker ended while the model computed."""
    return Record(model, str(number), UNKNOWN, "failed", 0.0, 0.0, 0.0, 0, 0, "", None, WORKER_LOST)


def outcome_of(status: int) -> str:
    """Return the outcome of a request as one word."""
    if status < 400:
        return "success"
    if status >= 500:
        return "unavailable" if status == 503 else "failed"
    if status == 429:
        return "limited"
    if status == 499:
        return "left"
    return "unauthorized" if status in {401, 403} else "refused"


def sum_up(records: Sequence[Record], totals: Totals) -> None:
    """Add `records` to `totals`."""
    for series, count in Counter((*record[:2], record.protocol, record.outcome) for record in records).items():
        totals.count(definitions.REQUESTS, series, count)
    for kind, count in Counter((*record[:2], record.error) for record in records if record.error).items():
        totals.count(definitions.MODEL_ERRORS, kind, count)
    answered: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.outcome == "success" and record.rows:
            answered[record[:2]].append(record)
    for labels, found in answered.items():
        totals.count(definitions.ROWS_PREDICTED, labels, sum(record.rows for record in found))
        totals.observe(definitions.TOTAL_SECONDS, labels, [record.seconds for record in found])
        totals.observe(definitions.WAITING_SECONDS, labels, [record.waiting_seconds for record in found])
        totals.observe(definitions.MODEL_SECONDS, labels, [record.model_seconds for record in found])
        totals.observe(definitions.CALL_ROWS, labels, [record.call_rows for record in found if record.call_rows])
        _sum_up_predictions(found, labels, totals)


def _sum_up_predictions(records: list[Record], labels: tuple[str, str], totals: Totals) -> None:
    numbers: list[Any] = []
    classes: list[Any] = []
    for record in records:
        held = record.predictions
        if held is None or held.ndim != 1:  # several outputs have no single distribution
            continue
        (numbers if record.kind == "regressor" and held.dtype.kind in "fiu" else classes).append(held)
    if numbers:
        totals.observe(definitions.PREDICTED_VALUES, labels, np.concatenate(numbers))
    for name, count in _count_labels(classes).items():
        _count_class(name, count, labels, totals)


def _count_labels(classes: list[Any]) -> Counter[str]:
    """Return how often each label occurs in the arrays, most of which have one label."""
    counts = Counter(str(held[0]) for held in classes if len(held) == 1)
    for held in classes:
        if len(held) > 1:
            values, times = np.unique(held.astype(str), return_counts=True)
            counts.update(dict(zip(values.tolist(), times.tolist(), strict=True)))
    return counts


def _count_class(name: str, count: int, labels: tuple[str, str], totals: Totals) -> None:
    series = totals.counters[definitions.CLASSES.name]
    key = (*labels, name[:100])
    if key not in series and sum(1 for held in series if held[:2] == labels) >= MAX_CLASSES:
        key = (*labels, OTHER)
    totals.count(definitions.CLASSES, key, count)
