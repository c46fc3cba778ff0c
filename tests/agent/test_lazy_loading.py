"""Models that load at their first request: loads, evictions and reports."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from django.db import connection
from django.template.loader import render_to_string

from models_registry import services
from models_registry.agent.load_queue import LoadQueue
from models_registry.agent.loader import Preparation
from models_registry.agent.reconciler import Reconciler
from models_registry.agent.residency import Residency
from models_registry.artifacts.cache import ArtifactCache, digest_of
from models_registry.artifacts.inference import infer_schema
from models_registry.errors import BrokenArtifact
from models_registry.inference.on_demand import OnDemand
from models_registry.inference.runtime import Runtime
from models_registry.management.base import describe_rollout
from models_registry.models import Activation, ModelVersion, ReplicaModel, State
from models_registry.storage import VersionedFileSystemStorage
from tests.agent.test_reconciler import no_table
from tests.support.estimators import constant, save
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class NotingPreparation(Preparation):
    """Notes which models are opened, holds those with a gate, and fails those that are broken."""

    opened: list[str] = field(default_factory=list)
    gates: dict[str, threading.Event] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    def prepare(self, version, details, artifact):
        self.opened.append(version.model)
        if version.model in self.gates:
            assert self.gates[version.model].wait(30)
        if version.model in self.broken:
            raise BrokenArtifact("It is broken.")
        return Preparation.prepare(self, version, details, artifact)


class Worker:
    """A reconciler that loads lazily, and requests for its models."""

    def __init__(
        self,
        tmp_path,
        storage_directory,
        *,
        pinned: frozenset[str] = frozenset(),
        max_mb: int = 0,
        broken: Iterable[str] = (),
    ) -> None:
        self.preparation = NotingPreparation(
            cache=ArtifactCache(tmp_path / "replica", max_bytes=10 * MB),
            deadline_seconds=20,
            compiled_directory=tmp_path / "compiled",
            accelerate=False,
            broken=set(broken),
        )
        self.runtime = Runtime()
        self.on_demand = OnDemand(wait_seconds=30)
        self.reconciler = Reconciler(
            self.runtime,
            preparation=self.preparation,
            storage=VersionedFileSystemStorage(location=storage_directory),
            poll_seconds=0.1,
            default_model="",
            load_queue=LoadQueue(tmp_path / "lock", limit_seconds=60),
            memory_path=tmp_path / "desired.sqlite3",
            residency=Residency(self.on_demand, pinned=pinned, max_bytes=max_mb * MB),
        )

    def ask(self, name: str) -> bool:
        """Ask for a model as a request does; return whether the wait for it ended in time."""
        self.on_demand.note_use(name)
        return not self.runtime.snapshot.is_loadable(name) or asyncio.run(self.on_demand.wait(name))

    @property
    def loaded(self) -> set[str]:
        return set(self.runtime.snapshot.models)


@pytest.fixture
def worker(tmp_path, storage_directory):
    """Return a function that starts a worker once models are active."""
    made: list[Worker] = []

    def start(**given) -> Worker:
        made.append(Worker(tmp_path, storage_directory, **given))
        made[-1].reconciler.start(wait_seconds=30)
        return made[-1]

    yield start
    for one in made:
        one.reconciler.stop()
    connection.close()


@pytest.fixture
def publish(storage_directory):
    """Return a function that stores a version whose memory is known, and returns it as ready."""

    def store(name: str, number: int = 1, *, mb: int = 10) -> ModelVersion:
        model = constant(number)
        path = save(model, storage_directory / name / f"{number}.joblib")
        os.utime(path, (1_600_000_000, 1_600_000_000))  # one that is being written is left alone
        services.discover(only=name)
        ModelVersion.objects.filter(model__name=name, state=State.FOUND).update(
            state=State.READY,
            digest=digest_of(path),
            schema=infer_schema(model).to_json(),
            report={"model_memory_bytes": mb * MB},
        )
        return services.get_version(services.get_model(name), number)

    return store


@pytest.fixture
def activate(publish):
    """Return a function that publishes and activates models."""

    def serve(*names: str, mb: int = 10, number: int = 1) -> None:
        for name in names:
            services.activate(publish(name, number, mb=mb), by="x")

    return serve


def rollout(name: str):
    return services.rollout(services.get_model(name))


def test_nothing_is_loaded_before_it_is_asked_for(worker, activate):
    activate("a", "b")
    one = worker()
    assert one.runtime.snapshot.was_ready
    assert one.runtime.snapshot.missing() == {}
    assert one.runtime.snapshot.unloaded() == {"a": 1, "b": 1}
    assert one.preparation.opened == []


def test_a_rollout_is_complete_where_a_model_is_unloaded(worker, activate):
    activate("a")
    worker()
    eventually(lambda: rollout("a").is_complete and rollout("a").live == 1)
    (replica,) = rollout("a").replicas
    assert (replica.state, replica.number, rollout("a").unloaded) == ("unloaded", None, 1)


def test_people_are_told_that_a_model_is_unloaded(worker, activate):
    activate("a")
    worker()
    eventually(lambda: rollout("a").unloaded == 1)
    model = services.get_model("a")
    sentence = "The running replica loads it at its next request."
    assert describe_rollout(model) == sentence
    context = {"rollout": rollout("a"), "activation": Activation.objects.get(model=model)}
    page = render_to_string("models_registry/admin/rollout.html", context)
    assert "The one live replica serves version 1; 1 loads it at the next request." in page
    assert "loads it at the next request</td>" in page


@pytest.mark.parametrize("other", [{"desired_generation": 0}, {"digest": "f" * 64}], ids=["generation", "digest"])
def test_an_unloaded_report_of_another_activation_is_behind(worker, activate, other):
    activate("a")
    worker()
    eventually(lambda: rollout("a").is_complete)
    ReplicaModel.objects.update(**other)
    (replica,) = rollout("a").replicas
    assert (replica.state, replica.is_current) == ("loading", False)


def test_a_request_loads_its_model_alone(worker, activate):
    activate("a", "b", "c")
    one = worker()
    assert one.ask("b")
    assert one.loaded == {"b"}
    eventually(lambda: rollout("b").replicas[0].state == "serving")
    assert rollout("a").replicas[0].state == "unloaded"


def test_concurrent_first_requests_share_one_load(worker, activate):
    activate("a")
    one = worker()
    one.preparation.gates["a"] = threading.Event()

    async def ask_all() -> list[bool]:
        waits = [asyncio.create_task(one.on_demand.wait("a")) for _ in range(50)]
        await asyncio.to_thread(eventually, lambda: one.preparation.opened)
        one.preparation.gates["a"].set()
        return await asyncio.gather(*waits)

    assert asyncio.run(ask_all()) == [True] * 50
    assert one.preparation.opened == ["a"]


def test_the_least_recently_used_is_dropped_at_the_bound(worker, activate):
    activate("a", "b", "c", mb=10)
    one = worker(max_mb=25)
    for name in ("a", "b", "a", "c"):
        one.ask(name)
    assert one.loaded == {"a", "c"}
    eventually(lambda: rollout("b").replicas[0].state == "unloaded")
    assert one.ask("b")
    assert one.loaded == {"b", "c"}


def test_a_large_model_takes_the_place_of_several(worker, activate):
    activate("a", "b", "c", mb=10)
    activate("large", mb=25)
    one = worker(max_mb=35)
    for name in ("a", "b", "c", "large"):
        one.ask(name)
    assert one.loaded == {"c", "large"}


def test_pinned_models_are_loaded_in_advance_and_stay(worker, activate):
    activate("a", "b", "c", mb=10)
    one = worker(max_mb=25, pinned=frozenset({"a", "unknown"}))
    assert one.loaded == {"a"}
    for name in ("b", "c"):
        one.ask(name)
    assert one.loaded == {"a", "c"}


def test_a_model_beyond_the_bound_fails_and_drops_nothing(worker, activate):
    activate("a", mb=10)
    activate("large", mb=100)
    one = worker(max_mb=50)
    one.ask("a")
    one.ask("large")
    assert one.loaded == {"a"}
    eventually(lambda: rollout("large").failed)
    assert "MODELS_MEMORY_MB allows 50" in rollout("large").failed[0].reason
    assert one.runtime.snapshot.missing() == {}


def test_failed_load_ends_the_wait_and_is_retried(worker, activate):
    activate("a")
    one = worker()
    one.preparation.broken.add("a")
    assert one.ask("a")
    assert "failed to load" in one.runtime.snapshot.problems["a"]
    assert not one.runtime.snapshot.is_loadable("a")
    one.preparation.broken.clear()
    eventually(lambda: one.loaded == {"a"})
    assert one.runtime.snapshot.problems == {}


def test_an_activation_of_an_unloaded_model_loads_nothing(worker, activate):
    activate("a", number=1)
    one = worker()
    activate("a", number=2)
    eventually(lambda: one.runtime.snapshot.unloaded() == {"a": 2})
    eventually(lambda: rollout("a").is_complete)
    assert one.preparation.opened == []
    one.ask("a")
    assert one.runtime.snapshot.models["a"].number == 2


def test_an_activation_of_a_loaded_model_loads_it(worker, activate):
    activate("a", number=1)
    one = worker()
    one.ask("a")
    activate("a", number=2)
    eventually(lambda: one.runtime.snapshot.models["a"].number == 2)


def test_returning_model_is_loaded_on_demand(worker, activate):
    activate("a")
    one = worker()
    one.ask("a")
    services.deactivate(services.get_model("a"), by="x")
    eventually(lambda: one.loaded == set())
    services.activate(services.get_version(services.get_model("a"), 1), by="x")
    eventually(lambda: one.runtime.snapshot.unloaded() == {"a": 1})
    assert one.preparation.opened == ["a"]


def test_both_versions_of_a_canaried_model_are_loaded(worker, activate, publish):
    activate("a", number=1)
    one = worker()
    services.start_canary(publish("a", 2), percent=10, by="x")
    eventually(lambda: one.loaded == {"a"} and set(one.runtime.snapshot.others) == {"a#2"})
    assert one.runtime.snapshot.on_demand == frozenset()


def test_a_dropped_model_answers_what_holds_it(worker, activate):
    activate("a", "b", mb=10)
    one = worker(max_mb=15)
    one.ask("a")
    held = one.runtime.snapshot.models["a"]
    one.ask("b")
    assert one.loaded == {"b"}
    assert asyncio.run(held.predictor.predict(held.schema.parse([[0, 0]]), 1)).predictions() == [1]


def test_known_model_reloads_without_the_database(worker, activate):
    activate("a", "b", mb=10)
    one = worker(max_mb=15)
    for name in ("a", "b"):
        one.ask(name)
    with no_table("models_registry_modelversion"):
        one.ask("a")
        assert one.loaded == {"a"}


def test_failing_requested_model_keeps_worker_ready(worker, activate):
    activate("asked", "pinned")
    one = worker(pinned=frozenset({"pinned"}), broken={"pinned", "asked"})
    assert not one.runtime.snapshot.was_ready
    one.ask("asked")
    assert set(one.runtime.snapshot.missing()) == {"pinned"}
    one.preparation.broken.discard("pinned")
    eventually(lambda: one.loaded == {"pinned"})
    eventually(lambda: one.runtime.snapshot.was_ready)


def test_a_wait_ends_at_its_bound():
    on_demand = OnDemand(wait_seconds=0.01)
    assert asyncio.run(on_demand.wait("a")) is False
    assert on_demand.asked() == []
