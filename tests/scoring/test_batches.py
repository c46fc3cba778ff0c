"""Batches of the API: allowed places, whose turn it is, and one that a replica runs."""

from __future__ import annotations

from datetime import timedelta

import pytest
import requests
from django.core.management import call_command
from django.utils import timezone

from models_registry import services
from models_registry.errors import ScoringRefused
from models_registry.models import BatchJob, BatchState, ModelVersion, State
from models_registry.services.batches import MAX_ATTEMPTS, SILENT_SECONDS
from tests.mlapi.test_api import MAKE_TOKEN, Caller
from tests.scoring.conftest import COLUMNS, model, people
from tests.support.estimators import save
from tests.support.registry import version
from tests.support.tables import read_parquet, write_parquet
from tests.support.waiting import eventually


@pytest.fixture
def allowed(settings, tmp_path):
    settings.MODELS_BATCH_LOCATIONS = ["s3://bucket/batches", str(tmp_path / "open")]
    (tmp_path / "open").mkdir()
    return tmp_path / "open"


def start(source: str = "s3://bucket/batches/in", target: str = "s3://bucket/batches/out", **values) -> BatchJob:
    known = values.pop("version", None) or ModelVersion.objects.first() or version("m", 1)
    return services.start_batch(known, source=source, target=target, options={}, by="a program")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "place", ["s3://bucket/batches", "s3://bucket/batches/a.csv", "{open}/a.csv", "file://{open}/a"]
)
def test_a_place_inside_of_the_locations_is_taken(allowed, place):
    assert start(place.format(open=allowed)).state == BatchState.QUEUED


@pytest.mark.django_db
@pytest.mark.parametrize(
    "place",
    [
        "s3://bucket/batches-of-others/a.csv",
        "s3://other/batches/a.csv",
        "s3://bucket/batches/../a.csv",
        "/etc/passwd",
        "file:///etc/passwd",
        "{open}/../a.csv",
        "{open}-too/a.csv",
        "{open}/link/a.csv",
        "https://bucket/batches/a.csv",
    ],
)
def test_a_place_outside_of_the_locations_is_refused(allowed, place):
    (allowed / "link").symlink_to(allowed.parent)
    for places in ({"source": place.format(open=allowed)}, {"target": place.format(open=allowed)}):
        with pytest.raises(ScoringRefused, match="is outside of the places"):
            start(**places)


@pytest.mark.django_db
def test_without_locations_the_api_runs_no_batch(settings):
    settings.MODELS_BATCH_LOCATIONS = []
    with pytest.raises(ScoringRefused, match="MODELS_BATCH_LOCATIONS is empty"):
        start()


@pytest.mark.django_db
def test_only_a_ready_version_is_queued(allowed):
    with pytest.raises(ScoringRefused, match="Only a version that is ready may score"):
        start(version=version("m", 9, State.REJECTED))


@pytest.mark.django_db
def test_each_job_is_claimed_once_the_oldest_first(allowed):
    jobs = [start(), start()]
    assert [services.claim_batch("a"), services.claim_batch("b"), services.claim_batch("c")] == [*jobs, None]


@pytest.mark.django_db
def test_silent_job_is_retried_until_it_is_abandoned(allowed):
    job = start()
    first = services.claim_batch("a")
    for _ in range(MAX_ATTEMPTS - 1):
        silent_since = timezone.now() - timedelta(seconds=SILENT_SECONDS + 1)
        BatchJob.objects.update(heartbeat_at=silent_since)
        assert services.claim_batch("b") == job
    assert not services.report_batch(first, rows=1), "the first process finds that the job is another's"
    BatchJob.objects.update(heartbeat_at=silent_since)
    assert services.claim_batch("c") is None
    job.refresh_from_db()
    assert (job.state, job.reason) == (BatchState.FAILED, f"Its process ended {MAX_ATTEMPTS} times without a reason.")


@pytest.mark.django_db
def test_a_job_that_is_given_back_counts_no_attempt(allowed):
    start()
    services.release_batch(services.claim_batch("a"))
    assert services.claim_batch("b").attempts == 1


@pytest.mark.django_db
def test_a_cancelled_job_ends_at_its_next_report(allowed):
    job = start()
    running = services.claim_batch("a")
    assert services.cancel_batch(job)
    assert not services.cancel_batch(job)
    assert not services.report_batch(running, rows=5)
    assert BatchJob.objects.get().state == BatchState.CANCELLED


@pytest.mark.django_db
def test_a_job_that_fails_says_why(allowed, published):
    services.start_batch(published, source=str(allowed / "no.csv"), target=str(allowed / "out"), options={}, by="x")
    job = services.claim_batch("a")
    with pytest.raises(Exception, match="no file to score"):
        call_command("run_batch", job.pk)
    job.refresh_from_db()
    assert (job.state, "no file to score" in job.reason) == (BatchState.FAILED, True)


@pytest.mark.django_db
def test_the_api_starts_shows_and_cancels_a_batch(allowed):
    version("m", 1)
    caller = Caller("view_registeredmodel", "start_batchjob")
    asked = {"version": 1, "input": "s3://bucket/batches/in", "output": "s3://bucket/batches/out", "keep": ["id"]}
    made = caller.post("/api/models/m/batches", asked)
    assert made.status_code == 201, made.content
    assert (made.json()["state"], made.json()["options"]) == ("queued", {"keep": ["id"]})
    address = f"/api/models/m/batches/{made.json()['id']}"
    assert caller.get(address).json() == made.json()
    assert caller.get("/api/models/m/batches").json() == [made.json()]
    assert caller.delete(address).json()["state"] == "cancelled"
    assert caller.get("/api/models/m/batches/999").json()["code"] == "unknown_batch"
    refused = caller.post("/api/models/m/batches", {**asked, "input": "/etc/passwd"})
    assert (refused.status_code, refused.json()["code"]) == (400, "scoring_refused")
    assert Caller("view_registeredmodel", name="viewer").post("/api/models/m/batches", asked).status_code == 403


def test_a_replica_runs_a_batch(new_service, tmp_path):
    service = new_service(MODELS_BATCH_LOCATIONS=str(tmp_path))
    service.publish("churn", save(model(), tmp_path / "model.joblib"))
    headers = {"Authorization": f"Bearer {service.manage('shell', '-c', MAKE_TOKEN).stdout.split()[-1]}"}
    write_parquet(people(5000), tmp_path / "in.parquet")
    service.start()
    asked = {"version": 1, "input": str(tmp_path / "in.parquet"), "output": str(tmp_path / "out.parquet")}
    address = f"{service.url}/api/models/churn/batches"
    made = requests.post(address, json=asked, headers=headers, timeout=20)
    assert made.status_code == 201, made.text
    job = f"{address}/{made.json()['id']}"
    eventually(lambda: requests.get(job, headers=headers, timeout=20).json()["state"] in {"done", "failed"}, seconds=90)
    told = requests.get(job, headers=headers, timeout=20).json()
    assert (told["state"], told["rows"], told["reason"]) == ("done", 5000, None)
    found = read_parquet(tmp_path / "out.parquet")
    assert found["prediction"].tolist() == model().predict(people(5000)[COLUMNS]).tolist()
