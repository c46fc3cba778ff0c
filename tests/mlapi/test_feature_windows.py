"""From requests to the histograms of usage windows, and to drift without a prediction log."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db import DataError, OperationalError
from django.utils import timezone
from scipy.spatial.distance import jensenshannon
from structlog.testing import capture_logs

from mlapi import replica
from mlapi.http import process
from mlapi.http.application import Application
from mlapi.observability.metrics.usage import usage_by_version
from models_registry import services
from models_registry.agent.feature_counter import STEPS_PER_LOOK, Counted, FeatureCounter, max_rows
from models_registry.agent.usage_reporter import UsageReporter
from models_registry.inference.served_rows import RowSample
from models_registry.models import DriftCheck, FeatureBins, ModelVersion, UsageWindow, WebhookDelivery
from models_registry.monitoring.usage_report import counted_values
from models_registry.monitoring.usage_retention import keep_in_bounds
from models_registry.services.feature_bins import FIRST_ROWS, store_bins
from tests.mlapi.test_api import Caller
from tests.mlapi.test_monitoring_pages import look, row_text  # noqa: F401
from tests.mlapi.test_usage import recorder  # noqa: F401
from tests.monitoring.test_replay import classifier
from tests.support.asgi import AsgiClient
from tests.support.registry import ready_version

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("storage_directory")]

ROWS = np.random.default_rng(2).normal(0, 5, (300, 2)).round(3)
SAMPLE = {"instances": ROWS.tolist(), "predictions": classifier(0).predict(ROWS).tolist()}
SHIFTED = ROWS + np.array([0, 10])
BATCH = 100


class Worker:
    """The parts of a worker that count and report."""

    def __init__(self, name: str, recorder) -> None:  # noqa: F811
        self.counter = FeatureCounter(replica.runtime)
        self.reporter = UsageReporter(name, lambda: self.counter.add_to(usage_by_version(recorder.totals())))
        self.minutes = 0

    def send(self, rows) -> None:
        """Send rows as the service gets them, and count them before more come than are counted at once."""
        self.counter.step()
        client = AsgiClient(Application(process.pipeline, None))
        for start in range(0, len(rows), BATCH):
            answer = client.post("/predict", {"instances": np.asarray(rows)[start : start + BATCH].tolist()})
            assert answer.status == 200, answer.body
            self.counter.step()

    def report(self) -> None:
        """Write the minute."""
        self.minutes += 1
        self.reporter.report(datetime.now(UTC) + timedelta(minutes=self.minutes))


@pytest.fixture
def version(tmp_path, load, monkeypatch, settings):
    """Return the active version, whose sample is ROWS; the log is off."""
    settings.MODELS_WEBHOOK_URLS = ["https://hooks.example.com"]
    for name in ("row_samples", "captures"):
        monkeypatch.setattr(replica.runtime, name, {})
    found = ready_version(classifier(0), tmp_path)
    ModelVersion.objects.update(sample=SAMPLE)
    services.activate(found, by="ann")
    replica.runtime.swap(replace(load(classifier(0), number=1), version_id=found.pk))
    return found


@pytest.fixture
def worker(version, recorder):  # noqa: F811
    """Return a function that makes a worker of this name."""
    return lambda name="r1": Worker(name, recorder)


def page_text(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def drift():
    found = Caller("view_registeredmodel").get("/api/models/m/drift?window=24h").json()
    return found["versions"][0]


def feature(found, name):
    (column,) = [item for item in found["features"] if item["name"] == name]
    return column


def histogram(version, index, values):
    column = FeatureBins.objects.get(version=version).columns[index]
    return np.histogram(values, [-np.inf, *column["edges"], np.inf])[0]


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


def test_page_says_that_it_is_from_windows(version, worker, look):  # noqa: F811
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


# The reference of last resort

MANY = np.random.default_rng(4).normal(0, 5, (1_200, 2)).round(3)


@pytest.mark.parametrize("percent", [0, 100])
def test_first_rows_served_become_the_reference(percent, version, worker):
    ModelVersion.objects.update(sample=None)
    services.set_capture(version.model, by="ann", percent=percent)
    one = worker()
    one.send(MANY)
    assert (FeatureBins.objects.get().source, FeatureBins.objects.get().rows) == ("served", 1_000)
    expected = histogram(version, 1, MANY[:1_000, 1])
    assert FeatureBins.objects.get().columns[1]["reference"] == [*expected, 0]
    one.send(SHIFTED)
    one.report()
    found = drift()
    assert (found["basis"], found["reference"]) == ("windows", {"source": "served", "rows": 1_000})
    assert [(feature(found, name)["verdict"]) for name in ("x0", "x1")] == ["stable", "drifted"]


@pytest.mark.parametrize("column", ["x1", {"column": "x1", "hash": True}])
def test_columns_that_the_log_keeps_back_have_no_bins(column, version, worker):
    ModelVersion.objects.update(sample=None)
    services.set_capture(version.model, by="ann", exclude=[column])
    worker().send(MANY)
    assert [item["name"] for item in FeatureBins.objects.get().columns] == ["x0", ""]
    assert feature(drift(), "x1")["verdict"] == "not compared"


@pytest.mark.parametrize("has_sample", [False, True])
def test_columns_that_are_kept_back_later_are_not_shown(has_sample, version, worker):
    if not has_sample:
        ModelVersion.objects.update(sample=None)
    one = worker()
    one.send(MANY)
    services.set_capture(version.model, by="ann", exclude=["x1"])
    assert FeatureBins.objects.exists() == has_sample
    one.send(MANY)
    one.report()
    verdicts = {item["name"]: item["verdict"] for item in drift()["features"]}
    assert verdicts == (
        {"x0": "stable", "x1": "not compared"} if has_sample else dict.fromkeys(verdicts, "too few rows")
    )


def test_version_that_waits_for_another_check_has_no_bins(version, worker):
    one = worker()
    one.send(SHIFTED)
    one.report()
    ModelVersion.objects.update(state="rejected", reason="It is broken.")
    services.recheck(version, by="ann")
    assert not FeatureBins.objects.exists()
    assert drift()["rows"] == 0


def test_drift_of_a_check_long_ago_is_not_told(version, worker):
    one = worker()
    one.send(SHIFTED)
    one.report()
    services.check_drift_next()
    assert services.drifted_columns([version.pk]) == {version.pk: ["x1", "predictions"]}
    DriftCheck.objects.update(checked_at=timezone.now() - timedelta(days=1))
    assert services.drifted_columns([version.pk]) == {}


def test_first_worker_decides_on_the_reference(version, worker):
    ModelVersion.objects.update(sample=None)
    workers = [worker("r1"), worker("r2")]
    workers[0].send(MANY)
    workers[1].send(MANY + 100)
    record = FeatureBins.objects.get()
    assert record.columns[0]["edges"][0] == MANY[:1_000, 0].min()
    workers[1].send(SHIFTED)
    workers[1].report()
    assert UsageWindow.objects.get().features["bins"] == record.pk


def test_reference_that_comes_later_replaces_the_first_rows(version, worker):
    ModelVersion.objects.update(sample=None)
    worker().send(MANY)
    ModelVersion.objects.update(sample={"instances": SHIFTED.tolist(), "predictions": ["no"] * 300})
    services.prepare_bins([version.pk])
    assert FeatureBins.objects.get().source == "served"
    store_bins(ModelVersion.objects.get())
    assert FeatureBins.objects.get().source == "sample"


def test_page_marks_the_first_rows_as_such(version, worker, look):  # noqa: F811
    ModelVersion.objects.update(sample=None)
    one = worker()
    one.send(MANY)
    assert "The reference is the first 1000 rows that one worker served" in page_text(look("drift"))


# Bounds


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
    grown = {key[2]: count - before.get(key, 0) for key, count in replica.runtime.counted_rows.items()}
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


def test_counts_in_other_bins_are_not_compared(version, worker):
    one = worker()
    one.send(SHIFTED)
    one.report()
    FeatureBins.objects.all().delete()
    services.prepare_bins([version.pk])
    assert drift()["rows"] == 0


# Faults of one version, and of the database


@pytest.fixture
def other(version, tmp_path, load):
    """Return a second version that is loaded; its own reference has lost its rows."""
    found = ready_version(classifier(1), tmp_path, "other")
    ModelVersion.objects.filter(pk=found.pk).update(sample=None, reference={"name": "train.csv"})
    replica.runtime.swap(replace(load(classifier(1), "other"), version_id=found.pk))
    return found


def events(logs):
    return [(line["event"], line["model"], line["version"]) for line in logs if line["log_level"] == "error"]


def test_version_whose_bins_fail_is_logged_once(version, other, worker):
    with capture_logs() as logs:
        one = worker()
        one.send(SHIFTED)
    assert events(logs) == [("bins_not_stored", "other", 1)]
    one.report()
    assert UsageWindow.objects.get().features["rows"] == 300


def test_first_rows_that_fail_keep_no_others_back(version, other, worker, monkeypatch):
    ModelVersion.objects.update(sample=None, reference=None)
    keep = services.keep_first_rows

    def refuse(pk, *args):
        if pk == version.pk:
            raise DataError("unsupported Unicode escape sequence")
        return keep(pk, *args)

    monkeypatch.setattr(services, "keep_first_rows", refuse)
    one = worker()
    one.counter.step()
    labels = classifier(1).predict(MANY)
    with capture_logs() as logs:
        for start in range(0, len(MANY), BATCH):
            for pk in (version.pk, other.pk):
                replica.runtime.row_samples[pk].offer(MANY[start : start + BATCH], labels[start : start + BATCH], BATCH)
            one.counter.step()
    assert events(logs) == [("first_rows_not_kept", "m", 1)]
    assert [item.version_id for item in FeatureBins.objects.all()] == [other.pk]


def test_rows_that_wait_for_bins_are_bounded(load):
    item = Counted(load(classifier(0)), RowSample(1))
    for _ in range(20):
        item.keep_first(ROWS, classifier(0).predict(ROWS))
    assert sum(len(rows) for rows, _ in item.first) == item.first_rows == FIRST_ROWS


def test_unloaded_version_goes_while_the_database_is_away(version, other, worker, monkeypatch):
    def refuse(_):
        raise OperationalError("server closed the connection")

    one = worker()
    replica.runtime.drop("other")
    one.counter.step()
    replica.runtime.swap(replace(replica.runtime.snapshot.models["m"], name="later", version_id=other.pk, generation=2))
    replica.runtime.drop("m")
    with monkeypatch.context() as patched, pytest.raises(OperationalError):
        patched.setattr(services, "prepare_bins", refuse)
        one.counter.step()
    assert set(replica.runtime.row_samples) == {other.pk}
    ModelVersion.objects.filter(pk=other.pk).update(reference=None, sample=SAMPLE)
    one.counter.step()
    assert FeatureBins.objects.filter(version=other).exists()


def look_again(one):
    for _ in range(STEPS_PER_LOOK):
        one.counter.step()


def test_deleted_bins_are_fixed_anew(version, worker):
    ModelVersion.objects.update(sample=None)
    one = worker()
    one.send(MANY)
    services.set_capture(version.model, by="ann", exclude=["x1"])
    look_again(one)
    one.send(MANY)
    assert [item["name"] for item in FeatureBins.objects.get().columns] == ["x0", ""]


def test_replaced_bins_are_taken_at_the_next_look(version, worker, django_assert_num_queries):
    one = worker()
    one.send(SHIFTED)
    ModelVersion.objects.update(sample={"instances": SHIFTED.tolist(), "predictions": ["no"] * 300})
    store_bins(ModelVersion.objects.get())
    look_again(one)
    with django_assert_num_queries(1):
        look_again(one)
    one.send(ROWS)
    one.report()
    window = UsageWindow.objects.get().features
    assert (window["bins"], window["rows"]) == (FeatureBins.objects.get().pk, 300)


def test_rows_that_cannot_be_counted_leave_the_usage_whole(version, worker):
    one = worker()
    one.send(SHIFTED)
    replica.runtime.row_samples[version.pk].offer(np.zeros((5, 1)), np.array(["no"] * 5), 5)
    with capture_logs() as logs:
        one.report()
    assert events(logs) == [("rows_not_counted", "m", 1)]
    one.send(SHIFTED)
    one.report()
    windows = UsageWindow.objects.order_by("starts_at")
    assert [(window.rows, window.features["rows"]) for window in windows] == [(300, 300), (300, 300)]
