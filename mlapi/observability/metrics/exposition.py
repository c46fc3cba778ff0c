"""Renders totals and gauges in Prometheus's formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from mlapi.observability.metrics import definitions
from mlapi.observability.metrics.snapshots import Snapshot
from mlapi.observability.metrics.totals import Totals


class _Sum(Collector):
    """The sum of all workers' metrics."""

    def __init__(self, snapshots: Iterable[Snapshot]) -> None:
        self._totals = Totals()
        self._gauges: dict[str, dict[tuple[str, ...], float]] = {metric.name: {} for metric in definitions.GAUGES}
        for snapshot in snapshots:
            self._totals.add(snapshot.totals)
            for name, labels, value in snapshot.gauges:
                series = self._gauges[name]
                before = series.get(labels)
                is_lowest = name in definitions.LOWEST
                series[labels] = value if before is None else min(before, value) if is_lowest else before + value

    def collect(self) -> Iterator[Family]:
        """Return the metric families."""
        for metric in definitions.COUNTERS:
            counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in self._totals.counters[metric.name].items():
                counter.add_metric(labels, value)
            yield counter
        for metric in definitions.HISTOGRAMS:
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            bounds = [*map(_bound, metric.buckets), "+Inf"]
            for labels, numbers in self._totals.histograms[metric.name].items():
                buckets = list(zip(bounds, accumulate(numbers[:-1]), strict=True))
                histogram.add_metric(labels, buckets, numbers[-1])
            yield histogram
        for metric in definitions.GAUGES:
            gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in self._gauges[metric.name].items():
                gauge.add_metric(labels, value)
            yield gauge


def _bound(bound: float) -> str:
    return repr(float(f"{bound:.6g}"))


def expose(snapshots: Iterable[Snapshot], *, accept: str = "") -> tuple[bytes, str]:
    """Return the sum of `snapshots` and its content type, in the format that `accept` names."""
    registry = CollectorRegistry()
    registry.register(_Sum(snapshots))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
