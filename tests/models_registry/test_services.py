"""The registry's acts: discovery, activation, rollback, replicas."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from models_registry import services
from models_registry.errors import (
    ActivationConflict,
    InvalidName,
    NotActivatable,
    NothingToRollBackTo,
    UnknownModel,
    UnknownVersion,
)
from models_registry.models import Activation, Lease, ModelVersion, RegisteredModel, State
from tests.support.registry import version

pytestmark = pytest.mark.django_db


def write(directory: Path, key: str, data: bytes = b"x") -> None:
    path = directory / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    stamp = 1_600_000_000 + len(data)
    import os

    os.utime(path, (stamp, stamp))


# Discovery


def test_discovery_numbers_versions_in_the_order_found(storage_directory):
    write(storage_directory, "b/model.joblib", b"1")
    write(storage_directory, "a/deep/down/model.onnx", b"22")
    first = services.discover(by="somebody")
    assert [(str(item), item.format, item.state) for item in first.found] == [
        ("b 1", "joblib", "found"),
        ("a 1", "onnx", "found"),
    ]
    write(storage_directory, "b/model.joblib", b"333")
    write(storage_directory, "b/other.skops", b"4444")
    assert [str(item) for item in services.discover().found] == ["b 2", "b 3"]
    again = services.discover()
    assert (again.found, again.missing, again.returned) == ([], [], [])


def test_discovery_reads_endings_in_any_case(storage_directory):
    write(storage_directory, "a/MODEL.JOBLIB")
    write(storage_directory, "b/model.Onnx")
    write(storage_directory, "c/model.PKL")
    write(storage_directory, "d/model.Pickle")
    write(storage_directory, "e/model.sav")
    found = [(str(item), item.format) for item in services.discover().found]
    assert found == [("a 1", "joblib"), ("b 1", "onnx"), ("c 1", "joblib"), ("d 1", "joblib"), ("e 1", "joblib")]


def test_discovery_says_what_it_ignores(storage_directory):
    write(storage_directory, "model.joblib")
    write(storage_directory, "notes/readme.txt")
    write(storage_directory, "odd name!/model.joblib")
    write(storage_directory, "ok/model.joblib.manifest.json", b"{}")
    result = services.discover()
    assert result.found == []
    text = "\n".join(result.ignored)
    assert "lies in no model's folder" in text
    assert ".joblib, .pkl, .pickle, .sav, .skops, .onnx" in text
    assert "'odd-name'" in text
    assert "manifest" not in text


def test_gone_objects_are_marked_and_may_return(storage_directory):
    write(storage_directory, "m/model.joblib")
    services.discover()
    path = storage_directory / "m/model.joblib"
    data = path.read_bytes()
    path.unlink()
    (missing,) = services.discover().missing
    assert ModelVersion.objects.get().state == State.MISSING
    with pytest.raises(NotActivatable, match="missing"):
        services.activate(missing, by="x")
    write(storage_directory, "m/model.joblib", data)
    assert [item.number for item in services.discover().returned] == [1]
    assert ModelVersion.objects.get().state == State.FOUND


def test_storage_that_cannot_be_listed_marks_nothing_missing(storage_directory, settings):
    from models_registry.errors import StorageUnavailable

    version()
    settings.MODELS_STORAGE = (storage_directory / "none").as_uri()
    with pytest.raises(StorageUnavailable):
        services.discover()
    assert ModelVersion.objects.get().state == State.READY


def test_new_model_takes_the_configured_policy(settings):
    settings.MODELS_POLICY = "latest"
    assert services.register_model("m").policy == "latest"


@pytest.mark.parametrize("name", ["", "a/b", "ä", "-a", "a b", "x" * 101, "../up"])
def test_odd_names_are_refused_with_a_proposal(name):
    with pytest.raises(InvalidName, match="Rename it"):
        services.register_model(name)


# Activation


def test_activation_moves_pointer_generation_and_history():
    first, second = version(number=1), version(number=2)
    done = services.activate(first, by="ops", reason="start")
    assert done is not None
    assert (done.generation, done.previous_version, done.activated_by, done.reason) == (1, None, "ops", "start")
    second = services.get_version(services.get_model("m"), 2)
    services.activate(second, by="ops")
    model = services.get_model("m")
    assert (model.active_version, model.generation) == (second, 2)
    assert [item.version.number for item in Activation.objects.order_by("generation")] == [1, 2]


def test_activating_the_active_version_adds_no_history():
    item = version()
    services.activate(item, by="x")
    assert services.activate(services.get_version(services.get_model("m"), 1), by="x") is None
    assert Activation.objects.count() == 1


@pytest.mark.parametrize("state", [State.FOUND, State.CHECKING, State.REJECTED, State.MISSING])
def test_only_a_ready_version_can_be_activated(state):
    with pytest.raises(NotActivatable):
        services.activate(version(state=state), by="x")
    assert RegisteredModel.objects.get().active_version is None


def test_warned_version_needs_an_override_with_a_reason():
    item = version(override_reason="Trained with scikit-learn 1.4.2; this is 1.9.1.")
    for given in ({}, {"override": True}, {"override": True, "reason": "  "}, {"reason": "because"}):
        with pytest.raises(NotActivatable, match="override_check"):
            services.activate(item, by="x", **given)
    done = services.activate(item, by="x", override=True, reason="compared by hand")
    assert done is not None
    assert "1.4.2" in done.overrides


def test_rollback_goes_to_the_version_that_was_active_before():
    versions = [version(number=number) for number in (1, 2, 3)]
    model = services.get_model("m")
    with pytest.raises(NothingToRollBackTo):
        services.roll_back(model, by="x")
    for item in versions:
        services.activate(services.get_version(services.get_model("m"), item.number), by="x")
    done = services.roll_back(services.get_model("m"), by="x", reason="worse")
    assert done is not None
    assert (done.version.number, done.kind) == (2, "rollback")
    again = services.roll_back(services.get_model("m"), by="x")
    assert again is not None
    assert again.version.number == 3


def test_deactivated_model_is_inactive_until_a_rollback():
    item = version(number=1)
    assert services.deactivate(services.get_model("m"), by="x") is None, "none was active"
    services.activate(item, by="x")
    model = services.get_model("m")
    done = services.deactivate(model, by="ops", reason="its data is no longer collected")
    assert done is not None
    assert (done.version, done.previous_version, done.generation, done.kind) == (None, item, 2, "deactivation")
    assert str(done) == "m: no active version"
    assert (model.active_version, model.generation) == (None, 2)
    assert services.read_desired_state() == {}
    assert services.describe_model(services.get_model("m"))["active_version"] is None
    assert services.deactivate(services.get_model("m"), by="x") is None
    back = services.roll_back(services.get_model("m"), by="x")
    assert back is not None
    assert (back.version, back.previous_version, back.generation) == (item, None, 3)
    with pytest.raises(NothingToRollBackTo, match="no active version before"):
        services.roll_back(services.get_model("m"), by="x")


def test_deactivating_upon_an_old_state_is_a_conflict():
    first, second = version(number=1), version(number=2)
    services.activate(first, by="x")
    seen = services.get_model("m")
    services.activate(services.get_version(services.get_model("m"), 2), by="the other one")
    with pytest.raises(ActivationConflict, match="the other one"):
        services.deactivate(seen, by="x")
    assert RegisteredModel.objects.get().active_version == second


@pytest.mark.parametrize(
    "values", [{"kind": "activation"}, {"kind": "deactivation", "previous_version": None}], ids=["kind", "previous"]
)
def test_only_a_deactivation_of_something_has_no_version(values):
    item = version(number=1)
    with pytest.raises(IntegrityError, match="only_a_deactivation_has_no_version"):
        Activation.objects.create(
            **{"model": item.model, "version": None, "previous_version": item, "generation": 1, **values}
        )


def test_stale_decision_is_a_conflict_naming_the_first():
    first, second = version(number=1), version(number=2)
    services.activate(first, by="the other one")
    with pytest.raises(ActivationConflict, match="the other one"):
        services.activate(second, by="x", seen_generation=0)
    assert RegisteredModel.objects.get().active_version == first


@pytest.mark.django_db(transaction=True)
def test_two_activations_at_the_same_instant_leave_one_winner():
    version(number=1)
    for _ in range(5):
        barrier = threading.Barrier(2)
        outcomes: list[str] = []
        generation = services.get_model("m").generation

        def act(item, barrier=barrier, outcomes=outcomes, generation=generation):
            try:
                barrier.wait()
                services.activate(item, by=str(item.number), seen_generation=generation)
                outcomes.append("won")
            except ActivationConflict:
                outcomes.append("conflict")
            finally:
                connection.close()

        contenders = [version(number=10 + 2 * generation), version(number=11 + 2 * generation)]
        threads = [threading.Thread(target=act, args=(item,)) for item in contenders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["conflict", "won"]
        assert services.get_model("m").generation == generation + 1
        assert Activation.objects.filter(generation=generation + 1).count() == 1


def test_unknown_names_and_numbers_list_the_existing():
    version("digits")
    with pytest.raises(UnknownModel, match="Did you mean 'digits'"):
        services.get_model("digit")
    with pytest.raises(UnknownVersion, match="It has 1"):
        services.get_version(services.get_model("digits"), 7)


# What the database itself holds


@pytest.mark.parametrize(
    "break_it",
    [
        lambda: version(number=1, storage_version="other"),
        lambda: version(number=2, storage_version="1"),
        lambda: version(number=0, storage_version="other"),
        lambda: version(number=2, state="perfect"),
        lambda: version(number=2, digest=""),
        lambda: version(number=2, state=State.REJECTED, reason=""),
        lambda: RegisteredModel.objects.create(name="a/b"),
        lambda: RegisteredModel.objects.create(name="m"),
        lambda: RegisteredModel.objects.filter(name="m").update(
            active_version=ModelVersion.objects.get(number=1), generation=0
        ),
    ],
    ids=[
        "number",
        "stored version",
        "number from one",
        "state",
        "ready unpinned",
        "silent rejection",
        "name",
        "twice",
        "generation",
    ],
)
def test_invariants_are_the_databases(break_it):
    version(number=1)
    with pytest.raises(IntegrityError), transaction.atomic():
        break_it()


# Leases


def test_one_holder_at_a_time_even_after_a_death():
    assert services.claim_lease("discovery", holder="a", seconds=60)
    assert not services.claim_lease("discovery", holder="b", seconds=60)
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert services.claim_lease("discovery", holder="b", seconds=60)
    services.finish_lease("discovery", holder="a", next_in_seconds=0)
    assert not services.claim_lease("discovery", holder="c", seconds=60)
    services.finish_lease("discovery", holder="b", next_in_seconds=0, note="done")
    assert services.claim_lease("discovery", holder="c", seconds=60)


# What happens at the same time


def test_versions_recorded_during_a_listing_stay(storage_directory):
    from models_registry.storage import VersionedFileSystemStorage

    class ListedSlowly(VersionedFileSystemStorage):
        """A storage into which somebody publishes while it is listed."""

        def iter_versions(self, prefix: str = ""):
            version("late", 1)
            return super().iter_versions(prefix)

    services.discover(ListedSlowly(location=storage_directory))
    assert ModelVersion.objects.get(model__name="late").state == State.READY
    assert [str(item) for item in services.discover().missing] == ["late 1"]


def test_key_that_is_too_long_is_ignored_alone(storage_directory):
    from models_registry.storage import StoredVersion, VersionedFileSystemStorage

    class WithLongKey(VersionedFileSystemStorage):
        """S3 takes keys of 1,024 bytes."""

        def iter_versions(self, prefix: str = ""):
            yield StoredVersion("m/a.joblib", "1", 1, 2.0)
            yield StoredVersion("m/" + "x" * 950 + ".joblib", "1", 1, 1.0)

    result = services.discover(WithLongKey(location=storage_directory))
    assert [str(item) for item in result.found] == ["m 1"]
    assert "at most 900" in result.ignored[0]


def test_replica_that_signs_off_leaves_its_check():
    version(state=State.CHECKING, claimed_by="a", claimed_at=timezone.now())
    assert not ModelVersion.objects.waiting_for_check()
    services.forget_replica("a")
    assert ModelVersion.objects.waiting_for_check().get().number == 1


def test_overruled_version_returns_for_the_same_reason():
    services.activate(version(number=1, override_reason="Other versions."), by="x", override=True, reason="compared")
    services.activate(version(number=2), by="x", seen_generation=1)
    done = services.roll_back(services.get_model("m"), by="x")
    assert done is not None
    assert (done.version.number, done.reason) == (1, "Overruled before: compared")


def test_default_is_the_first_registered_model():
    version("first")
    services.activate(version("second"), by="x")
    desired_state = services.read_desired_state()
    assert (list(desired_state), desired_state.first) == (["second"], "first")


def test_models_take_turns_in_validation():
    many = [version("many", number, state=State.FOUND) for number in range(1, 4)]
    few = version("few", 1, state=State.FOUND)
    order = []
    for _ in range(4):
        item = ModelVersion.objects.due_for_check().first()
        order.append(item)
        RegisteredModel.objects.filter(pk=item.model_id).update(check_began_at=timezone.now())
        ModelVersion.objects.filter(pk=item.pk).update(state=State.READY)
    assert order == [many[0], few, many[1], many[2]]


@pytest.mark.parametrize("was_checked_before", [False, True])
def test_one_upload_is_not_delayed_by_200_others(monkeypatch, was_checked_before):
    monkeypatch.setattr("models_registry.services.validation.check_version", lambda item: item)
    version("few", 1)
    if was_checked_before:
        RegisteredModel.objects.filter(name="few").update(check_began_at=timezone.now())
    for number in range(1, 201):
        version("many", number, state=State.FOUND)
    assert [services.check_next("x").number for _ in range(3)] == [1, 2, 3]
    second, third = (version("few", number, state=State.FOUND) for number in (2, 3))
    assert [str(services.check_next("x")) for _ in range(4)] == [str(second), "many 4", str(third), "many 5"]


def test_version_taken_by_another_process_is_left_out(monkeypatch):
    from models_registry.services import validation

    first, second = version("a", state=State.FOUND), version("b", state=State.FOUND)
    monkeypatch.setattr(validation, "check_version", lambda item: item)
    others: list[str] = ["y"]

    def claim_first(execute, sql, *given):
        if sql.startswith("UPDATE") and others:
            ModelVersion.objects.filter(pk=first.pk).update(state=State.CHECKING, claimed_by=others.pop())
        return execute(sql, *given)

    with connection.execute_wrapper(claim_first):
        assert services.check_next("x") == second
    first.refresh_from_db()
    second.refresh_from_db()
    assert first.claimed_by == "y"
    assert (second.state, second.claimed_by) == (State.CHECKING, "x")
    assert second.model.check_began_at is not None
