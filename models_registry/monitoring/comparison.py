"""One version's usage as figures with intervals, to compare it with another version."""

from __future__ import annotations

from dataclasses import dataclass

from models_registry.monitoring.buckets import in_milliseconds
from models_registry.monitoring.intervals import Interval, quantile_interval, share_interval
from models_registry.monitoring.usage import Usage


@dataclass(frozen=True, slots=True)
class VersionFigures:
    """The figures of one version; None without data for a figure. Times are in milliseconds."""

    requests: int
    rows: int
    errors: int
    error_rate: float | None
    error_rate_interval: Interval | None
    p50_milliseconds: float | None
    p99_milliseconds: float | None
    # The upper end is None if the slowest requests are above the last bucket.
    p99_interval: tuple[float, float | None] | None
    label_shares: dict[str, float]


def figures_of(usage: Usage) -> VersionFigures:
    """Return the figures of `usage`; intervals have a confidence level of 99 %."""
    bounds = quantile_interval(usage.latency, 0.99) if usage.latency else None
    return VersionFigures(
        requests=usage.requests,
        rows=usage.rows,
        errors=usage.error_count,
        error_rate=usage.error_rate,
        error_rate_interval=share_interval(usage.error_count, usage.attempts) if usage.attempts else None,
        p50_milliseconds=in_milliseconds(usage.latency_quantile(0.5)),
        p99_milliseconds=in_milliseconds(usage.latency_quantile(0.99)),
        p99_interval=bounds and (bounds[0] * 1000, in_milliseconds(bounds[1])),
        label_shares=usage.label_shares(),
    )
