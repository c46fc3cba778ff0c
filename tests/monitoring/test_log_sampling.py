"""A sample of the prediction log that spans a window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from models_registry.monitoring import log_sampling
from models_registry.monitoring.drift import MIN_ROWS
from models_registry.monitoring.log_sampling import MAX_FILES, evenly, spread, spread_rows
from models_registry.storage.log_files import DirectoryLog
from tests.support.tables import write_parquet

NOW = datetime(2026, 5, 2, 12, 30, tzinfo=UTC)
DAYS = {(NOW.date(), 1), ((NOW - timedelta(days=1)).date(), 1)}


@pytest.fixture
def log(tmp_path):
    """Return a function that writes a file of `rows` rows, one a second from `begin` on, and one that samples."""
    written = []

    def write(begin: datetime, rows: int, *, version: int = 1) -> None:
        folder = tmp_path / f"m/version={version}/{begin:date=%Y-%m-%d/hour=%H}"
        folder.mkdir(parents=True, exist_ok=True)
        times = [begin + timedelta(seconds=second) for second in range(rows)]
        frame = pd.DataFrame({"request_id": "r", "row": 0, "requested_at": times, "version": version})
        write_parquet(frame, folder / f"worker-{len(written):06d}-{rows}.parquet")
        written.append(begin)

    def read(window: timedelta, *, limit: int = 100, days=DAYS):
        return spread_rows(DirectoryLog(tmp_path), "m", days, NOW - window, limit=limit)

    return write, read


def test_rows_span_the_window(log):
    write, read = log
    for hour in range(24):
        write(NOW - timedelta(hours=hour + 1), 100)
    rows = read(timedelta(hours=24))[1]
    assert len(rows) == 100
    per_hour = np.bincount([(NOW - row.at) // timedelta(hours=1) for row in rows], minlength=24)
    assert (per_hour.min(), per_hour.max()) == (4, 5)
    assert rows == read(timedelta(hours=24))[1]


def test_many_files_are_read_in_part(log, monkeypatch):
    write, read = log
    monkeypatch.setattr(log_sampling, "MAX_FILES", 10)
    for minute in range(60):
        write(NOW - timedelta(minutes=minute + 1), 30)
    rows = read(timedelta(hours=3))[1]
    files = {row.at.replace(second=0) for row in rows}
    assert (len(rows), len(files)) == (100, 10)
    assert max(files) - min(files) == timedelta(minutes=54)


def test_single_rows_of_a_quiet_model_suffice(log):
    write, read = log
    for minute in range(MAX_FILES):
        write(NOW - timedelta(minutes=minute + 1), 1)
    assert len(read(timedelta(hours=24), limit=2_000)[1]) >= MIN_ROWS


def test_rows_of_a_quiet_hour_weigh_little(log):
    write, read = log
    write(NOW - timedelta(minutes=100), 1_900)
    write(NOW - timedelta(minutes=20), 100)
    rows = read(timedelta(hours=3))[1]
    assert sum(row.at >= NOW - timedelta(minutes=20) for row in rows) == 5


def test_rows_before_the_window_are_left_out(log):
    write, read = log
    write(NOW.replace(minute=1) - timedelta(hours=1), 3_000)
    rows = read(timedelta(hours=1))[1]
    assert (min(row.at for row in rows) >= NOW - timedelta(hours=1), len(rows)) == (True, 84)


def test_each_version_has_its_own_rows(log):
    write, read = log
    write(NOW - timedelta(minutes=10), 500)
    write(NOW - timedelta(minutes=10), 50, version=2)
    found = read(timedelta(hours=1), days={(NOW.date(), 1), (NOW.date(), 2)})
    assert {number: len(rows) for number, rows in found.items()} == {1: 100, 2: 50}


@pytest.mark.parametrize(
    ("sizes", "items", "groups", "expected"),
    [
        ([], 10, 5, []),
        ([3, 4], 10, 5, [3, 4]),
        ([10, 30], 20, 5, [5, 15]),
        ([10, 10, 10, 10], 10, 2, [5, 0, 5, 0]),
        ([1, 1, 100], 10, 2, [0, 0, 10]),
        ([0, 5], 3, 5, [0, 3]),
    ],
)
def test_shares_follow_the_sizes(sizes, items, groups, expected):
    assert spread(sizes, items=items, groups=groups) == expected


def test_even_distances_reach_from_the_first_to_the_last():
    assert evenly(range(10), 5) == [1, 3, 5, 7, 9]
    assert evenly([1, 2], 5) == [1, 2]
