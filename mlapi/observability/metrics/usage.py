"""This worker's metrics by version, in the form that the usage windows store."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from mlapi.observability.metrics import definitions
from mlapi.observability.metrics.totals import Totals
from models_registry.monitoring.usage import Usage, VersionKey


def usage_by_version(totals: Totals) -> dict[VersionKey, Usage]:
    """Return the counts of each version since this worker started, by (model, number)."""
    found: dict[VersionKey, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    for (model, version, _, outcome), count in totals.counters[definitions.REQUESTS.name].items():
        if version:
            parts = found[model, int(version)]
            parts["requests"] += int(count)
            parts["refused"] += int(count) if outcome != "success" else 0
    for (model, version, kind), count in totals.counters[definitions.MODEL_ERRORS.name].items():
        parts = found[model, int(version)]
        # The loop above has counted these requests as refused.
        parts["refused"] -= int(count)
        parts["errors"] = {**(parts["errors"] or {}), kind: int(count)}
    for (model, version), rows in totals.counters[definitions.ROWS_PREDICTED.name].items():
        found[model, int(version)]["rows"] = int(rows)
    for (model, version, label), count in totals.counters[definitions.CLASSES.name].items():
        parts = found[model, int(version)]
        parts["labels"] = {**(parts["labels"] or {}), label: int(count)}
    for (model, version), numbers in totals.histograms[definitions.TOTAL_SECONDS.name].items():
        found[model, int(version)]["latency"] = numbers[:-1]
        found[model, int(version)]["latency_seconds"] = numbers[-1]
    for (model, version), numbers in totals.histograms[definitions.PREDICTED_VALUES.name].items():
        found[model, int(version)]["values"] = numbers[:-1]
    return {key: Usage(**{name: value for name, value in parts.items() if value}) for key, parts in found.items()}
