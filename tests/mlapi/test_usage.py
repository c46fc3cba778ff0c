"""Usage windows: what the requests through the pipeline become in the database, and how the API tells it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlapi.observability.metrics.recorder import MetricsRecorder
from mlapi.observability.metrics.usage import usage_by_version
from models_registry.agent.usage_reporter import UsageReporter
from models_registry.artifacts.schema import Schema
from models_registry.models import UsageWindow
from models_registry.monitoring.buckets import SECONDS
from models_registry.monitoring.usage import usage_since
from tests.mlapi.test_api import Caller
from tests.support.estimators import constant
from tests.support.registry import version

pytestmark = pytest.mark.django_db

SCHEMA = Schema.from_json(
    {
        "inputs": [{"name": "x0", "type": "float"}],
        "container": "array",
        "named": False,
        "kind": "classifier",
        "outputs": 1,
        "classes": ["no", "yes"],
        "methods": ["predict"],
    }
)


class Picky:
    """Answers "yes" above 0, fails at 13, and answers infinity at 14."""

    def predict(self, rows):
        if (rows == 13).any():
            raise RuntimeError("unlucky")
        if (rows == 14).any():
            return np.full(len(rows), np.inf)
        return np.where(rows[:, 0] > 0, "yes", "no")


def minute_ended(recorder: MetricsRecorder, name: str = "r1") -> None:
    """Write what `recorder` counted, as the minute's end does."""
    reporter = UsageReporter(name, lambda: usage_by_version(recorder.totals()))
    reporter.report(datetime.now(UTC) + timedelta(minutes=1))


def exposed(recorder: MetricsRecorder) -> dict[tuple[str, ...], float]:
    from mlapi.observability.metrics.exposition import expose

    body, _ = expose([recorder.snapshot()])
    return {
        (sample.name, *(sample.labels[key] for key in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_windows_agree_with_requests_and_metrics(host, load, recorder):
    row = version("m", 3)
    load(Picky(), number=3, schema=SCHEMA)
    for value in (1, 2, -1):
        assert host.post("/predict", {"features": [value]}).status == 200
    assert host.post("/predict", {"instances": [[1], [-1]]}).status == 200
    for value in (13, 14, "text"):
        assert host.post("/predict", {"features": [value]}).status == 400
    minute_ended(recorder)
    usage = usage_since(row, datetime.now(UTC) - timedelta(minutes=2))
    assert (usage.requests, usage.rows, usage.refused, usage.attempts) == (7, 5, 1, 6)
    assert dict(usage.errors) == {"exception": 1, "not_finite": 1}
    assert dict(usage.labels) == {"yes": 3, "no": 2}
    assert usage.error_rate == pytest.approx(2 / 6)
    counted = exposed(recorder)
    assert counted["mlapi_rows_total", "m", "3"] == usage.rows
    assert sum(value for key, value in counted.items() if key[0] == "mlapi_requests_total") == usage.requests
    assert counted["mlapi_request_seconds_count", "m", "3"] == sum(usage.latency) == 4
    assert counted["mlapi_request_seconds_sum", "m", "3"] == pytest.approx(usage.latency_seconds)
    assert sum(value for key, value in counted.items() if key[0] == "mlapi_model_errors_total") == usage.error_count
    assert 0 < usage.latency_quantile(0.5) <= usage.latency_quantile(0.99) <= SECONDS[-1]


def test_each_minute_is_written_once(host, load, recorder):
    row = version("m", 1)
    load(constant(1))
    reporter = UsageReporter("r1", lambda: usage_by_version(recorder.totals()))
    for minute in (1, 2, 3):
        if minute < 3:
            host.post("/predict", {"features": [1.0, 2.0]})
        reporter.report(datetime.now(UTC) + timedelta(minutes=minute))
    written = UsageWindow.objects.filter(version=row)
    assert [window.requests for window in written.order_by("starts_at")] == [1, 1]
    assert len({window.starts_at for window in written}) == 2


def test_usage_is_told_by_version_and_replica_sums(host, load, recorder):
    version("m", 1)
    version("m", 2)
    for number, count in ((1, 2), (2, 3)):
        load(constant(number), number=number)
        for _ in range(count):
            host.post("/predict", {"features": [1.0, 2.0]})
    minute_ended(recorder, "r1")
    minute_ended(recorder, "r2")
    answer = Caller("view_registeredmodel").get("/api/models/m/usage?window=24h").json()
    assert answer["step_seconds"] == 3600
    figures = {item["version"]: (item["requests"], item["errors"], item["refused"]) for item in answer["versions"]}
    assert figures == {2: (6, 0, 0), 1: (4, 0, 0)}
    assert [sum(point["requests"] for point in item["points"]) for item in answer["versions"]] == [6, 4]


@pytest.mark.parametrize(
    ("query", "status"), [("window=1h", 200), ("window=2h", 400), ("windows=1h", 400), ("window=", 400), ("", 200)]
)
def test_unknown_window_is_refused(query, status):
    version("m", 1)
    assert Caller("view_registeredmodel").get(f"/api/models/m/usage?{query}").status_code == status


def test_usage_needs_permission_to_view():
    version("m", 1)
    assert Caller("activate_modelversion").get("/api/models/m/usage").status_code == 403
