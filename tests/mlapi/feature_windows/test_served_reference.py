"""The reference of last resort: without a sample, the first rows that were served."""

from __future__ import annotations

import pytest

from models_registry import services
from models_registry.agent.feature_counter import Counted
from models_registry.inference.served_rows import RowSample
from models_registry.models import FeatureBins, ModelVersion, UsageWindow
from models_registry.services.feature_bins import FIRST_ROWS, store_bins
from tests.mlapi.feature_windows.counting import (
    MANY,
    ROWS,
    SHIFTED,
    drift,
    feature,
    histogram,
    page_text,
)
from tests.monitoring.test_replay import classifier

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("storage_directory")]


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


def test_page_marks_the_first_rows_as_such(version, worker, look):
    ModelVersion.objects.update(sample=None)
    one = worker()
    one.send(MANY)
    assert "The reference is the first 1000 rows that one worker served" in page_text(look("drift"))


def test_rows_that_wait_for_bins_are_bounded(load):
    item = Counted(load(classifier(0)), RowSample(1))
    for _ in range(20):
        item.keep_first(ROWS, classifier(0).predict(ROWS))
    assert sum(len(rows) for rows, _ in item.first) == item.first_rows == FIRST_ROWS
