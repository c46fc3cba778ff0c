"""The reconciler against a real registry: what it loads, what it need not, and that it is heard of meanwhile."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from django.db import connection

from models_registry import conf, services
from models_registry.agent.failures import pause_limit
from models_registry.agent.load_queue import LoadQueue
from models_registry.agent.loader import Preparation
from models_registry.agent.pending_loads import FETCHED_AT_ONCE
from models_registry.agent.reconciler import Reconciler
from models_registry.artifacts.cache import ArtifactCache, digest_of
from models_registry.artifacts.inference import infer_schema
from models_registry.errors import StorageDenied
from models_registry.inference.batching import run_blocking
from models_registry.inference.runtime import Runtime
from models_registry.models import ModelVersion, RegisteredModel, Replica, ReplicaModel, State
from models_registry.storage import VersionedFileSystemStorage
from tests.support.estimators import constant, save
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


class HangingStorage(VersionedFileSystemStorage):
    """A storage that delivers a model's bytes when it is let."""

    def __init__(self, **given) -> None:
        super().__init__(**given)
        self.asked: list[str] = []
        self.held: dict[str, threading.Event] = {}
        self.denied: set[str] = set()

    def hold(self, name: str) -> None:
        self.held[name] = threading.Event()

    def let(self, name: str) -> None:
        self.held.pop(name).set()

    def copy_version(self, key, version_id, target) -> None:
        name = key.partition("/")[0]
        self.asked.append(name)
        if name in self.denied:
            raise StorageDenied("Nobody may read it.")
        if name in self.held:
            assert self.held[name].wait(30)
        super().copy_version(key, version_id, target)


class SharedLine(VersionedFileSystemStorage):
    """A storage behind a line that takes `seconds` for one artifact, and as much longer for several at once."""

    seconds = 0.4
    under_way = 0

    def copy_version(self, key, version_id, target) -> None:
        self.under_way += 1
        left = self.seconds
        while left > 0:
            time.sleep(0.01)
            left -= 0.01 / self.under_way
        self.under_way -= 1
        super().copy_version(key, version_id, target)


@dataclass(frozen=True, slots=True)
class GatedPreparation(Preparation):
    """Opens a model when it is let, and notes the order."""

    gates: dict[str, threading.Event] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)

    def prepare(self, version, details, artifact):
        self.opened.append(version.model)
        if version.model in self.gates:
            assert self.gates[version.model].wait(20)
        return Preparation.prepare(self, version, details, artifact)


