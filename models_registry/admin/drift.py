"""The drift of one version: effect sizes in a table, and a plot for each column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from models_registry import services
from models_registry.admin.charts import Chart, series_chart
from models_registry.admin.choosing import VersionForm, window_field, window_of
from models_registry.errors import StorageError
from models_registry.models import RegisteredModel
from models_registry.monitoring import drift

DEFAULT_WINDOW = "24h"
PREDICTIONS = "Predictions"
# The API's verdicts as texts, with the colour of their label.
VERDICTS = {
    drift.DRIFTED: ("changed", "warning"),
    drift.STABLE: ("fine", "success"),
    drift.TOO_FEW_ROWS: (drift.TOO_FEW_ROWS, "info"),
    drift.NOT_COMPARED: (drift.NOT_COMPARED, "default"),
}
METHOD_NAMES = {"wasserstein": "Wasserstein distance", "jensen_shannon": "Jensen-Shannon distance"}
# More plots and columns than these are collapsed.
PLOTS_OPEN = 8
COLUMNS_OPEN = 12


class DriftForm(VersionForm):
    """The version, and the time window."""

    no_version = "the active version"
    window = window_field()


@dataclass(frozen=True, slots=True)
class ColumnRow:
    """A feature, or the predictions."""

    name: str
    found: Mapping[str, Any]
    verdict: str
    colour: str
    method: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A column's bins: as a chart, and as rows with the percentages of the reference and of the window."""

    name: str
    chart: Chart
    rows: tuple[tuple[str, float, float], ...]


def drift_context(request: HttpRequest, model: RegisteredModel) -> dict[str, Any]:
    """Return the template context of a model's drift."""
    form = DriftForm(model, {"window": DEFAULT_WINDOW, **request.GET.dict()})
    wanted = form.cleaned_data if form.is_valid() else {}
    active = model.active_version.number if model.active_version else None
    number = wanted.get("version") or active
    context: dict[str, Any] = {"form": form, "number": number, "report": None, "problem": "", "active_number": active}
    if number is None:
        return context
    window = window_of(wanted, DEFAULT_WINDOW)
    try:
        report = services.drift_report(model, window.step * window.steps, number=number)
    except StorageError as error:
        return {**context, "problem": str(error)}
    (version,) = report["versions"]
    columns = [(PREDICTIONS, version["predictions"]), *((item["name"], item) for item in version["features"])]
    is_counted = version["basis"] == services.WINDOWS
    where = " over bins" if is_counted else ""
    rows = [ColumnRow(name, found, *VERDICTS[found["verdict"]], _method(found, where)) for name, found in columns]
    plots = [_plot(name, found["distribution"]) for name, found in columns if found["distribution"]]
    return {
        **context,
        "report": report,
        "version": version,
        "is_counted": is_counted,
        "verdict": VERDICTS[version["verdict"]],
        "changed": sum(found["verdict"] == drift.DRIFTED for _, found in columns),
        "rows": rows,
        **_shown(rows),
        "plots": plots[:PLOTS_OPEN],
        "more_plots": plots[PLOTS_OPEN:],
        "has_enough_reference": (version["reference"] or {"rows": 0})["rows"] >= drift.MIN_ROWS,
    }


def _shown(rows: list[ColumnRow]) -> dict[str, list[ColumnRow]]:
    """Return the open and the collapsed columns; all are collapsed if each has too few rows."""
    are_open = 0 if all(row.verdict == drift.TOO_FEW_ROWS for row in rows) else COLUMNS_OPEN
    return {"rows_shown": rows[:are_open], "more_rows": rows[are_open:]}


def _method(found: Mapping[str, Any], where: str) -> str:
    return METHOD_NAMES[found["method"]] + where if found["method"] else ""


def _plot(name: str, distribution: Mapping[str, Any]) -> Plot:
    bins = distribution["bins"]
    reference, current = (_percents(distribution[side]) for side in ("reference", "current"))
    series = [{"label": "reference, %", "data": reference}, {"label": "window, %", "data": current}]
    chart = series_chart(name, "bar", bins, series)
    return Plot(name, chart, tuple(zip(bins, reference, current, strict=True)))


def _percents(counts: tuple[int, ...]) -> list[float]:
    return [round(100 * count / sum(counts), 2) for count in counts]
