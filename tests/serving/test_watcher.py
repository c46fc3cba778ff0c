"""The watcher against a real registry: what it loads, what it need not, and that it is heard of meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from django.db import connection

from models_registry import conf, services
from models_registry.artifacts.cache import ArtifactCache
from models_registry.models import Replica
from models_registry.serving.preparation import Preparation
from models_registry.serving.runtime import Runtime
from models_registry.serving.watcher import Watcher
from models_registry.storage import VersionedFileSystemStorage
from tests.support.estimators import constant, save
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


class SlowStorage(VersionedFileSystemStorage):
    """A storage that takes its time."""

    seconds = 0.0

    def copy_version(self, key, version_id, target) -> None:
        time.sleep(self.seconds)
        super().copy_version(key, version_id, target)


@pytest.fixture
def storage(storage_directory) -> SlowStorage:
    return SlowStorage(location=storage_directory)


@pytest.fixture
def watcher(storage, tmp_path):
    made = Watcher(
        Runtime(),
        preparation=Preparation(
            cache=ArtifactCache(tmp_path / "replica", max_bytes=10_000_000),
            deadline_seconds=20,
            compiled_directory=tmp_path / "compiled",
            accelerate=False,
        ),
        storage=storage,
        poll_seconds=0.1,
        default_model="",
        load_lock=tmp_path / "lock",
        memory_path=tmp_path / "wishes.json",
    )
    yield made
    made.stop()
    connection.close()


def publish(directory: Path, number: int, name: str = "m") -> None:
    path = save(constant(number), directory.parent / f"{number}.joblib")
    services.check_version(services.publish(name, path, by="x"), holder="x")


def activate(number: int, name: str = "m") -> None:
    services.activate(services.get_version(services.get_model(name), number), by="x")


def served(watcher, name: str = "m") -> int | None:
    loaded = watcher.runtime.board.models.get(name)
    return loaded.number if loaded else None


def test_a_replica_is_heard_of_while_it_loads(watcher, storage, storage_directory):
    publish(storage_directory, 1)
    storage.seconds = 5.0
    activate(1)
    watcher.start(wait_seconds=0)
    eventually(lambda: Replica.objects.filter(pk=watcher.replica_id).exists())
    heard = {Replica.objects.get(pk=watcher.replica_id).heartbeat_at}
    while served(watcher) is None and len(heard) < 20:
        heard.add(Replica.objects.get(pk=watcher.replica_id).heartbeat_at)
        time.sleep(0.2)
    assert len(heard) >= 3


def test_a_rollback_to_what_is_in_memory_needs_no_storage(watcher, storage, storage_directory, tmp_path):
    for number in (1, 2):
        publish(storage_directory, number)
    activate(1)
    watcher.start(wait_seconds=20)
    assert served(watcher) == 1
    storage_directory.rename(tmp_path / "away")
    activate(2)
    eventually(lambda: services.rollout(services.get_model("m")).failed)
    assert served(watcher) == 1
    activate(1)
    eventually(lambda: services.rollout(services.get_model("m")).is_complete)
    assert watcher.runtime.board.models["m"].generation == 3
    assert conf.replica_timeout_seconds() >= 10


def test_what_is_at_hand_does_not_wait_for_what_is_fetched(watcher, storage, storage_directory):
    for name, number in (("far", 1), ("near", 2)):
        publish(storage_directory, number, name)
        activate(1, name)
    services.deactivate(services.get_model("far"), by="x")
    watcher.start(wait_seconds=20)
    assert (served(watcher, "far"), served(watcher, "near")) == (None, 1)
    services.deactivate(services.get_model("near"), by="x")
    eventually(lambda: served(watcher, "near") is None)
    storage.seconds = 3.0
    for name in ("far", "near"):  # in the order of registration
        services.roll_back(services.get_model(name), by="x")
    eventually(lambda: served(watcher, "near") == 1, seconds=2.5)
    assert served(watcher, "far") is None
    eventually(lambda: served(watcher, "far") == 1)


def test_a_database_that_takes_no_report_keeps_no_model_from_loading(watcher, storage_directory):
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
        watcher.start(wait_seconds=20)
        eventually(lambda: served(watcher) == 1)
        assert not watcher.runtime.board.problems
    finally:
        watcher.stop()
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute("DROP TRIGGER takes_nothing")
            else:
                cursor.execute("ALTER TABLE models_registry_replica_away RENAME TO models_registry_replica")
