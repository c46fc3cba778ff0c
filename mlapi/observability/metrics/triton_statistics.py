"""Metrics of all workers in the form of Triton's statistics extension."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlapi.observability.metrics import definitions
from mlapi.observability.metrics.definitions import Metric
from mlapi.observability.metrics.recorder import MetricsRecorder
from mlapi.observability.metrics.totals import Totals
from mlapi.protocols.openinference import VersionStatistics


def triton_statistics(recorder: MetricsRecorder) -> Callable[[Sequence[tuple[str, int]]], list[VersionStatistics]]:
    """Return a function of (model, version) pairs that returns the statistics of each, from `recorder`."""

    def statistics_of(asked: Sequence[tuple[str, int]]) -> list[VersionStatistics]:
        totals = Totals()
        for snapshot in recorder.all_snapshots():
            totals.add(snapshot.totals)
        return [_statistics(totals, (name, str(number))) for name, number in asked]

    return statistics_of


def _statistics(totals: Totals, labels: tuple[str, str]) -> VersionStatistics:
    succeeded, total_seconds = _count_and_sum(totals, definitions.TOTAL_SECONDS, labels)
    requests = totals.counters[definitions.REQUESTS.name].items()
    return VersionStatistics(
        succeeded=succeeded,
        failed=int(sum(count for key, count in requests if key[:2] == labels and key[-1] != "success")),
        rows=int(totals.counters[definitions.ROWS_PREDICTED.name].get(labels, 0)),
        calls=_count_and_sum(totals, definitions.CALL_ROWS, labels)[0],
        total_seconds=total_seconds,
        waiting_seconds=_count_and_sum(totals, definitions.WAITING_SECONDS, labels)[1],
        model_seconds=_count_and_sum(totals, definitions.MODEL_SECONDS, labels)[1],
    )


def _count_and_sum(totals: Totals, metric: Metric, labels: tuple[str, str]) -> tuple[int, float]:
    numbers = totals.histograms[metric.name].get(labels)
    return (0, 0.0) if numbers is None else (int(sum(numbers[:-1])), numbers[-1])
