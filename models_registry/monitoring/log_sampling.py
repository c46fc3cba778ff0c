"""Reads a sample of the prediction log over a window; each logged row has the same probability."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from itertools import accumulate, pairwise
from typing import TypeVar

from models_registry.monitoring.log_reading import LoggedRow, logged_row, read_file
from models_registry.storage import LogStorage

# Limit per version and report: a few seconds, also from a bucket. A rarely used model's files have a single row.
MAX_FILES = 240
MIN_FILES = 20
MAX_READ_ROWS = 200_000

Item = TypeVar("Item")


def spread_rows(
    storage: LogStorage, model: str, days: Iterable[tuple[date, int]], since: datetime, *, limit: int
) -> dict[int, list[LoggedRow]]:
    """Return by version at most `limit` rows that were requested since `since`, evenly over time.

    `days` lists each day (UTC) with a version that may have rows. The same files give the same rows. Raises
    StorageError if the storage is unavailable.
    """
    first_hour = f"{since:date=%Y-%m-%d/hour=%H}"
    found: dict[int, list[LoggedRow]] = {}
    for number in sorted({number for _, number in days}):
        prefix = f"{model}/version={number}/"
        keys = [
            key
            for day in sorted({day for day, version in days if version == number and day >= since.date()})
            for key in storage.keys(f"{prefix}date={day:%Y-%m-%d}/")
            if key.removeprefix(prefix).rpartition("/")[0] >= first_hour
        ]
        # The window's first hour also has earlier rows: twice as many are read, to compensate.
        sizes = [_row_count(key) for key in keys]
        shares = spread(sizes, items=2 * limit, groups=_file_limit(sizes))
        rows = [
            row
            for key, share in zip(keys, shares, strict=True)
            if share
            for row in map(logged_row, evenly(read_file(storage, key), share))
            if row.at >= since
        ]
        if rows:
            found[number] = evenly(rows, limit)
    return found


def spread(sizes: Sequence[int], *, items: int, groups: int) -> list[int]:
    """Return the number of items to draw from each group: at most `items` in total, from at most `groups` groups.

    The draws are proportional to the group's size, so that each item has the same probability.
    """
    total, count = sum(sizes), len(sizes)
    if total <= items and count <= groups:
        return list(sizes)
    draws = items if count <= groups else groups
    per_draw = items / draws
    # The group of each draw, with all groups in one sequence.
    bounds = [end * draws / total for end in accumulate(sizes, initial=0)]
    hits = [_points(start, end) for start, end in pairwise(bounds)]
    return [min(size, round(hit * per_draw)) for size, hit in zip(sizes, hits, strict=True)]


def evenly(items: Sequence[Item], count: int) -> list[Item]:
    """Return `count` evenly spaced items; all items if there are fewer."""
    if len(items) <= count:
        return list(items)
    return [items[(2 * index + 1) * len(items) // (2 * count)] for index in range(count)]


def _points(start: float, end: float) -> int:
    """Return how many of 0.5, 1.5, 2.5 … are at or above `start` and below `end`."""
    return int(end + 0.5) - int(start + 0.5)


def _file_limit(sizes: Sequence[int]) -> int:
    """Return the number of files to read: fewer if they are large, since each is read whole."""
    mean = max(1.0, sum(sizes) / max(1, len(sizes)))
    return min(MAX_FILES, max(MIN_FILES, int(MAX_READ_ROWS / mean)))


def _row_count(key: str) -> int:
    """Return the number of rows in a file, from its name."""
    return int(key.removesuffix(".parquet").rpartition("-")[2])
