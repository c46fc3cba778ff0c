"""Converts a usage report to the data of Unfold's chart components, which use Chart.js."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from models_registry.models import RegisteredModel
from models_registry.monitoring.buckets import VALUES
from models_registry.monitoring.usage import Usage
from models_registry.monitoring.usage_report import (
    WINDOWS,
    UsageReport,
    VersionUsage,
    quantile_milliseconds,
    usage_report,
)

# Further versions repeat these colours. Each colour is legible on a light and on a dark page.
COLOURS = (
    "var(--color-primary-500)",
    "var(--color-orange-500)",
    "var(--color-green-500)",
    "var(--color-red-500)",
    "var(--color-blue-500)",
)
WINDOW_NAMES = {"1h": "Hour", "24h": "Day", "30d": "Month"}
MAX_LABELS_SHOWN = 12
_GREY = "#9ca3af"


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: its title, its data and options as JSON, and a text alternative."""

    title: str
    kind: str
    data: str
    options: str
    summary: str = ""


def usage_context(model: RegisteredModel, window: str) -> dict[str, Any]:
    """Return the template context of a model's usage; the last hour if `window` is not valid."""
    report = usage_report(model, WINDOWS.get(window, WINDOWS["1h"]), datetime.now(UTC))
    return {
        "usage": report,
        "usage_windows": WINDOW_NAMES,
        "usage_totals": [(version, version.total) for version in report.versions],
        "charts": usage_charts(report),
    }


def usage_charts(report: UsageReport) -> list[Chart]:
    """Return the charts of a report; empty without requests."""
    if not report.versions:
        return []
    labels = step_labels(report)
    total = sum((version.total for version in report.versions), Usage())
    return [
        series_chart("Requests", "bar", labels, _series(report, lambda usage: usage.requests), is_stacked=True),
        series_chart("Errors", "bar", labels, _series(report, lambda usage: usage.error_count), is_stacked=True),
        series_chart("p50, ms", "line", labels, _series(report, _milliseconds(0.5))),
        series_chart("p99, ms", "line", labels, _series(report, _milliseconds(0.99))),
        *([_label_chart(report.versions, total)] if total.labels else []),
        *([_value_chart(report.versions, total)] if total.values else []),
    ]


def step_labels(report: UsageReport) -> list[str]:
    """Return each step's label on the axis, in UTC."""
    form = "%d %b" if report.window.step >= timedelta(days=1) else "%H:%M"
    return [moment.strftime(form) for moment in report.moments]


def sparkline(steps: Sequence[Usage]) -> Chart:
    """Return the requests by step as a small chart without axes."""
    values = [usage.requests for usage in steps]
    options = _options(is_bare=True)
    data = {
        "labels": [""] * len(values),
        "datasets": [{"data": values, "borderColor": COLOURS[0], "borderWidth": 1.5, "pointRadius": 0}],
    }
    return Chart("", "line", json.dumps(data), json.dumps(options), f"{sum(values):,} requests in 24 hours")


def line_chart(title: str, labels: Sequence[str], values: Sequence[float | None]) -> Chart:
    """Return one line over `labels`; None leaves a gap. The axis shows the values' range, as metrics differ little."""
    told = ", ".join(f"{label}: {value:g}" for label, value in zip(labels, values, strict=True) if value is not None)
    chart = series_chart(title, "line", labels, [{"label": title, "data": list(values)}])
    options = json.loads(chart.options)
    options["plugins"]["legend"]["display"] = False
    options["scales"]["y"] |= {"beginAtZero": False, "grace": "10%", "ticks": {"color": _GREY, "maxTicksLimit": 6}}
    return replace(chart, options=json.dumps(options), summary=f"{title} by version: {told}")


def _series(report: UsageReport, figure: Callable[[Usage], float | None]) -> list[dict[str, Any]]:
    return [
        {"label": f"version {version.number}", "data": [figure(usage) for usage in version.steps]}
        for version in report.versions
    ]


def _milliseconds(share: float) -> Callable[[Usage], float | None]:
    return lambda usage: quantile_milliseconds(usage, share)


def _label_chart(versions: Sequence[VersionUsage], total: Usage) -> Chart:
    shown = list(total.label_shares())[:MAX_LABELS_SHOWN]
    series = []
    for version in versions:
        shares = version.total.label_shares()
        series.append(
            {"label": f"version {version.number}", "data": [round(100 * shares.get(name, 0.0), 2) for name in shown]}
        )
    return series_chart("Predictions by label, %", "bar", shown, series)


def _value_chart(versions: Sequence[VersionUsage], total: Usage) -> Chart:
    filled = [index for index, count in enumerate(total.values) if count]
    shown = range(filled[0], filled[-1] + 1)
    labels = [f"≤ {VALUES[index]:g}" if index < len(VALUES) else f"> {VALUES[-1]:g}" for index in shown]
    series = []
    for version in versions:
        counts = version.total.values
        answered = sum(counts) or 1
        shares = [round(100 * counts[index] / answered, 2) if counts else 0.0 for index in shown]
        series.append({"label": f"version {version.number}", "data": shares})
    return series_chart("Predicted values, %", "bar", labels, series)


def series_chart(
    title: str, kind: str, labels: Sequence[str], series: list[dict[str, Any]], *, is_stacked: bool = False
) -> Chart:
    for index, item in enumerate(series):
        colour = COLOURS[index % len(COLOURS)]
        item.update(borderColor=colour, backgroundColor=colour, borderWidth=2 if kind == "line" else 0)
        item.update(pointRadius=1.5, spanGaps=True, maxBarThickness=24)
    data = {"labels": list(labels), "datasets": series}
    return Chart(title, kind, json.dumps(data), json.dumps(_options(is_stacked=is_stacked)))


def _options(*, is_stacked: bool = False, is_bare: bool = False) -> dict[str, Any]:
    ticks = {"color": _GREY, "maxTicksLimit": 6, "maxRotation": 0}
    axis = {"display": not is_bare, "stacked": is_stacked, "ticks": ticks}
    return {
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "plugins": {
            "legend": {
                "display": not is_bare,
                "align": "end",
                "labels": {"color": _GREY, "boxWidth": 8, "boxHeight": 8},
            },
            "tooltip": {"enabled": not is_bare},
        },
        "scales": {
            "x": {**axis, "grid": {"display": False}},
            # The axis has only whole numbers of requests.
            "y": {**axis, "beginAtZero": True, "grid": {}, "ticks": {**ticks, "precision": 0 if is_stacked else 3}},
        },
    }
