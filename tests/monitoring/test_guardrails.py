"""The guardrails of a canary: what breaks them, and what chance alone must not break."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.utils import timezone
from scipy.stats import binomtest

from models_registry import services
from models_registry.models import Canary
from models_registry.monitoring.buckets import SECONDS
from models_registry.monitoring.guardrails import judge
from models_registry.monitoring.intervals import difference_interval, quantile_interval, share_interval
from models_registry.monitoring.usage import Usage, write_usage
from tests.support.registry import SCHEMA, version

LIMITS = {"error_rate": 0.01, "p99_ratio": 1.5, "label_shift": 0.2}


def histogram(seconds) -> list[float]:
    """Return latencies in the buckets of a usage window."""
    return np.bincount(np.searchsorted(SECONDS, seconds, side="left"), minlength=len(SECONDS) + 1).tolist()


def usage(requests=1000, *, errors=0, refused=0, seconds=0.00145, labels=None) -> Usage:
    """Return the usage of a version whose requests all take the same time."""
    answered = requests - errors - refused
    return Usage(
        requests=requests,
        refused=refused,
        rows=answered,
        errors={"exception": errors} if errors else {},
        latency=histogram([seconds] * answered),
        labels=labels or {"a": answered // 2, "b": answered - answered // 2},
    )


def broken(candidate: Usage, active: Usage | None = None, **limits: float) -> list[str]:
    found = judge(limits or LIMITS, active=active or usage(), candidate=candidate)
    return [finding.name for finding in found if finding.is_broken]


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        (usage(), []),
        (usage(20, errors=20), ["error_rate"]),
        (usage(100, errors=10), ["error_rate"]),
        (usage(1000, errors=10), []),
        (usage(100, errors=2), []),
        (usage(19, errors=19), []),
        (usage(100, refused=99), []),
        (Usage(requests=3, errors={"worker_lost": 3}), ["error_rate"]),
        (Usage(requests=2, errors={"worker_lost": 2}), []),
        (usage(seconds=0.0155), ["p99_ratio"]),
        (usage(seconds=0.0029), ["p99_ratio"]),
        (usage(seconds=0.00155), []),
        (usage(90, seconds=1.0), []),
        (usage(labels={"a": 900, "b": 100}), ["label_shift"]),
        (usage(labels={"a": 650, "b": 350}), []),
        (usage(labels={"c": 1000}), ["label_shift"]),
        (usage(49, labels={"c": 49}), []),
    ],
    ids=[
        "the same", "all fail", "a tenth fails", "at the limit", "two of a hundred", "too few to tell",
        "refused is not an error", "three workers lost", "two workers lost",
        "ten times slower", "twice slower", "another bucket only", "too few latencies",
        "other shares", "within the limit", "a new label", "too few labels",
    ],
)  # fmt: skip
def test_a_guardrail_breaks_beyond_chance(candidate, expected):
    assert broken(candidate) == expected


def test_a_finding_says_the_figures():
    (found,) = judge({"error_rate": 0.01}, active=usage(), candidate=usage(200, errors=20))
    assert (found.state, found.value, found.observed) == ("broken", 0.1, 200)
    assert found.sentence == "The model failed at 20 of 200 requests (10.00%); the limit is 1.00%."


def test_too_few_requests_wait():
    states = [found.state for found in judge(LIMITS, active=Usage(), candidate=Usage())]
    assert states == ["waiting"] * 3


def test_two_equal_versions_break_nothing_at_many_looks():
    """Ten canaries that are as good as the active version, looked at a hundred times each."""
    generator = np.random.default_rng(0)
    for _ in range(10):
        sides = [Usage(), Usage()]
        for _ in range(100):
            for index, requests in enumerate((300, 30)):
                errors = int(generator.binomial(requests, 0.002))
                share = int(generator.binomial(requests - errors, 0.3))
                seconds = generator.lognormal(-6.5, 0.5, requests - errors)
                sides[index] += Usage(
                    requests=requests,
                    errors={"exception": errors} if errors else {},
                    latency=histogram(seconds),
                    labels={"a": share, "b": requests - errors - share},
                )
            assert broken(sides[1], sides[0]) == []


@pytest.mark.parametrize(("count", "total"), [(0, 20), (1, 20), (10, 20), (20, 20), (3, 1000)])
def test_the_interval_of_a_share_is_wilsons(count, total):
    expected = binomtest(count, total).proportion_ci(0.99, method="wilson")
    assert share_interval(count, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
    ],
)
def test_the_interval_of_a_difference_is_newcombes(first, second, expected):
    """The published figures, table II of the article, method 10, at 95 %."""
    assert difference_interval(first, second, z=1.959964) == pytest.approx(expected, abs=5e-5)


def test_the_interval_of_a_quantile_holds_it():
    generator = np.random.default_rng(1)
    truth = math.exp(-6 + 2.3263478740408408 * 0.8)
    found = [quantile_interval(histogram(generator.lognormal(-6, 0.8, 500)), 0.99) for _ in range(200)]
    assert sum(low <= truth <= high for low, high in found) >= 198


def test_slower_than_the_last_bucket_has_no_upper_end():
    assert quantile_interval(histogram([100.0] * 10), 0.99) == (SECONDS[-1], math.inf)


# The watch


@pytest.fixture
def canary(db) -> Canary:
    """A canary of version 2 that got its share ten minutes ago."""
    services.activate(version(number=1, schema={**SCHEMA, "kind": "classifier"}), by="x")
    services.start_canary(
        version(number=2, schema={**SCHEMA, "kind": "classifier"}), percent=10, by="x", guardrails=LIMITS
    )
    Canary.objects.update(traffic_at=timezone.now() - timedelta(minutes=10))
    return Canary.objects.get()


def record(candidate: Usage, active: Usage | None = None, minutes_ago: int = 5) -> None:
    minute = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=minutes_ago)
    write_usage("r1", minute, {("m", 2): candidate, ("m", 1): active or usage()})


def test_broken_guardrail_returns_traffic_and_says_why(canary):
    record(usage(100, errors=50))
    services.watch_canaries()
    canary.refresh_from_db()
    assert (canary.outcome, canary.ended_by) == ("rolled_back", "guardrails")
    assert canary.ended_reason == "The model failed at 50 of 100 requests (50.00%); the limit is 1.00%."
    model = services.get_model("m")
    assert (model.active_version.number, model.canary) == (1, None)


def test_kept_guardrails_leave_the_canary_alone(canary):
    record(usage())
    services.watch_canaries()
    canary.refresh_from_db()
    assert canary.ended_at is None
    assert [found.state for found in services.compare(canary).findings] == ["kept"] * 3


def test_what_was_before_the_canary_does_not_count(canary):
    record(usage(100, errors=100), minutes_ago=30)
    services.watch_canaries()
    assert services.compare(canary).candidate.requests == 0


@pytest.mark.parametrize(
    ("bake_minutes", "requests", "outcome"),
    [(5, 1000, "promoted"), (5, 10, ""), (60, 1000, ""), (9.5, 1000, ""), (None, 1000, "")],
    ids=["passed", "too few requests", "bakes", "the last minute is not written yet", "by hand"],
)
def test_a_passed_bake_time_promotes(canary, bake_minutes, requests, outcome):
    Canary.objects.update(bake_minutes=bake_minutes)
    record(usage(requests))
    services.watch_canaries()
    canary.refresh_from_db()
    assert canary.outcome == outcome
    model = services.get_model("m")
    assert model.active_version.number == (2 if outcome else 1)
    if outcome:
        last = model.activations.first()
        assert (last.kind, last.activated_by) == ("promotion", "bake time")
        assert last.reason.startswith("No guardrail was broken in 5 minutes and 1000 requests. The model failed at 0")


def test_without_guardrails_the_bake_time_alone_decides(canary):
    Canary.objects.update(bake_minutes=5, guardrails={})
    services.watch_canaries()
    canary.refresh_from_db()
    assert canary.outcome == "promoted"


def test_two_watches_at_once_end_a_canary_once(canary):
    record(usage(100, errors=50))
    services.watch_canaries()
    assert services.roll_back_canary(canary, by="guardrails", reason="again") is None
    canary.refresh_from_db()
    assert canary.ended_reason.startswith("The model failed at 50")
