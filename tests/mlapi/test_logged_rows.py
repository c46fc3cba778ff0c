"""Reading the prediction log: the newest rows by version, and a replay over them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from mlapi import replica
from mlapi.http import process
from mlapi.http.application import Application
from models_registry import services
from models_registry.inference.capture import Capture, CaptureQueue
from models_registry.models import Replay
from models_registry.monitoring.log_reading import LogFilter
from models_registry.monitoring.usage import Usage, write_usage
from tests.mlapi.test_prediction_log import Log
from tests.monitoring.test_replay import ROWS as INPUTS
from tests.monitoring.test_replay import classifier, expected_changes
from tests.support.asgi import AsgiClient
from tests.support.registry import ready_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def log(storage_directory, tmp_path, monkeypatch, settings):
    """Return the log that the service of this process reads and writes."""
    monkeypatch.setattr(replica.runtime, "captured", CaptureQueue())
    monkeypatch.setattr(replica.runtime, "captures", {"m": Capture(100)})
    made = Log(tmp_path)
    settings.MODELS_LOG_STORAGE = made.directory.as_uri()
    return made


@pytest.fixture
def logged(log, tmp_path, load):
    """Return two versions, both of which have answered each row once, by request id."""
    versions = [ready_version(classifier(flip), tmp_path) for flip in (0, 4)]
    services.activate(versions[0], by="ann")
    services.set_capture(versions[0].model, by="ann", percent=100)
    client = AsgiClient(Application(process.pipeline, None))
    for number, flip in ((2, 4), (1, 0)):
        load(classifier(flip), number=number)
        client.post("/predict", {"instances": INPUTS}, **{"X-Request-ID": f"of-{number}"})
        log.writer.finish()
    return versions


def test_newest_rows_come_first_and_are_filtered(logged):
    model = logged[0].model
    newest = services.logged_rows(model, LogFilter(), limit=5)
    assert [(row.request_id, row.row, row.version) for row in newest[:2]] == [("of-1", 0, 1), ("of-1", 1, 1)]
    assert newest[0].inputs == {"x0": -10.0, "x1": 10.0}
    assert len(newest) == 5
    yes = services.logged_rows(model, LogFilter(version=2, prediction="yes"), limit=50)
    assert {(row.version, row.prediction) for row in yes} == {(2, "yes")}
    assert len(yes) == int((classifier(4).predict(INPUTS) == "yes").sum())
    assert services.logged_rows(model, LogFilter(request_id="other"), limit=5) == []


def test_earlier_days_rows_are_found_by_usage(logged, log):
    (path,) = [path for path in log.directory.rglob("*.parquet") if "version=2" in path.parts]
    day = datetime.now(UTC) - timedelta(days=9)
    earlier = log.directory / f"m/version=2/date={day:%Y-%m-%d}/hour=03/{path.name}"
    earlier.parent.mkdir(parents=True)
    path.rename(earlier)
    model, wanted = logged[0].model, LogFilter(version=2)
    assert services.logged_rows(model, wanted, limit=500) == []
    write_usage("r1", day, {("m", 2): Usage(requests=1)})
    assert len(services.logged_rows(model, wanted, limit=500)) == len(INPUTS)


def test_replay_runs_over_the_log(logged):
    replay = services.run_replay(services.request_replay(services.ReplayRequest(logged[1], rows=20), by="ann"))
    content = services.replay_content(replay)
    assert (content["state"], content["source"], content["rows"]) == ("done", "log", 20)
    assert content["changed"] == expected_changes()
    assert services.replay_content(replay, may_view_log=False)["examples"] == []


def test_active_version_is_compared_with_its_logged_answers(logged):
    replay = services.run_replay(services.request_replay(services.ReplayRequest(logged[0], rows=20), by="ann"))
    content = services.replay_content(replay)
    assert (content["source"], content["compared_with"], content["changed"]) == ("log", None, 0)


def test_empty_log_gives_way_to_the_sample(logged, log):
    for path in log.directory.rglob("*.parquet"):
        path.unlink()
    model = logged[0].model
    model.versions.update(sample={"instances": INPUTS})
    logged[1].refresh_from_db()
    found = services.request_replay(services.ReplayRequest(logged[1]), by="ann")
    assert found.source == Replay.Source.SAMPLE


@pytest.mark.parametrize(("permission", "status"), [("view_predictionlog", 200), ("activate_modelversion", 403)])
def test_page_needs_its_permission(permission, status, logged):
    user = User.objects.create_user("ann", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_registeredmodel", permission]))
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    answer = client.get(f"/admin/models_registry/registeredmodel/{logged[0].model_id}/log/?version=2")
    assert answer.status_code == status
    if status == 200:
        page = answer.content.decode()
        assert "of-2" in page
        assert "of-1" not in page
