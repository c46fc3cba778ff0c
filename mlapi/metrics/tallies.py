"""The metrics of all workers as Triton's statistics extension asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlapi.metrics import catalogue
from mlapi.metrics.catalogue import Metric
from mlapi.metrics.meter import Meter
from mlapi.metrics.totals import Totals
from mlapi.protocols.inference_v2 import Tally


def tallies_of(meter: Meter) -> Callable[[Sequence[tuple[str, int]]], list[Tally]]:
    """Return what tells from `meter` what each of some (model, version) pairs has answered, in their order."""

    def tallies(asked: Sequence[tuple[str, int]]) -> list[Tally]:
        totals = Totals()
        for snapshot in meter.everyone():
            totals.add(snapshot.totals)
        return [_tally(totals, (name, str(number))) for name, number in asked]

    return tallies


def _tally(totals: Totals, labels: tuple[str, str]) -> Tally:
    succeeded, total_seconds = _count_and_sum(totals, catalogue.TOTAL_SECONDS, labels)
    requests = totals.counters[catalogue.REQUESTS.name].items()
    return Tally(
        succeeded=succeeded,
        failed=int(sum(count for key, count in requests if key[:2] == labels and key[-1] != "success")),
        rows=int(totals.counters[catalogue.ROWS_PREDICTED.name].get(labels, 0)),
        calls=_count_and_sum(totals, catalogue.CALL_ROWS, labels)[0],
        total_seconds=total_seconds,
        waiting_seconds=_count_and_sum(totals, catalogue.WAITING_SECONDS, labels)[1],
        model_seconds=_count_and_sum(totals, catalogue.MODEL_SECONDS, labels)[1],
    )


def _count_and_sum(totals: Totals, metric: Metric, labels: tuple[str, str]) -> tuple[int, float]:
    numbers = totals.histograms[metric.name].get(labels)
    return (0, 0.0) if numbers is None else (int(sum(numbers[:-1])), numbers[-1])
