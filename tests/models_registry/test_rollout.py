"""What replicas report, and when a rollout is complete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from models_registry import services
from models_registry.models import ModelVersion, RegisteredModel, Replica, ReplicaModel
from models_registry.services.rollout import ModelReport
from tests.support.registry import version

pytestmark = pytest.mark.django_db


def report(
    replica: str,
    item: ModelVersion | None,
    generation: int,
    *,
    state: str = "serving",
    reason: str = "",
    desired: int | None = None,
) -> None:
    services.report_replica(
        replica,
        host="h",
        pid=1,
        started_at=datetime.now(UTC),
        reports=[
            ModelReport(
                model_id=RegisteredModel.objects.get().pk,
                state=state,
                generation=generation,
                desired_generation=desired if desired is not None else RegisteredModel.objects.get().generation,
                serving_version_id=item.pk if item else None,
                reason=reason,
            )
        ],
        changed=True,
    )


def test_rollout_completes_when_every_replica_serves_the_generation():
    item = version()
    services.activate(item, by="x")
    model = services.get_model("m")
    assert services.rollout(model).live == 0
    report("a", item, 1)
    report("b", None, 0, state="failed", reason="gone")
    now = services.rollout(model)
    assert (now.live, now.serving, now.is_complete) == (2, 1, False)
    assert [replica.reason for replica in now.failed] == ["gone"]
    report("b", item, 1)
    assert services.rollout(model).is_complete
    Replica.objects.filter(pk="b").update(heartbeat_at=timezone.now() - timedelta(hours=2))
    assert services.rollout(model).live == 1
    services.forget_replica("a")
    assert not Replica.objects.exists()


@pytest.mark.parametrize(("digest", "is_complete"), [("right", True), ("other", False), ("", True)])
def test_a_rollout_is_complete_with_the_right_bytes_alone(digest, is_complete):
    item = version()
    services.activate(item, by="x")
    report("a", item, 1)
    ReplicaModel.objects.update(digest=item.digest if digest == "right" else digest)
    assert services.rollout(services.get_model("m")).is_complete is is_complete


def test_a_report_writes_what_has_changed_alone(django_assert_max_num_queries):
    item = version()
    services.activate(item, by="x")
    report("a", item, 1)
    since = ReplicaModel.objects.get().since
    again = ModelReport(item.model_id, "serving", 1, item.pk, desired_generation=1, since=since)
    with django_assert_max_num_queries(8):
        services.report_replica("a", host="h", pid=1, started_at=timezone.now(), reports=[again], changed=True)
    assert ReplicaModel.objects.get().since == since


def test_heartbeat_alone_is_one_update(django_assert_num_queries):
    item = version()
    report("a", item, 0)
    with django_assert_num_queries(1):
        services.report_replica("a", host="h", pid=1, started_at=datetime.now(UTC), reports=[], changed=False)


def test_poll_is_one_query_without_storage(django_assert_num_queries, settings):
    settings.MODELS_STORAGE = "file:///nowhere"
    services.activate(version("a"), by="x")
    services.activate(version("b"), by="x")
    with django_assert_num_queries(1):
        desired_state = services.read_desired_state()
    assert list(desired_state) == ["a", "b"]
    assert desired_state["a"].generation == 1


def test_waiting_ends_when_what_is_left_has_failed():
    item = version()
    services.activate(item, by="x")
    report("a", None, 0, state="failed", reason="no memory")
    final = services.wait_for_rollout(services.get_model("m"), timeout_seconds=30)
    assert not final.is_complete
    assert final.failed[0].reason == "no memory"


def test_earlier_activations_failure_is_not_this_ones():
    version(number=1)
    services.activate(version(number=2), by="x")
    report("a", None, 0, state="failed", reason="gone", desired=1)
    services.activate(services.get_version(services.get_model("m"), 1), by="x")
    now = services.rollout(services.get_model("m"))
    assert now.failed == ()
    assert [replica.state for replica in now.replicas] == ["loading"]


@pytest.mark.parametrize(("says", "left"), [("starts", {"silent", "next"}), ("ends", {"silent"})])
def test_replicas_that_were_killed_are_pruned_with_their_reports(db, says, left):
    now = timezone.now()
    model = RegisteredModel.objects.create(name="m")
    for name in ("killed", "silent"):
        services.report_replica(name, host="box", pid=1, started_at=now, reports=[], changed=True)
        ReplicaModel.objects.create(replica_id=name, model=model, state="serving", generation=1, since=now)
    Replica.objects.filter(pk="killed").update(heartbeat_at=now - timedelta(hours=1, seconds=1))
    Replica.objects.filter(pk="silent").update(heartbeat_at=now - timedelta(minutes=59))
    if says == "starts":
        services.report_replica("next", host="box", pid=2, started_at=now, reports=[], changed=True)
    else:
        services.forget_replica("another")
    assert set(Replica.objects.values_list("pk", flat=True)) == left
    assert list(ReplicaModel.objects.values_list("replica_id", flat=True)) == ["silent"]