@contextmanager
def no_table(name: str) -> Iterator[None]:
    """Have the database refuse every query of a table meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {name} RENAME TO {name}_away")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {name}_away RENAME TO {name}")


@pytest.fixture
def storage(storage_directory) -> HangingStorage:
    return HangingStorage(location=storage_directory)


@pytest.fixture
def preparation(tmp_path) -> GatedPreparation:
    return GatedPreparation(
        cache=ArtifactCache(tmp_path / "replica", max_bytes=10_000_000),
        deadline_seconds=20,
        compiled_directory=tmp_path / "compiled",
        accelerate=False,
    )


def new_reconciler(storage, preparation, tmp_path) -> Reconciler:
    return Reconciler(
        Runtime(),
        preparation=preparation,
        storage=storage,
        poll_seconds=0.1,
        default_model="",
        load_queue=LoadQueue(tmp_path / "lock", limit_seconds=60),
        memory_path=tmp_path / "desired_state.json",
    )


@pytest.fixture
def reconciler(storage, preparation, tmp_path):
    made = new_reconciler(storage, preparation, tmp_path)
    yield made
    made.stop()
    connection.close()


def publish(directory: Path, number: int, name: str = "m") -> None:
    """Put a version into the storage as one that has passed its check, which would take seconds."""
    model = constant(number)
    path = save(model, directory / name / f"{number}.joblib")
    os.utime(path, (1_600_000_000, 1_600_000_000))  # one that is being written is left alone
    services.discover(only=name)
    ModelVersion.objects.filter(model__name=name, state=State.FOUND).update(
        state=State.READY, digest=digest_of(path), schema=infer_schema(model).to_json()
    )


def serve(directory: Path, number: int, name: str, version: int = 1) -> None:
    """Publish and activate a version."""
    publish(directory, number, name)
    activate(version, name)


def activate(number: int, name: str = "m") -> None:
    services.activate(services.get_version(services.get_model(name), number), by="x")


def served(reconciler, name: str = "m") -> int | None:
    loaded = reconciler.runtime.snapshot.models.get(name)
    return loaded.number if loaded else None


def test_a_replica_is_heard_of_while_it_loads(reconciler, storage_directory, tmp_path):
    publish(storage_directory, 1)
    activate(1)
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a sibling that loads does
        reconciler.start(wait_seconds=0)
        heard = set()
        eventually(lambda: heard.update(Replica.objects.values_list("heartbeat_at", flat=True)) or len(heard) >= 3)
        assert served(reconciler) is None
    eventually(lambda: served(reconciler) == 1)


def test_rollback_to_a_loaded_version_needs_no_storage(reconciler, storage, storage_directory, tmp_path):
    for number in (1, 2):
        publish(storage_directory, number)
    activate(1)
    reconciler.start(wait_seconds=20)
    assert served(reconciler) == 1
    storage.hold("m")
    activate(2)
    eventually(lambda: services.rollout(services.get_model("m")).replicas[0].state == "loading")
    storage_directory.rename(tmp_path / "away")
    storage.let("m")
    eventually(lambda: services.rollout(services.get_model("m")).failed)
    assert served(reconciler) == 1
    activate(1)
    eventually(lambda: services.rollout(services.get_model("m")).is_complete)
    assert reconciler.runtime.snapshot.models["m"].generation == 3
    assert conf.replica_timeout_seconds() >= 10


@pytest.fixture
def far(reconciler, storage, storage_directory) -> str:
    """The name of a model whose version is desired and does not come."""
    publish(storage_directory, 1, "far")
    activate(1, "far")
    storage.hold("far")
    reconciler.start(wait_seconds=0)
    eventually(lambda: storage.asked == ["far"])
    return "far"


def test_a_fetch_that_hangs_delays_no_other_model(reconciler, storage, storage_directory, far):
    publish(storage_directory, 2, "near")
    activate(1, "near")
    eventually(lambda: served(reconciler, "near") == 1)
    assert served(reconciler, far) is None
    assert services.rollout(services.get_model(far)).replicas[0].state == "loading"
    storage.let(far)
    eventually(lambda: served(reconciler, far) == 1)


def test_newer_version_does_not_wait_for_an_older_download(reconciler, storage, storage_directory, tmp_path, far):
    held = storage.held.pop(far)
    publish(storage_directory, 2, far)
    activate(2, far)
    eventually(lambda: served(reconciler, far) == 2)
    cache = ArtifactCache(tmp_path / "replica", max_bytes=0)
    assert len(cache.digests()) == 1
    held.set()
    eventually(lambda: len(cache.digests()) == 2, saying="the older is fetched to its end")
    eventually(lambda: cache.evict() or not cache.digests(), saying="and nothing keeps it")
    assert served(reconciler, far) == 2


def test_version_withdrawn_while_downloading_is_dropped(reconciler, storage, tmp_path, far):
    services.deactivate(services.get_model(far), by="x")
    eventually(lambda: far not in reconciler.runtime.snapshot.desired)
    storage.let(far)
    cache = ArtifactCache(tmp_path / "replica", max_bytes=0)
    eventually(cache.digests, saying="it comes all the same")
    eventually(lambda: cache.evict() or not cache.digests(), saying="and nothing keeps it")
    assert served(reconciler, far) is None


def test_what_comes_while_the_database_is_away_serves(reconciler, storage, far):
    with no_table("models_registry_registeredmodel"):
        storage.let(far)
        eventually(lambda: served(reconciler, far) == 1)


def test_failed_load_is_retried_without_the_database(reconciler, storage, storage_directory):
    serve(storage_directory, 1, "m")
    storage.denied.add("m")
    reconciler.start(wait_seconds=20)
    assert reconciler.runtime.load_failures["m"] == 1
    with no_table("models_registry_registeredmodel"):
        storage.denied.clear()
        eventually(lambda: served(reconciler) == 1)


def test_what_is_at_hand_waits_for_no_fetch(reconciler, storage, storage_directory, tmp_path):
    for number in range(FETCHED_AT_ONCE + 1):
        serve(storage_directory, number, f"far{number}")
        storage.hold(f"far{number}")
    serve(storage_directory, 9, "near")
    near = ModelVersion.objects.get(model__name="near")
    cache = ArtifactCache(tmp_path / "replica", max_bytes=10_000_000)
    path = storage_directory / "near" / "9.joblib"
    cache.fetch(
        lambda target: target.write(path.read_bytes()), suffix=".joblib", digest=near.digest, deadline_seconds=5
    ).release()
    reconciler.start(wait_seconds=0)
    eventually(lambda: served(reconciler, "near") == 1)
    eventually(lambda: len(storage.asked) == FETCHED_AT_ONCE)
    for name in list(storage.held):
        storage.let(name)
    eventually(lambda: not reconciler.runtime.snapshot.missing())


def test_late_models_of_a_shared_queue_still_load(preparation, storage_directory, tmp_path):
    for number in range(FETCHED_AT_ONCE):
        serve(storage_directory, number, f"m{number}")
    line = SharedLine(location=storage_directory)
    reconciler = new_reconciler(line, replace(preparation, deadline_seconds=1.0), tmp_path)
    reconciler.start(wait_seconds=0)
    try:
        eventually(lambda: len(reconciler.runtime.load_failures) == FETCHED_AT_ONCE, saying="all at once are too late")
        eventually(lambda: reconciler.runtime.snapshot.models and not reconciler.runtime.snapshot.missing())
    finally:
        reconciler.stop()


def test_what_was_begun_first_is_loaded_first(reconciler, preparation, storage, storage_directory):
    for name in ("early", "late", "loading"):  # in the order of registration
        services.register_model(name)
        if name != "loading":
            storage.hold(name)
    preparation.gates["loading"] = threading.Event()
    reconciler.start(wait_seconds=0)
    serve(storage_directory, 1, "late")
    eventually(lambda: storage.asked == ["late"])
    serve(storage_directory, 2, "early")
    eventually(lambda: storage.asked == ["late", "early"])
    serve(storage_directory, 3, "loading")
    eventually(lambda: preparation.opened == ["loading"])
    for name in ("early", "late"):
        storage.let(name)
    eventually(lambda: all(fetching.has_ended for fetching in reconciler.pending.under_way.values()))
    preparation.gates["loading"].set()
    eventually(lambda: served(reconciler, "early") == served(reconciler, "late") == 1)
    assert preparation.opened == ["loading", "late", "early"]


def test_a_rollback_is_reported_before_the_next_load(reconciler, preparation, storage_directory):
    serve(storage_directory, 1, "m")
    reconciler.start(wait_seconds=20)
    preparation.gates.update(a=threading.Event(), b=threading.Event())
    serve(storage_directory, 3, "a")
    eventually(lambda: preparation.opened == ["m", "a"])
    serve(storage_directory, 4, "b")
    serve(storage_directory, 2, "m", version=2)
    activate(1, "m")
    preparation.gates["a"].set()
    eventually(lambda: preparation.opened == ["m", "a", "b"])
    assert services.rollout(services.get_model("m")).is_complete
    preparation.gates["b"].set()


def test_a_start_waits_for_no_second_attempt(reconciler, storage, storage_directory):
    for number, name in enumerate(("bad", "good")):
        serve(storage_directory, number, name)
    storage.denied.add("bad")
    storage.hold("good")
    starting = threading.Thread(target=reconciler.start, kwargs={"wait_seconds": 30})
    starting.start()
    eventually(lambda: reconciler.runtime.load_failures["bad"] == 1)
    storage.denied.clear()
    storage.hold("bad")
    eventually(lambda: storage.asked.count("bad") == 2)
    assert starting.is_alive(), "the good one is neither here nor has it failed"
    storage.let("good")
    starting.join(10)
    assert not starting.is_alive()
    assert (served(reconciler, "good"), served(reconciler, "bad")) == (1, None)
    storage.let("bad")


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


# A candidate beside the active version


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
            for item in services.candidate_replicas(services.running_canary(services.get_model("m")))
            if item.state == "failed"
        ]
    )
    assert told.reason == "Nobody may read it."
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
