"""The usage of a model's versions over the last hour, day or month, in steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F

from models_registry.models import RegisteredModel, UsageWindow
from models_registry.monitoring.buckets import VALUES, in_milliseconds
from models_registry.monitoring.usage import Usage, total_usage, traffic_of, usage_of
from models_registry.monitoring.usage_retention import SUMMED_UP_AGAIN, hour_of, summed_up_until
from models_registry.monitoring.value_counts import ValueCounts, combined_counts


@dataclass(frozen=True, slots=True)
class Window:
    """The length of a report, and its steps."""

    name: str
    step: timedelta
    steps: int

    def start(self, now: datetime) -> datetime:
        """Return the start of the first step; the last step is in progress at `now`."""
        return self.floor(now) - (self.steps - 1) * self.step

    def floor(self, moment: datetime) -> datetime:
        """Return the start of the step of `moment`, in UTC."""
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + (moment - midnight) // self.step * self.step

    def moments(self, now: datetime) -> list[datetime]:
        """Return the start of each step."""
        return [self.start(now) + index * self.step for index in range(self.steps)]


WINDOWS = {
    window.name: window
    for window in (
        Window("1h", timedelta(minutes=1), 60),
        Window("24h", timedelta(hours=1), 24),
        Window("30d", timedelta(days=1), 30),
    )
}


@dataclass(frozen=True, slots=True)
class VersionUsage:
    """One version's usage by step, in the order of the report's steps."""

    number: int
    steps: tuple[Usage, ...]

    @property
    def total(self) -> Usage:
        """The sum of the steps."""
        return total_usage(self.steps)


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The used versions of one model, highest number first."""

    model: str
    window: Window
    moments: tuple[datetime, ...]
    versions: tuple[VersionUsage, ...]

    def steps(self) -> list[Usage]:
        """Return each step's usage, summed over the versions."""
        return [total_usage(version.steps[index] for version in self.versions) for index in range(len(self.moments))]


def usage_report(model: RegisteredModel, window: Window, now: datetime) -> UsageReport:
    """Return the usage of `model` by version in the steps of `window` up to `now`, in UTC."""
    return _reports([model], window, now, usage_of, ("features",))[0]


def traffic_reports(models: list[RegisteredModel], window: Window, now: datetime) -> list[UsageReport]:
    """Return the usage of each of `models` without the predictions, with two queries for all models."""
    return _reports(models, window, now, traffic_of, ("features", "labels", "values"))


def _reports(
    models: list[RegisteredModel],
    window: Window,
    now: datetime,
    read: Callable[[UsageWindow], Usage],
    unread: tuple[str, ...],
) -> list[UsageReport]:
    moments = window.moments(now)
    found: dict[int, dict[int, dict[datetime, Usage]]] = defaultdict(lambda: defaultdict(dict))
    for model_id, number, row in _rows(models, window, now, unread):
        steps = found[model_id][number]
        moment = window.floor(row.starts_at)
        steps[moment] = steps.get(moment, Usage()) + read(row)
    return [
        UsageReport(
            model.name,
            window,
            tuple(moments),
            tuple(
                VersionUsage(number, tuple(steps.get(moment, Usage()) for moment in moments))
                for number, steps in sorted(found[model.pk].items(), reverse=True)
            ),
        )
        for model in models
    ]


def _rows(
    models: list[RegisteredModel], window: Window, now: datetime, unread: tuple[str, ...]
) -> Iterator[tuple[int, int, UsageWindow]]:
    """Yield the windows of the summed hours, and of the minutes after them; for steps of a minute, only minutes.

    Each window comes with the model's id and the version's number.
    """
    for row in _windows(models, window, now, unread):
        yield row.model_id, row.number, row  # type: ignore[attr-defined]


def _windows(
    models: list[RegisteredModel], window: Window, now: datetime, unread: tuple[str, ...]
) -> Iterator[UsageWindow]:
    rows = (
        UsageWindow.objects.filter(version__model__in=[model.pk for model in models])
        .annotate(model_id=F("version__model_id"), number=F("version__number"))
        .defer(*unread)
        .order_by()
    )
    start, hours_end = window.start(now), window.start(now)
    if window.step >= timedelta(hours=1):
        hours_end = max(start, min(summed_up_until(now), hour_of(now)))
        yield from rows.hours().filter(starts_at__gte=start, starts_at__lt=hours_end)
    yield from rows.minutes().filter(starts_at__gte=hours_end, starts_at__lte=now)


def counted_values(model: RegisteredModel, start: datetime, now: datetime) -> dict[int, ValueCounts]:
    """Return the counts of the features from `start` to `now`, by version id.

    For times more than three hours ago, whole hours are counted.
    """
    rows = UsageWindow.objects.filter(version__model=model, starts_at__lte=now).exclude(features={})
    rows = rows.only("version", "features").order_by()
    windows, since = [], start
    if start < now - SUMMED_UP_AGAIN:
        since = max(hour_of(start), min(summed_up_until(now), hour_of(now)))
        windows = list(rows.hours().filter(starts_at__gte=hour_of(start), starts_at__lt=since))
    found: dict[int, ValueCounts | None] = {}
    for window in [*windows, *rows.minutes().filter(starts_at__gte=since)]:
        found[window.version_id] = combined_counts(found.get(window.version_id), ValueCounts.from_json(window.features))
    return {version_id: counts for version_id, counts in found.items() if counts is not None}


# As JSON


def report_content(report: UsageReport) -> dict[str, Any]:
    """Return a report in the API's form: milliseconds, shares from 0 to 1, times in ISO 8601."""
    return {
        "model": report.model,
        "window": report.window.name,
        "step_seconds": int(report.window.step.total_seconds()),
        "starts_at": report.moments[0].isoformat(),
        "versions": [
            {
                "version": version.number,
                **usage_content(version.total),
                "points": [
                    {"at": moment.isoformat(), **_figures(usage)}
                    for moment, usage in zip(report.moments, version.steps, strict=True)
                    if usage.requests
                ],
            }
            for version in report.versions
        ],
    }


def usage_content(usage: Usage) -> dict[str, Any]:
    """Return one usage with its distributions."""
    return {
        **_figures(usage),
        "errors_by_kind": dict(usage.errors),
        "labels": dict(usage.labels),
        "label_shares": usage.label_shares(),
        "values": {"bounds": list(VALUES), "counts": list(usage.values)} if usage.values else None,
    }


def quantile_milliseconds(usage: Usage, share: float) -> float | None:
    """Return a quantile (0 to 1) of the latency, with three decimals; None without answered requests."""
    found = in_milliseconds(usage.latency_quantile(share))
    return None if found is None else round(found, 3)


def _figures(usage: Usage) -> dict[str, Any]:
    return {
        "requests": usage.requests,
        "refused": usage.refused,
        "errors": usage.error_count,
        "error_rate": usage.error_rate,
        "rows": usage.rows,
        "p50_ms": quantile_milliseconds(usage, 0.5),
        "p99_ms": quantile_milliseconds(usage, 0.99),
    }
