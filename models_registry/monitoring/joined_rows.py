"""Reads logged predictions, and joins each with the newest label of its request and row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from models_registry.monitoring.log_reading import hour_folder, read_file
from models_registry.monitoring.quality import JoinedRow
from models_registry.storage import LogStorage
from models_registry.storage.log_files import ground_truth_folder

# Each file is read whole; above this number of files a report is marked as incomplete.
MAX_FILES = 2_000
MAX_ROWS = 200_000

PREDICTION_COLUMNS = ["request_id", "row", "requested_at", "version", "prediction", "confidence"]
LABEL_COLUMNS = ["request_id", "row", "label", "received_at"]


@dataclass(frozen=True, slots=True)
class Joined:
    """Logged rows with their labels; `is_complete` is false if files were skipped."""

    rows: list[JoinedRow]
    is_complete: bool


def joined_rows(
    storage: LogStorage, model: str, days: Iterable[tuple[date, int]], *, start: datetime, now: datetime
) -> Joined:
    """Return the predictions logged since `start`, newest files first; StorageError if the storage is unavailable.

    `days` lists each day (UTC) with a version that may have rows. A label follows its prediction, so labels from before
    `start` are not read.
    """
    prefixes = [f"{model}/version={number}/date={day:%Y-%m-%d}/" for day, number in sorted(set(days))]
    keys, has_all_keys = _newest(storage, prefixes, start)
    found: list[dict[str, Any]] = []
    for key in keys:
        found += [row for row in read_file(storage, key, PREDICTION_COLUMNS) if row["requested_at"] >= start]
        if len(found) > MAX_ROWS:
            has_all_keys = False
            break
    wanted = {(row["request_id"], row["row"]) for row in found}
    labels, has_all_labels = _labels(storage, model, wanted, start=start, now=now) if wanted else ({}, True)
    rows = [
        JoinedRow(
            row["requested_at"],
            row["version"],
            row["prediction"],
            row["confidence"],
            labels.get((row["request_id"], row["row"])),
        )
        for row in found[:MAX_ROWS]
    ]
    return Joined(rows, has_all_keys and has_all_labels)


def _labels(
    storage: LogStorage, model: str, wanted: set[tuple[str, int]], *, start: datetime, now: datetime
) -> tuple[dict[tuple[str, int], Any], bool]:
    """Return the newest label of each requested row, and whether every file was read."""
    count = (now.date() - start.date()).days + 1
    dates = [start.date() + timedelta(days=index) for index in range(count)]
    prefixes = [f"{ground_truth_folder(model)}/date={day:%Y-%m-%d}/" for day in dates]
    keys, is_complete = _newest(storage, prefixes, start)
    found: dict[tuple[str, int], tuple[datetime, Any]] = {}
    for key in keys:
        for row in read_file(storage, key, LABEL_COLUMNS):
            identity = row["request_id"], row["row"]
            # Rows with the same time are in one file, in order of arrival.
            if identity in wanted and (identity not in found or row["received_at"] >= found[identity][0]):
                found[identity] = row["received_at"], row["label"]
    return {identity: label for identity, (_, label) in found.items()}, is_complete


def _newest(storage: LogStorage, prefixes: Iterable[str], start: datetime) -> tuple[list[str], bool]:
    """Return the keys of the hours since `start`, newest first, and whether the list is complete."""
    first = f"{start:date=%Y-%m-%d/hour=%H}"
    keys = [key for prefix in prefixes for key in storage.keys(prefix) if hour_folder(key) >= first]
    return sorted(keys, key=hour_folder, reverse=True)[:MAX_FILES], len(keys) <= MAX_FILES
