"""The number of tasks: between the floor and the ceiling, by CPU and by requests."""

import pytest

from tests.cloudformation.resolving import of_type, resources


def test_tasks_range_from_the_floor_to_the_ceiling() -> None:
    target = resources("service", min_tasks=2, max_tasks=6)["ScalableTarget"]["Properties"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == ("2", "6")
    assert target["ScalableDimension"] == "ecs:service:DesiredCount"


@pytest.mark.parametrize(("settings", "expected"), [
    ({}, "7800"), ({"task_cpu": 1024, "task_memory": 2048}, "31300"), ({"requests_per_task": 900}, "900"),
])  # fmt: skip
def test_requests_per_task_default_to_the_benchmark(settings: dict[str, int], expected: str) -> None:
    policy = resources("service", **settings)["ScaleByRequests"]["Properties"]
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == expected


def test_tasks_scale_out_after_60_in_after_120_seconds() -> None:
    policies = of_type(resources("service"), "ApplicationAutoScaling::ScalingPolicy").values()
    rules = [policy["TargetTrackingScalingPolicyConfiguration"] for policy in policies]
    metrics = {rule["PredefinedMetricSpecification"]["PredefinedMetricType"] for rule in rules}
    assert metrics == {"ECSServiceAverageCPUUtilization", "ALBRequestCountPerTarget"}
    assert {(rule["ScaleOutCooldown"], rule["ScaleInCooldown"]) for rule in rules} == {(60, 120)}
