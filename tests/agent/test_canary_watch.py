"""The watch of the canaries in a replica."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from structlog.testing import capture_logs

from models_registry import services
from models_registry.agent.canary_watch import CanaryWatch
from models_registry.agent.lookout import Lookout
from models_registry.inference.runtime import Runtime
from models_registry.models import Canary, ModelVersion, State
from tests.support.registry import three_versions

pytestmark = pytest.mark.django_db


@pytest.fixture
def watch() -> CanaryWatch:
    """Return the watch of a replica that waits for the candidate."""
    runtime = Runtime()
    runtime.post(awaited=frozenset({"m"}))
    return CanaryWatch(runtime, holder="r", look_seconds=0, lookout=Lookout())


def test_failed_promotion_is_logged_once_until_its_reason_changes(watch):
    model = three_versions()
    services.start_canary(services.get_version(model, 2), percent=10, by="x", bake_minutes=1, guardrails={})
    Canary.objects.update(traffic_at=timezone.now() - timedelta(minutes=10))
    logged = []
    for state in (State.MISSING, State.REJECTED):
        ModelVersion.objects.filter(number=2).update(state=state, reason="It is broken.")
        for _ in range(3):
            with capture_logs() as logs:
                watch.look()
            logged.append([line["event"] for line in logs if line["log_level"] == "warning"])
    assert logged == [["canary_not_promoted"], [], []] * 2
    ModelVersion.objects.filter(number=2).update(state=State.READY)
    watch.look()
    assert Canary.objects.get().outcome == "promoted"
