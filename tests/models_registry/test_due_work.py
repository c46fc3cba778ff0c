"""Which work a replica takes over: what waits, and what another replica began and did not end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from models_registry import services
from models_registry.compilation.report import Limits
from models_registry.models import BatchJob, BatchState, ModelVersion, Replay, State
from models_registry.services.batches import SILENT_SECONDS
from tests.support.registry import version

pytestmark = pytest.mark.django_db


def new_replay(state: str) -> Replay:
    return Replay.objects.create(version=version(), source="sample", max_rows=1, tolerance=0, state=state)


def new_batch(state: str) -> BatchJob:
    return BatchJob.objects.create(version=version(), input="a", output="b", state=state)


def check_limit() -> float:
    return 2 * max(settings.MODELS_CHECK_SECONDS, Limits().wall_seconds) + settings.MODELS_STORAGE_SECONDS


KINDS = {
    "version": (services.has_version_to_check, lambda state: version(state=state), "claimed_at", check_limit),
    "replay": (services.has_replay_to_run, new_replay, "claimed_at", lambda: 4 * settings.MODELS_CHECK_SECONDS),
    "batch": (services.has_batch_to_run, new_batch, "heartbeat_at", lambda: SILENT_SECONDS),
}
STATES = {
    "version": (State.FOUND, State.CHECKING, State.READY),
    "replay": (Replay.State.WAITING, Replay.State.RUNNING, Replay.State.DONE),
    "batch": (BatchState.QUEUED, BatchState.RUNNING, BatchState.DONE),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("place", "is_due"), [(0, True), (2, False)])
def test_waiting_work_is_due_and_finished_work_is_not(kind, place, is_due):
    has_work, make, _, _ = KINDS[kind]
    assert not has_work()
    make(STATES[kind][place])
    assert has_work() is is_due


@pytest.mark.parametrize("kind", KINDS)
def test_begun_work_is_due_after_its_time(kind):
    has_work, make, column, limit = KINDS[kind]
    row = make(STATES[kind][1])
    for ago, is_due in ((-30, False), (30, True), (-30, False)):
        moment = timezone.now() - timedelta(seconds=limit() + ago)
        type(row).objects.filter(pk=row.pk).update(**{column: moment})
        assert has_work() is is_due


def test_a_longer_limit_counts_at_once(settings):
    claimed_at = timezone.now() - timedelta(seconds=check_limit() + 30)
    ModelVersion.objects.filter(pk=version(state=State.CHECKING).pk).update(claimed_at=claimed_at)
    assert services.has_version_to_check()
    settings.MODELS_CHECK_SECONDS = Limits().wall_seconds + 60
    assert not services.has_version_to_check()
