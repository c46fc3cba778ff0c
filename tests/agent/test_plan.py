"""The plan: pure."""

from __future__ import annotations

import pytest

from models_registry.agent.plan import Drop, Load, plan

CASES = [
    ({}, {}, []),
    ({"churn": 7}, {"churn": 6}, [Load("churn", 7)]),
    ({"churn": 7}, {"churn": 7}, []),
    ({"churn": 7}, {}, [Load("churn", 7)]),
    ({}, {"churn": 7}, [Drop("churn")]),
    ({"a": 1, "b": 2}, {"b": 1, "c": 1}, [Load("a", 1), Load("b", 2), Drop("c")]),
    ({"a": (1, True)}, {"a": (1, False)}, [Load("a", (1, True))]),
]


@pytest.mark.parametrize(("desired", "running", "steps"), CASES)
def test_the_plan_is_the_difference(desired, running, steps):
    assert plan(desired, running) == steps
