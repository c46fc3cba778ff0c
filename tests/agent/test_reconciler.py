"""The reconciler with a real registry: loads, versions that need no load, and reports during a load."""

from __future__ import annotations

import fcntl
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from models_registry import conf, services
from models_registry.agent.lookout import Lookout
from models_registry.agent.pending_loads import FETCHED_AT_ONCE
from models_registry.agent.periodic import JOIN_SECONDS
from models_registry.artifacts.cache import ArtifactCache
from models_registry.models import ModelVersion, Replica
from models_registry.storage import VersionedFileSystemStorage
from tests.agent.reconciling import (
    activate,
    new_reconciler,
    no_table,
    publish,
    served,
)
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


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


def serve(directory: Path, number: int, name: str, version: int = 1) -> None:
    """Publish and activate a version."""
    publish(directory, number, name)
    activate(version, name)


def test_replica_that_stops_waits_for_its_sign_off(reconciler, monkeypatch):
    is_unlocked, forget = threading.Event(), services.forget_replica

    def forget_after_a_lock(replica_id: str) -> None:
        assert is_unlocked.wait(20)
        forget(replica_id)

    monkeypatch.setattr(services, "forget_replica", forget_after_a_lock)
    reconciler.start(wait_seconds=20)
    assert Replica.objects.count() == 1
    # Another process holds the lock of the database for longer than other loops are waited for.
    threading.Timer(JOIN_SECONDS + 0.5, is_unlocked.set).start()
    reconciler.stop()
    assert Replica.objects.count() == 0


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


def test_a_replica_is_heard_of_during_a_slow_look(storage, preparation, tmp_path):
    lookout, asked, answered = Lookout(), threading.Event(), threading.Event()
    made = new_reconciler(storage, preparation, tmp_path, lookout=lookout)
    lookout.add(lambda: asked.set() or answered.wait(30), seconds=0.001)
    made.start(wait_seconds=20)
    try:
        assert asked.wait(20)
        heard = set()
        eventually(lambda: heard.update(Replica.objects.values_list("heartbeat_at", flat=True)) or len(heard) >= 3)
        assert not answered.is_set()
    finally:
        answered.set()
        made.stop()


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
