"""The reconciler after changes of bytes, generations and candidates, and while the database is unavailable."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from models_registry import services
from models_registry.agent.failures import pause_limit
from models_registry.inference.batching import run_blocking
from models_registry.models import ModelVersion, RegisteredModel, ReplicaModel
from tests.agent.reconciling import (
    activate,
    new_reconciler,
    no_table,
    publish,
    served,
)
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


def test_unwritable_database_keeps_no_model_from_loading(reconciler, storage_directory):
    publish(storage_directory, 1)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                "CREATE TRIGGER takes_nothing BEFORE INSERT ON models_registry_replica "
                "BEGIN SELECT RAISE(ABORT, 'read-only'); END"
            )
        else:
            cursor.execute("ALTER TABLE models_registry_replica RENAME TO models_registry_replica_away")
    try:
        activate(1)
        reconciler.start(wait_seconds=20)
        eventually(lambda: served(reconciler) == 1)
        assert not reconciler.runtime.snapshot.problems
    finally:
        reconciler.stop()
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute("DROP TRIGGER takes_nothing")
            else:
                cursor.execute("ALTER TABLE models_registry_replica_away RENAME TO models_registry_replica")


def put_back(number: int, *, bytes_of: int, generation: int = 1) -> None:
    """Put the registry into another state, as a restored backup does: the same id and number, other bytes."""
    other = ModelVersion.objects.get(model__name="m", number=bytes_of)
    pinned = {"storage_version": f"{other.storage_version}"}
    ModelVersion.objects.filter(pk=other.pk).update(storage_version="elsewhere")
    restored = ModelVersion.objects.filter(model__name="m", number=number)
    restored.update(storage_key=other.storage_key, digest=other.digest, size_bytes=other.size_bytes, **pinned)
    RegisteredModel.objects.filter(name="m").update(generation=generation, active_version=restored.get())


def answered(reconciler) -> float | None:
    """Return what the loaded version answers."""
    loaded = reconciler.runtime.snapshot.models.get("m")
    return float(run_blocking(loaded.predictor.predict([[0.0, 0.0]], 1)).predictions()[0]) if loaded else None


@pytest.mark.parametrize("generation", [1, 2])
def test_other_bytes_under_the_same_number_are_loaded(reconciler, storage_directory, generation):
    for number in (1, 2, 3):
        publish(storage_directory, number)
    activate(1)
    if generation == 2:
        activate(2)
    reconciler.start(wait_seconds=20)
    assert answered(reconciler) == generation
    put_back(generation, bytes_of=3, generation=generation)
    eventually(lambda: answered(reconciler) == 3)
    assert served(reconciler) == generation
    eventually(lambda: services.rollout(services.get_model("m")).is_complete)


def test_a_generation_that_goes_backwards_is_followed(reconciler, storage_directory):
    for number in (1, 2):
        publish(storage_directory, number)
    for number in (1, 2, 1, 2):
        activate(number)
    reconciler.start(wait_seconds=20)
    assert answered(reconciler) == 2
    put_back(1, bytes_of=1, generation=1)
    eventually(lambda: answered(reconciler) == 1)
    eventually(lambda: services.rollout(services.get_model("m")).is_complete)
    assert services.rollout(services.get_model("m")).generation == 1


def test_other_bytes_that_cannot_be_had_are_no_success(reconciler, storage, storage_directory):
    for number in (1, 2):
        publish(storage_directory, number)
    activate(1)
    reconciler.start(wait_seconds=20)
    eventually(lambda: services.rollout(services.get_model("m")).is_complete)
    storage.denied.add("m")
    put_back(1, bytes_of=2)
    eventually(lambda: services.rollout(services.get_model("m")).failed)
    assert answered(reconciler) == 1
    assert not services.rollout(services.get_model("m")).is_complete


def test_a_failure_is_not_held_against_other_bytes(reconciler, storage, storage_directory):
    for number in (1, 2):
        publish(storage_directory, number)
    activate(1)
    (storage_directory / "m" / "1.joblib").write_bytes(b"changed")
    for kept in (storage_directory / ".versions").rglob("*"):
        if kept.is_file() and "1.joblib" in str(kept):
            kept.write_bytes(b"changed")
    reconciler.start(wait_seconds=20)
    for _ in range(5):
        eventually(lambda: services.rollout(services.get_model("m")).failed)
    put_back(1, bytes_of=2)
    eventually(lambda: answered(reconciler) == 2)


def test_a_bytewise_rollback_reloads_nothing(reconciler, preparation, storage_directory):
    publish(storage_directory, 1)
    activate(1)
    reconciler.start(wait_seconds=20)
    RegisteredModel.objects.filter(name="m").update(generation=9)
    eventually(lambda: services.rollout(services.get_model("m")).is_complete)
    assert reconciler.runtime.snapshot.models["m"].generation == 9
    assert preparation.opened == ["m"]


def test_reports_that_a_restore_took_back_are_made_again(reconciler, storage_directory, monkeypatch):
    monkeypatch.setattr("models_registry.agent.reporting.REPORT_AGAIN_SECONDS", 0.2)
    publish(storage_directory, 1)
    activate(1)
    reconciler.start(wait_seconds=20)
    eventually(lambda: services.rollout(services.get_model("m")).is_complete)
    ReplicaModel.objects.update(state="loading", serving_version=None, generation=0)
    eventually(lambda: services.rollout(services.get_model("m")).is_complete)


@pytest.mark.parametrize(
    ("serves_another", "load_seconds", "expected"), [(True, 0, 300), (True, 60, 300), (False, 0, 5), (False, 20, 80)]
)
def test_what_is_missing_is_tried_again_soon(serves_another, load_seconds, expected):
    assert pause_limit(serves_another=serves_another, load_seconds=load_seconds) == expected


def canary(number: int, percent: float = 50, name: str = "m") -> None:
    services.start_canary(services.get_version(services.get_model(name), number), percent=percent, by="x")


def beside(reconciler) -> list[int]:
    return [loaded.number for loaded in reconciler.runtime.snapshot.others.values()]


@pytest.fixture
def candidate(reconciler, storage_directory):
    """A replica that serves version 1, with version 2 loaded as its candidate."""
    publish(storage_directory, 2, "m")
    publish(storage_directory, 1, "m")
    activate(2)  # numbered in the order found
    canary(1)
    reconciler.start(wait_seconds=20)
    return reconciler


def test_a_candidate_is_loaded_beside_the_active_version(candidate):
    assert (served(candidate), beside(candidate)) == (2, [1])
    assert candidate.runtime.snapshot.splits == {}
    eventually(lambda: services.open_traffic())
    eventually(lambda: candidate.runtime.snapshot.splits)
    assert {
        candidate.runtime.snapshot.route(candidate.runtime.snapshot.models["m"], str(key)).number for key in range(20)
    } == {1, 2}


def test_a_promoted_candidate_needs_no_load(candidate, preparation):
    loads = list(preparation.opened)
    services.promote(services.get_model("m"), by="x")
    eventually(lambda: served(candidate) == 1)
    eventually(lambda: services.rollout(services.get_model("m")).is_complete)
    assert (beside(candidate), preparation.opened) == ([], loads)


def test_an_ended_candidate_is_put_down(candidate):
    services.end_canary(services.get_model("m"), by="x")
    eventually(lambda: beside(candidate) == [])
    assert served(candidate) == 2


def test_a_candidate_that_cannot_load_harms_nothing(reconciler, storage, storage_directory):
    for number in (1, 2):
        publish(storage_directory, number)
    activate(1)
    storage.denied.add("m")
    reconciler.start(wait_seconds=0)
    storage.denied.clear()
    eventually(lambda: served(reconciler) == 1)
    storage.denied.add("m")
    canary(2)
    (told,) = eventually(
        lambda: [
            item
            for item in services.candidate_replicas(services.require_canary(services.get_model("m")))
            if item.state == "failed"
        ]
    )
    assert told.reason == "Access is denied."
    assert (services.open_traffic(), served(reconciler)) == ([], 1)
    assert not reconciler.runtime.snapshot.missing()
    assert services.rollout(services.get_model("m")).is_complete


def test_a_new_worker_waits_for_its_candidate(candidate, preparation, storage, tmp_path):
    preparation.gates["m"] = threading.Event()
    new = new_reconciler(storage, preparation, tmp_path / "new")
    try:
        new.start(wait_seconds=0)
        eventually(lambda: new.runtime.snapshot.awaited)
        assert not new.runtime.snapshot.was_ready
        preparation.gates["m"].set()
        eventually(lambda: new.runtime.snapshot.was_ready)
        assert beside(new) == [1]
    finally:
        preparation.gates["m"].set()
        new.stop()


def test_worker_without_a_database_keeps_the_split(candidate, storage, preparation, tmp_path):
    eventually(lambda: services.open_traffic())
    eventually(lambda: candidate.runtime.snapshot.splits)
    split = candidate.runtime.snapshot.splits["m"]
    new = new_reconciler(storage, preparation, tmp_path)
    try:
        with no_table("models_registry_registeredmodel"):
            new.start(wait_seconds=20)
            assert new.runtime.snapshot.splits == {"m": split}
            assert (served(new), beside(new)) == (2, [1])
    finally:
        new.stop()
