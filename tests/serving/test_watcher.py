"""The watcher against a real registry: what it loads, what it need not, and that it is heard of meanwhile."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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


class HangingStorage(VersionedFileSystemStorage):
    """A storage that delivers a model's bytes when it is let."""

    def __init__(self, **given) -> None:
        super().__init__(**given)
        self.asked: list[str] = []
        self.held: dict[str, threading.Event] = {}

    def hold(self, name: str) -> None:
        self.held[name] = threading.Event()

    def let(self, name: str) -> None:
        self.held.pop(name).set()

    def copy_version(self, key, version_id, target) -> None:
        name = key.partition("/")[0]
        self.asked.append(name)
        if name in self.held:
            assert self.held[name].wait(30)
        super().copy_version(key, version_id, target)


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


def test_a_replica_is_heard_of_while_it_loads(watcher, storage_directory, tmp_path):
    publish(storage_directory, 1)
    activate(1)
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a sibling that loads does
        watcher.start(wait_seconds=0)
        heard = set()
        eventually(lambda: heard.update(Replica.objects.values_list("heartbeat_at", flat=True)) or len(heard) >= 3)
        assert served(watcher) is None
    eventually(lambda: served(watcher) == 1)


def test_a_rollback_to_what_is_in_memory_needs_no_storage(watcher, storage, storage_directory, tmp_path):
    for number in (1, 2):
        publish(storage_directory, number)
    activate(1)
    watcher.start(wait_seconds=20)
    assert served(watcher) == 1
    storage.hold("m")
    activate(2)
    eventually(lambda: services.rollout(services.get_model("m")).replicas[0].state == "loading")
    storage_directory.rename(tmp_path / "away")
    storage.let("m")
    eventually(lambda: services.rollout(services.get_model("m")).failed)
    assert served(watcher) == 1
    activate(1)
    eventually(lambda: services.rollout(services.get_model("m")).is_complete)
    assert watcher.runtime.board.models["m"].generation == 3
    assert conf.replica_timeout_seconds() >= 10


@pytest.fixture
def far(watcher, storage, storage_directory) -> str:
    """The name of a model whose version is wished for and does not come."""
    publish(storage_directory, 1, "far")
    activate(1, "far")
    storage.hold("far")
    watcher.start(wait_seconds=0)
    eventually(lambda: storage.asked == ["far"])
    return "far"


def test_a_fetch_that_hangs_delays_no_other_model(watcher, storage, storage_directory, far):
    publish(storage_directory, 2, "near")
    activate(1, "near")
    eventually(lambda: served(watcher, "near") == 1)
    assert served(watcher, far) is None
    assert services.rollout(services.get_model(far)).replicas[0].state == "loading"
    storage.let(far)
    eventually(lambda: served(watcher, far) == 1)


def test_a_newer_wish_does_not_wait_for_the_fetch_of_the_older(watcher, storage, storage_directory, tmp_path, far):
    held = storage.held.pop(far)
    publish(storage_directory, 2, far)
    activate(2, far)
    eventually(lambda: served(watcher, far) == 2)
    cache = ArtifactCache(tmp_path / "replica", max_bytes=0)
    assert len(cache.digests()) == 1
    held.set()
    eventually(lambda: len(cache.digests()) == 2, saying="the older is fetched to its end")
    eventually(lambda: cache.evict() or not cache.digests(), saying="and nothing keeps it")
    assert served(watcher, far) == 2


def test_a_wish_withdrawn_while_it_is_fetched_ends_with_nothing(watcher, storage, tmp_path, far):
    services.deactivate(services.get_model(far), by="x")
    eventually(lambda: far not in watcher.runtime.board.wished)
    storage.let(far)
    cache = ArtifactCache(tmp_path / "replica", max_bytes=0)
    eventually(cache.digests, saying="it comes all the same")
    eventually(lambda: cache.evict() or not cache.digests(), saying="and nothing keeps it")
    assert served(watcher, far) is None


def test_what_comes_while_the_database_is_away_serves(watcher, storage, far):
    with no_table("models_registry_registeredmodel"):
        storage.let(far)
        eventually(lambda: served(watcher, far) == 1)


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
