"""From requests to the histograms of usage windows, and to drift without a prediction log."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.utils import timezone
from scipy.spatial.distance import jensenshannon

from mlapi import replica
from mlapi.http import process
from mlapi.http.application import Application
from models_registry import services
from models_registry.agent.feature_counter import max_rows
from models_registry.models import DriftCheck, FeatureBins, UsageWindow, WebhookDelivery
from models_registry.monitoring.usage_report import counted_values
from models_registry.monitoring.usage_retention import keep_in_bounds
from tests.mlapi.feature_windows.counting import (
    ROWS,
    SHIFTED,
    drift,
    feature,
    histogram,
    page_text,
)
from tests.mlapi.test_monitoring_pages import row_text
from tests.monitoring.test_replay import classifier
from tests.support.asgi import AsgiClient

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("storage_directory")]


def test_window_counts_what_was_sent(version, worker):
    one = worker()
    one.send(SHIFTED)
    one.report()
    window = UsageWindow.objects.get().features
    for index in (0, 1):
        assert window["columns"][index] == [*histogram(version, index, SHIFTED[:, index]), 0]
    labels = classifier(0).predict(SHIFTED)
    names = FeatureBins.objects.get().columns[2]["categories"]
    assert window["columns"][2] == [*((labels == name).sum() for name in names), 0, 0]
    assert (window["rows"], window["dropped"]) == (300, 0)


def test_drift_without_log_agrees_with_scipy(version, worker):
    one = worker()
    one.send(SHIFTED)
    one.report()
    found = drift()
    assert (found["basis"], found["rows"], found["verdict"]) == ("windows", 300, "drifted")
    assert found["reference"] == {"source": "sample", "rows": 300}
    size = jensenshannon(histogram(version, 1, ROWS[:, 1]), histogram(version, 1, SHIFTED[:, 1]))
    assert feature(found, "x1")["effect_size"] == pytest.approx(size)
    assert [(feature(found, name)["verdict"]) for name in ("x0", "x1")] == ["stable", "drifted"]
    shares = [[np.mean(classifier(0).predict(rows) == name) for name in ("no", "yes")] for rows in (ROWS, SHIFTED)]
    assert found["predictions"]["effect_size"] == pytest.approx(jensenshannon(*shares))


def test_drift_without_log_is_told_once(version, worker):
    one = worker()
    one.send(SHIFTED)
    one.report()
    assert services.check_drift_next()
    assert not services.check_drift_next()
    (told,) = [json.loads(item.body)["data"] for item in WebhookDelivery.objects.filter(kind="drift.detected")]
    assert (told["model"], told["features"]) == ("m", ["x1"])
    assert DriftCheck.objects.get().features == ["x1"]


def test_page_says_that_it_is_from_windows(version, worker, look):
    one = worker()
    one.send(SHIFTED)
    one.report()
    answer = look("drift")
    size = jensenshannon(histogram(version, 1, ROWS[:, 1]), histogram(version, 1, SHIFTED[:, 1]))
    assert f"{size:.3f} Jensen-Shannon distance over bins 300 reference 300" in row_text(answer, 'data-column="x1"')
    assert (
        "The counts come from the usage windows: each worker counts a sample of the served values in bins"
        in page_text(answer)
    )
    assert "The prediction log is off" not in page_text(answer)


def test_few_counted_rows_raise_no_alarm(version, worker):
    one = worker()
    one.send(SHIFTED[:50])
    one.report()
    assert drift()["verdict"] == "too few rows"


def test_log_goes_before_the_windows(version, worker):
    one = worker()
    one.send(SHIFTED)
    one.report()
    services.set_capture(version.model, by="ann", percent=100)
    found = drift()
    assert (found["basis"], found["rows"]) == ("log", 0)


def test_drift_of_a_check_long_ago_is_not_told(version, worker):
    one = worker()
    one.send(SHIFTED)
    one.report()
    services.check_drift_next()
    assert services.drifted_columns([version.pk]) == {version.pk: ["x1", "predictions"]}
    DriftCheck.objects.update(checked_at=timezone.now() - timedelta(days=1))
    assert services.drifted_columns([version.pk]) == {}


def test_counts_in_other_bins_are_not_compared(version, worker):
    one = worker()
    one.send(SHIFTED)
    one.report()
    FeatureBins.objects.all().delete()
    services.prepare_bins([version.pk])
    assert drift()["rows"] == 0


@pytest.mark.parametrize("batch", [1_000, 12_000])
def test_rows_beyond_the_bound_are_dropped_and_counted(batch, version, worker):
    one = worker()
    one.counter.step()
    client = AsgiClient(Application(process.pipeline, None))
    before = dict(replica.runtime.counted_rows)
    for _ in range(3):
        client.post("/predict", {"instances": np.resize(ROWS, (batch, 2)).tolist()})
    one.report()
    found = UsageWindow.objects.get().features
    loaded = replica.runtime.snapshot.models["m"]
    assert (found["rows"], found["dropped"]) == (max_rows(loaded), 3 * batch - max_rows(loaded))
    # Of this version: the runtime keeps the counts of other tests' versions.
    after = replica.runtime.counted_rows
    grown = {key[2]: after[key] - before.get(key, 0) for key in after if key[:2] == ("m", 1)}
    assert grown == {"counted": found["rows"], "dropped": found["dropped"]}


@pytest.mark.parametrize("hours", [6, 60])
def test_hours_have_the_sums_and_old_minutes_none(hours, version, worker):
    workers = [worker("r1"), worker("r2")]
    for each in workers:
        each.send(SHIFTED)
        each.report()
    now = datetime.now(UTC)
    start = now - timedelta(hours=hours + 4)
    UsageWindow.objects.update(starts_at=now.replace(second=0, microsecond=0) - timedelta(hours=hours))
    before = counted_values(version.model, start, now)
    keep_in_bounds(now)
    assert counted_values(version.model, start, now) == before
    assert not UsageWindow.objects.minutes().exclude(features={}).exists()
    assert counted_values(version.model, start, now)[version.pk].rows == 600
