"""The queries of a replica depend on the changes, not on the number of models."""

from __future__ import annotations

import itertools
import time

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from models_registry import services
from models_registry.agent.desired_state_reader import DesiredStateReader
from models_registry.agent.fleet import Fleet
from models_registry.agent.reporting import Reporter
from models_registry.models import DesiredStateRevision, ModelVersion, RegisteredModel, Replica, ReplicaModel, State
from models_registry.services import validation
from models_registry.services.examination import Findings
from models_registry.services.rollout import ModelReport
from models_registry.storage import StorageIdentity
from tests.support.registry import version

pytestmark = pytest.mark.django_db


def active(count: int) -> None:
    for number in range(count):
        services.activate(version(f"m{number}"), by="x")


@pytest.fixture
def reader(tmp_path) -> DesiredStateReader:
    return DesiredStateReader(tmp_path / "kept", poll_seconds=3600)


def statements(action) -> list[str]:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        action()
    return [query["sql"] for query in captured.captured_queries]


@pytest.mark.parametrize("count", [1, 30])
def test_a_poll_without_a_change_reads_one_row(reader, count):
    active(count)
    assert reader.poll() == {f"m{number}" for number in range(count)}
    (statement,) = statements(reader.poll)
    assert "desiredstaterevision" in statement
    assert reader.poll() == set()


def candidate_of(name: str):
    return services.start_canary(version(name, 2), percent=10, by="x")


