"""The state of a model on the overview, and why."""

from __future__ import annotations

import pytest

from models_registry.monitoring.state import model_state
from models_registry.monitoring.usage import Usage


def used(attempts: int, *, errors: int = 0, refused: int = 0, bucket: int = 6) -> Usage:
    latency = [0] * 35
    latency[bucket] = attempts - errors
    return Usage(attempts + refused, refused, attempts, {"exception": errors} if errors else {}, latency)


QUIET = {"active": 1, "live": 2, "failed": 0, "serving": 2, "recent": used(500), "before": used(500)}
CASES = {
    "low errors": ({}, "fine", "Errors and latency are low."),
    "no active version": ({"active": None, "live": 0}, "fine", "No version is active."),
    "no requests": ({"recent": Usage()}, "fine", "No requests"),
    "no replica": ({"live": 0, "serving": 0}, "act", "No replica is live."),
    "no service": ({"live": 0, "serving": 0, "has_service": False}, "fine", "No service here"),
    "failed load": ({"failed": 1, "serving": 1}, "act", "1 of 2 replicas could not load version 1."),
    "many errors": ({"recent": used(100, errors=5)}, "act", "5 of 100 requests failed in the last hours (5.0%)."),
    "some errors": ({"recent": used(100, errors=2)}, "watch", "2 of 100 requests failed"),
    "errors among few": ({"recent": used(19, errors=19)}, "fine", ""),
    "many errors during a rollout": ({"serving": 1, "recent": used(100, errors=50)}, "act", "50 of 100"),
    "rollout under way": ({"serving": 1}, "watch", "1 of 2 replicas serve version 1."),
    "many refused": ({"recent": used(75, refused=25)}, "watch", "25 of 100 requests were refused"),
    "slower": ({"recent": used(500, bucket=12)}, "watch", "times what it was the day before"),
    "drift": ({"drifted": ["age", "city"]}, "watch", "Drift from the reference: age, city."),
    "much drift": ({"drifted": list("abcde")}, "watch", "a, b, c and 2 more."),
    "slower among few": ({"recent": used(99, bucket=12)}, "fine", ""),
}


@pytest.mark.parametrize("case", CASES)
def test_state_and_reason(case):
    changed, state, reason = CASES[case]
    found = model_state(**{**QUIET, **changed})
    assert found.state == state
    assert reason in found.reason
