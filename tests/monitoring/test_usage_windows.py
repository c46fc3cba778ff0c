"""Usage windows in the database: sums, quantiles, roll-up and retention."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db import DatabaseError

from models_registry.agent import usage_reporter
from models_registry.agent.usage_reporter import UsageReporter
from models_registry.models import UsageWindow
from models_registry.monitoring.buckets import SECONDS, in_milliseconds, quantile
from models_registry.monitoring.usage import MAX_LABELS, OTHER_LABEL, Usage, bounded_labels, usage_since, write_usage
from models_registry.monitoring.usage_report import WINDOWS, usage_report
from models_registry.monitoring.usage_retention import keep_in_bounds
from tests.support.registry import version

NOW = datetime(2026, 3, 4, 12, 30, 20, tzinfo=UTC)


def used(count: int, **given) -> Usage:
    return Usage(**({"requests": count, "rows": count, "labels": {"yes": count}} | given))


def test_quantiles_equal_the_raw_ones_to_a_bucket():
    seconds = np.random.default_rng(1).lognormal(-6, 1.2, 5000)
    counts = np.bincount(np.searchsorted(SECONDS, seconds), minlength=len(SECONDS) + 1)
    for share in (0.5, 0.9, 0.99):
        exact = float(np.quantile(seconds, share))
        bucket = int(np.searchsorted(SECONDS, exact))
        assert SECONDS[bucket - 1] <= quantile(counts.tolist(), share) <= SECONDS[bucket]


@pytest.mark.parametrize(
    ("counts", "expected"), [([0, 0, 0], None), ([4, 0, 0], 0.5), ([0, 4, 0], 2.0), ([0, 0, 4], 3.0)]
)
def test_quantile_at_the_ends(counts, expected):
    assert quantile(counts, 0.5, (1.0, 3.0)) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(None, None), (math.inf, None), (0.0125, 12.5)])
def test_milliseconds_of_no_finite_time_are_none(seconds, expected):
    assert in_milliseconds(seconds) == expected


def test_rare_labels_are_counted_together():
    labels = {f"label {index}": index for index in range(1, 61)} | {OTHER_LABEL: 1000}
    kept = bounded_labels(labels)
    assert sum(kept.values()) == sum(labels.values())
    assert len(kept) == MAX_LABELS + 1
    assert kept["label 60"] == 60


@pytest.mark.django_db
def test_same_minute_written_again_counts_once():
    row = version("m", 1)
    for _ in range(2):
        write_usage("r1", NOW, {("m", 1): used(5), ("gone", 9): used(1)})
    assert usage_since(row, NOW).requests == 5


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(WINDOWS))
def test_sums_are_equal_before_and_after_roll_up(name):
    row = version("m", 1)
    minutes = [NOW.replace(second=0) - timedelta(minutes=7 * index) for index in range(300)]
    for index, minute in enumerate(minutes):
        for replica in ("r1", "r2"):
            write_usage(replica, minute, {("m", 1): used(index, errors={"exception": 1})})
    before = usage_report(row.model, WINDOWS[name], NOW)
    keep_in_bounds(NOW)
    assert UsageWindow.objects.hours().exists()
    after = usage_report(row.model, WINDOWS[name], NOW)
    assert after == before
    start = before.moments[0]
    expected = [index for index, minute in enumerate(minutes) if minute >= start]
    assert before.versions[0].total.requests == 2 * sum(expected)
    assert before.versions[0].total.error_count == 2 * len(expected)


@pytest.mark.django_db
def test_minute_that_comes_late_is_in_its_hour():
    row = version("m", 1)
    hour = NOW.replace(minute=0, second=0) - timedelta(hours=2)
    write_usage("r1", hour, {("m", 1): used(3)})
    keep_in_bounds(NOW)
    write_usage("r2", hour, {("m", 1): used(4)})
    keep_in_bounds(NOW + timedelta(minutes=5))
    assert usage_report(row.model, WINDOWS["24h"], NOW).versions[0].total.requests == 7


@pytest.mark.django_db
def test_old_windows_are_deleted_and_their_hours_kept():
    version("m", 1)
    for days in (1, 13, 15):
        write_usage("r1", NOW - timedelta(days=days), {("m", 1): used(1)})
    keep_in_bounds(NOW - timedelta(days=2))
    keep_in_bounds(NOW)
    assert UsageWindow.objects.minutes().count() == 2
    keep_in_bounds(NOW + timedelta(days=390))
    assert UsageWindow.objects.minutes().count() == 0
    assert UsageWindow.objects.hours().count() == 1


def test_minutes_wait_while_the_database_is_away(monkeypatch):
    written, is_away = [], True

    def write(replica, minute, usage):
        if is_away:
            raise DatabaseError("away")
        written.append((minute, usage["m", 1].requests))

    monkeypatch.setattr(usage_reporter, "write_usage", write)
    counted = {}
    reporter = UsageReporter("r1", lambda: dict(counted))
    start = datetime.now(UTC)
    for minute in (1, 2):
        counted["m", 1] = used(10 * minute)
        with pytest.raises(DatabaseError):
            reporter.report(start + timedelta(minutes=minute))
    is_away = False
    reporter.report(start + timedelta(minutes=3))
    assert [count for _, count in written] == [10, 10]
