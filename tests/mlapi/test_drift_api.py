"""Drift through the API: from requests to the verdict by feature."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from mlapi.http import process
from mlapi.http.application import Application
from models_registry import services
from models_registry.agent.maintenance import DRIFT_LOOK_SECONDS, MaintenanceLoop
from models_registry.models import DriftCheck, ModelVersion, ReferenceRows, WebhookDelivery
from models_registry.services.drift_watch import PAUSE
from tests.mlapi.test_api import Caller
from tests.mlapi.test_logged_rows import log  # noqa: F401
from tests.monitoring.test_replay import classifier
from tests.support.asgi import AsgiClient
from tests.support.registry import ready_version

pytestmark = pytest.mark.django_db

ROWS = np.random.default_rng(2).normal(0, 5, (300, 2)).round(3).tolist()


@pytest.fixture
def served(log, tmp_path, load):  # noqa: F811
    """Return a function that logs rows of a version whose sample is ROWS."""
    version = ready_version(classifier(0), tmp_path)
    type(version).objects.update(sample={"instances": ROWS, "predictions": classifier(0).predict(ROWS).tolist()})
    services.activate(version, by="ann")
    services.set_capture(version.model, by="ann", percent=100)
    load(classifier(0), number=1)

    def send(rows):
        AsgiClient(Application(process.pipeline, None)).post("/predict", {"instances": rows})
        log.writer.finish()
        return version.model

    return send


@pytest.fixture
def events(settings):
    """Return a function that looks at all models once, and returns the data of the events recorded until then."""
    settings.MODELS_WEBHOOK_URLS = ["https://hooks.example.com"]

    def look():
        DriftCheck.objects.update(checked_at=timezone.now() - PAUSE)
        assert services.check_drift_next()
        assert not services.check_drift_next()
        found = WebhookDelivery.objects.filter(kind="drift.detected").order_by("pk")
        return [json.loads(item.body)["data"] for item in found]

    return look


def drift(query: str = "window=24h"):
    return Caller("view_registeredmodel").get(f"/api/models/m/drift?{query}").json()


def verdicts(version) -> dict[str, str]:
    return {item["name"]: item["verdict"] for item in version["features"]}


def test_shifted_feature_has_drifted(served):
    served([[first, second + 10] for first, second in ROWS])
    (found,) = drift()["versions"]
    assert (found["version"], found["rows"], found["verdict"]) == (1, 300, "drifted")
    assert found["reference"] == {"source": "sample", "rows": 300}
    assert verdicts(found) == {"x1": "drifted", "x0": "stable"}
    assert found["features"][0]["effect_size"] == pytest.approx(10 / np.std([row[1] for row in ROWS]))


def test_published_reference_goes_before_the_sample(served):
    version = services.get_model("m").active_version
    ModelVersion.objects.filter(pk=version.pk).update(reference={"name": "train.csv", "rows": 5_000})
    moved = [[first, second + 10] for first, second in ROWS]
    ReferenceRows.objects.create(version=version, instances=moved, predictions=["a"] * 300)
    served(ROWS)
    (found,) = drift()["versions"]
    assert found["reference"] == {"source": "train.csv", "rows": 5_000}
    assert verdicts(found) == {"x1": "drifted", "x0": "stable"}
    assert found["predictions"]["verdict"] == "drifted"


def test_same_rows_are_stable(served):
    served(ROWS)
    (found,) = drift()["versions"]
    assert (found["verdict"], found["predictions"]["verdict"], found["predictions"]["effect_size"]) == (
        "stable",
        "stable",
        0,
    )


def test_few_rows_raise_no_alarm(served):
    served([[100, 100]] * 50)
    (found,) = drift()["versions"]
    assert (found["verdict"], set(verdicts(found).values())) == ("too few rows", {"too few rows"})


def test_rows_before_the_window_are_left_out(served):
    model = served(ROWS)
    (found,) = services.drift_report(model, timedelta(0))["versions"]
    assert (found["rows"], found["verdict"]) == (0, "too few rows")


@pytest.mark.parametrize("column", ["x1", {"column": "x1", "hash": True}])
def test_columns_that_are_not_kept_are_not_compared(column, served):
    from mlapi import replica
    from models_registry.services.captures import read_captures

    model = services.get_model("m")
    services.set_capture(model, by="ann", exclude=[column])
    replica.runtime.captures = read_captures()
    served(ROWS)
    (found,) = drift()["versions"]
    assert verdicts(found) == {"x0": "stable", "x1": "not compared"}


def test_model_without_log_says_what_to_turn_on(served):
    services.set_capture(services.get_model("m"), by="ann", percent=0)
    found = drift()
    assert (found["state"], "capture_percent" in found["note"]) == ("not captured", True)


@pytest.mark.parametrize(("query", "status"), [("window=30d", 200), ("window=2h", 400), ("", 200)])
def test_unknown_window_is_refused(query, status, served):
    assert Caller("view_registeredmodel").get(f"/api/models/m/drift?{query}").status_code == status


def test_drift_needs_permission_to_view(served):
    assert Caller("activate_modelversion").get("/api/models/m/drift").status_code == 403


SHIFTED = [[first, second + 10] for first, second in ROWS]


def test_drift_is_told_once(served, events):
    served(SHIFTED)
    (told,) = events()
    assert (told["model"], told["version"], told["features"]) == ("m", 1, ["x1"])
    assert events() == [told]


def test_drift_that_returns_is_told_again(served, events):
    served(SHIFTED)
    events()
    DriftCheck.objects.update(features=[], predictions=False)
    assert len(events()) == 2


def test_few_rows_do_not_end_a_drift(served, events):
    served([[0, 0]])
    DriftCheck.objects.create(version=services.get_model("m").active_version, features=["x1"])
    assert events() == []
    assert DriftCheck.objects.get().features == ["x1"]


def test_stable_rows_end_a_drift(served, events):
    served(ROWS)
    DriftCheck.objects.create(version=services.get_model("m").active_version, features=["x1"], predictions=True)
    assert events() == []
    assert (DriftCheck.objects.get().features, DriftCheck.objects.get().predictions) == ([], False)


def test_model_without_log_is_not_looked_at(served):
    services.set_capture(services.get_model("m"), by="ann", percent=0)
    assert not services.check_drift_next()


def raise_fault() -> bool:
    raise ValueError("a row that no report takes")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("task", "lease", "seconds"),
    [("check_drift_next", "drift", DRIFT_LOOK_SECONDS), ("discover", "discovery", 60), ("follow_mlflow", "mlflow", 60)],
)
def test_failed_task_keeps_its_lease_no_longer(task, lease, seconds, monkeypatch, settings):
    settings.MODELS_MLFLOW_URI = "http://127.0.0.1:1"
    monkeypatch.setattr(services, "discover", services.DiscoveryResult)
    monkeypatch.setattr(services, "follow_mlflow", lambda: [])
    monkeypatch.setattr(services, task, raise_fault)
    with pytest.raises(ValueError, match="no report takes"):
        MaintenanceLoop(holder="x", discovery_seconds=60, look_seconds=60).tend()
    assert services.seconds_to_next_lease([lease]) <= seconds


def test_maintenance_looks_for_drift(served):
    served(SHIFTED)
    MaintenanceLoop(holder="x", discovery_seconds=60, look_seconds=60).tend()
    assert DriftCheck.objects.get().features == ["x1"]


def test_damaged_file_of_the_log_is_named(served, log, events):  # noqa: F811
    served(SHIFTED)
    (path,) = log.directory.rglob("*.parquet")
    path.write_bytes(b"PAR1")
    answer = Caller("view_registeredmodel").get("/api/models/m/drift")
    assert (answer.status_code, path.name in answer.json()["error"]) == (503, True)
    assert events() == []