CHANGES = {
    "canary": lambda: candidate_of("m1"),
    "activation": lambda: services.activate(version("m1", 2), by="x"),
    "deactivation": lambda: services.deactivate(services.get_model("m1"), by="x"),
    "acceleration": lambda: services.set_acceleration(services.get_model("m1"), False, by="x"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("count", [2, 30])
def test_a_change_is_read_alone(reader, count, change):
    active(count)
    reader.poll()
    change()
    seen = []
    made = statements(lambda: seen.append(reader.poll()))
    assert seen == [{"m1"}]
    assert len(made) <= 4
    full = services.read_desired_state()
    assert (reader.state, reader.state.first) == (full, full.first)


def test_a_rollback_and_a_policy_move_the_revision(reader):
    active(2)
    services.activate(version("m1", 2), by="x")
    reader.poll()
    services.roll_back(services.get_model("m1"), by="x")
    assert reader.poll() == {"m1"}
    assert reader.state["m1"].number == 1


def test_each_step_of_a_canary_moves_the_revision(reader):
    active(3)
    canary = candidate_of("m1")
    reader.poll()
    known = reports(3, others={"2": {"state": "serving", "digest": canary.version.digest, "reason": ""}})
    reporter(known).report(at_once=True)
    for step in (
        services.open_traffic,
        lambda: services.start_canary(canary.version, percent=50, by="x"),
        lambda: services.end_canary(services.get_model("m1"), by="x"),
        lambda: services.start_canary(canary.version, percent=50, by="x"),
        lambda: services.promote(services.get_model("m1"), by="x"),
    ):
        assert step()
        assert reader.poll() == {"m1"}
        full = services.read_desired_state()
        assert (reader.state, reader.state.others, reader.state.splits) == (full, full.others, full.splits)


def test_a_new_first_model_is_the_default(reader):
    assert reader.poll() == set()
    services.register_model("new")
    reader.poll()
    assert reader.state.first == "new"


def test_a_change_that_is_rolled_back_moves_nothing(reader):
    from django.db import transaction

    active(1)
    before = services.read_revision()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        services.set_acceleration(services.get_model("m0"), False, by="x")
        raise ZeroDivisionError
    assert services.read_revision() == before


def test_active_version_checked_again_is_read_again(reader, monkeypatch):
    active(2)
    reader.poll()
    ModelVersion.objects.filter(model__name="m0").update(state=State.MISSING)
    monkeypatch.setattr(validation, "examine", lambda _: Findings())
    validation.check_version(ModelVersion.objects.get(model__name="m0"))
    assert reader.poll() == {"m0"}


@pytest.mark.parametrize("moved", [0, 2, 10_000])
def test_a_restored_registry_is_read_in_whole(tmp_path, moved, monkeypatch):
    reader = DesiredStateReader(tmp_path / "kept", poll_seconds=0)
    monkeypatch.setattr(time, "thread_time", lambda: 0.0)
    active(3)
    reader.poll()
    RegisteredModel.objects.filter(name="m1").update(generation=7, revision=0)
    DesiredStateRevision.objects.update(number=moved)
    assert reader.poll() == {"m1"}


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The seconds that have passed; a comparison takes 0.02 s of the processor."""
    spent, passed, began = itertools.count(step=0.02), [0.0], time.monotonic()
    monkeypatch.setattr(time, "thread_time", lambda: next(spent))
    monkeypatch.setattr(time, "monotonic", lambda: began + passed[0])
    return passed


def test_a_long_comparison_comes_less_often(tmp_path, clock):
    reader = DesiredStateReader(tmp_path / "kept", poll_seconds=0)
    active(1)
    reader.poll()
    RegisteredModel.objects.update(acceleration=False)
    clock[0] = 39.9
    assert reader.poll() == set()
    clock[0] = 40.1
    assert reader.poll() == {"m0"}


def test_edit_that_changes_a_sum_waits_for_no_comparison(tmp_path, clock):
    reader = DesiredStateReader(tmp_path / "kept", poll_seconds=2)
    active(1)
    reader.poll()
    RegisteredModel.objects.update(generation=7)
    clock[0] = 9.9
    assert reader.poll() == set()
    clock[0] = 10.1
    assert reader.poll() == {"m0"}
    assert reader.poll() == set()


def test_a_look_serves_one_poll(reader):
    active(2)
    reader.poll()
    assert not reader.look()
    assert statements(reader.poll) == []
    services.activate(version("m1", 2), by="x")
    assert reader.poll() == {"m1"}
    services.deactivate(services.get_model("m1"), by="x")
    assert reader.look()
    assert reader.poll() == {"m1"}


def test_a_lower_revision_is_a_restored_registry(reader):
    active(3)
    reader.poll()
    RegisteredModel.objects.filter(name="m1").update(generation=7, revision=0)
    DesiredStateRevision.objects.update(number=1)
    assert reader.poll() == {"m1"}


def test_details_are_read_for_one_version(reader):
    active(3)
    reader.poll()
    (statement,) = statements(lambda: reader.details(reader.state["m1"]))
    assert "modelversion" in statement


@pytest.mark.parametrize(
    "look",
    [
        services.has_version_to_check,
        services.has_replay_to_run,
        services.has_batch_to_run,
        services.read_shadows,
        services.read_captures,
        services.read_revision,
        lambda: services.seconds_to_next_lease(["discovery", "drift"]),
    ],
    ids=["check", "replay", "batch", "shadows", "captures", "revision", "leases"],
)
def test_looking_for_absent_work_is_one_plain_query(look):
    active(2)
    (statement,) = statements(look)
    assert "JOIN" not in statement


@pytest.mark.parametrize(("live", "shortest", "longest"), [(1, 1, 1), (10, 1, 1), (100, 5, 15)])
def test_large_fleet_looks_for_work_like_ten_replicas(live, shortest, longest):
    now = timezone.now()
    Replica.objects.bulk_create(
        Replica(pk=f"r{number}", host="box", pid=number, started_at=now, heartbeat_at=now) for number in range(live)
    )
    fleet = Fleet()
    fleet.count()
    assert not statements(fleet.count), "one count serves several looks"
    assert all(shortest <= fleet.pause_seconds(1.0) <= longest for _ in range(50))


def reports(count: int, **values) -> dict[str, ModelReport]:
    models = RegisteredModel.objects.filter(name__in=[f"m{number}" for number in range(count)])
    return {
        model.name: ModelReport(model.pk, "serving", 1, model.active_version_id, desired_generation=1, **values)
        for model in models
    }


def reporter(known: dict[str, ModelReport]) -> Reporter:
    storage = StorageIdentity("file:///models")
    return Reporter("r", storage=storage, started_at=timezone.now(), names=lambda: list(known), describe=known.get)


@pytest.mark.parametrize("count", [2, 100])
def test_a_first_report_is_made_in_bulk(count):
    active(count)
    known = reports(count)
    assert len(statements(lambda: reporter(known).report(at_once=True))) <= 12
    assert ReplicaModel.objects.filter(state="serving").count() == count


@pytest.mark.parametrize("count", [2, 100])
def test_a_change_is_reported_as_one_row(count):
    active(count)
    known = reports(count)
    reporting = reporter(known)
    reporting.report(at_once=True)
    known["m1"] = ModelReport(known["m1"].model_id, "failed", 1, None, reason="no memory", desired_generation=1)
    reporting.note("m1")
    made = statements(lambda: reporting.report(at_once=True))
    assert sum(statement.startswith("INSERT") for statement in made) == 1
    assert len(made) <= 3
    assert ReplicaModel.objects.get(state="failed").reason == "no memory"
    assert not statements(lambda: reporting.report(at_once=True))


def test_a_model_that_is_put_down_leaves_the_report():
    active(3)
    known = reports(3)
    reporting = reporter(known)
    reporting.report(at_once=True)
    del known["m1"]
    reporting.note("m1")
    reporting.report(at_once=True)
    assert set(ReplicaModel.objects.values_list("model__name", flat=True)) == {"m0", "m2"}


def test_a_replica_that_the_registry_forgot_reports_everything():
    active(2)
    reporting = reporter(reports(2))
    reporting.report(at_once=True)
    services.forget_replica("r")
    assert not services.beat("r")
    reporting.note_unknown()
    reporting.report(at_once=False)
    assert services.beat("r")
    assert ReplicaModel.objects.count() == 2
