"""What the counter of features does when bins are deleted, replaced or fail, and while the database is away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from django.db import DataError, OperationalError
from structlog.testing import capture_logs

from mlapi import replica
from models_registry import services
from models_registry.models import FeatureBins, ModelVersion, UsageWindow
from models_registry.services.feature_bins import store_bins
from tests.mlapi.feature_windows.counting import (
    BATCH,
    MANY,
    ROWS,
    SAMPLE,
    SHIFTED,
    drift,
    events,
    look_again,
)
from tests.monitoring.test_replay import classifier
from tests.support.registry import ready_version

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("storage_directory")]


@pytest.fixture
def other(version, tmp_path, load):
    """Return a second version that is loaded; its own reference has lost its rows."""
    found = ready_version(classifier(1), tmp_path, "other")
    ModelVersion.objects.filter(pk=found.pk).update(sample=None, reference={"name": "train.csv"})
    replica.runtime.swap(replace(load(classifier(1), "other"), version_id=found.pk))
    return found


def test_version_that_waits_for_another_check_has_no_bins(version, worker):
    one = worker()
    one.send(SHIFTED)
    one.report()
    ModelVersion.objects.update(state="rejected", reason="It is broken.")
    services.recheck(version, by="ann")
    assert not FeatureBins.objects.exists()
    assert drift()["rows"] == 0


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
