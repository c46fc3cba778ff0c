"""A reconciler of this process, with a storage and loads that a test holds back."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from django.db import connection

from models_registry import services
from models_registry.agent.load_queue import LoadQueue
from models_registry.agent.loader import Preparation
from models_registry.agent.reconciler import Reconciler
from models_registry.artifacts.cache import digest_of
from models_registry.artifacts.inference import infer_schema
from models_registry.errors import StorageDenied
from models_registry.inference.runtime import Runtime
from models_registry.models import ModelVersion, State
from models_registry.storage import VersionedFileSystemStorage
from tests.support.estimators import constant, save


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
            raise StorageDenied("Access is denied.")
        if name in self.held:
            assert self.held[name].wait(30)
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


def new_reconciler(storage, preparation, tmp_path, **more) -> Reconciler:
    return Reconciler(
        Runtime(),
        preparation=preparation,
        storage=storage,
        poll_seconds=0.1,
        default_model="",
        load_queue=LoadQueue(tmp_path / "lock", limit_seconds=60),
        memory_path=tmp_path / "desired_state.json",
        **more,
    )


def publish(directory: Path, number: int, name: str = "m") -> None:
    """Put a version into the storage as one that has passed its check, which would take seconds."""
    model = constant(number)
    path = save(model, directory / name / f"{number}.joblib")
    os.utime(path, (1_600_000_000, 1_600_000_000))  # one that is being written is left alone
    services.discover(only=name)
    ModelVersion.objects.filter(model__name=name, state=State.FOUND).update(
        state=State.READY, digest=digest_of(path), schema=infer_schema(model).to_json()
    )


def activate(number: int, name: str = "m") -> None:
    services.activate(services.get_version(services.get_model(name), number), by="x")


def served(reconciler, name: str = "m") -> int | None:
    loaded = reconciler.runtime.snapshot.models.get(name)
    return loaded.number if loaded else None
