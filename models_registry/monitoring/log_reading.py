"""Reads the newest rows of the prediction log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

from models_registry.errors import StorageError
from models_registry.monitoring.log_table import INPUT
from models_registry.parquet import ParquetError, read_rows
from models_registry.storage import LogStorage

# Each file is read whole, so a search with few matches stops after this number of files.
MAX_FILES = 200


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """One prediction; `inputs` has the stored columns by feature name."""

    request_id: str
    row: int
    at: datetime
    version: int
    inputs: dict[str, Any]
    prediction: Any = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class LogFilter:
    """A filter for rows; an empty field matches all."""

    version: int | None = None
    request_id: str = ""
    prediction: str = ""

    def takes(self, row: LoggedRow) -> bool:
        """Return whether a row matches. `version` is not compared: only files of matching versions are read."""
        return (not self.request_id or row.request_id == self.request_id) and (
            not self.prediction or str(row.prediction) == self.prediction
        )


def newest_rows(
    storage: LogStorage, model: str, days: Iterable[tuple[date, int]], wanted: LogFilter, *, limit: int
) -> list[LoggedRow]:
    """Return the newest rows of `model`, newest first, at most `limit`.

    `days` lists each day (UTC) with a version that may have rows. Raises StorageError if the storage is unavailable.
    """
    found: list[LoggedRow] = []
    files = 0
    by_day = groupby(sorted(set(days), reverse=True), key=lambda item: item[0])
    for day, pairs in by_day:
        keys = [
            key
            for _, number in pairs
            if wanted.version in {None, number}
            for key in storage.keys(f"{model}/version={number}/date={day:%Y-%m-%d}/")
        ]
        for _, of_hour in groupby(sorted(keys, key=hour_folder, reverse=True), key=hour_folder):
            # Files of one hour overlap in time; files of an earlier hour hold only earlier rows.
            if len(found) >= limit or files >= MAX_FILES:
                break
            for key in of_hour:
                files += 1
                found += [row for row in map(logged_row, read_file(storage, key)) if wanted.takes(row)]
    return sorted(found, key=lambda row: (row.at, -row.row), reverse=True)[:limit]


def hour_folder(key: str) -> str:
    """Return the directories of a file's day and hour, which sort by time."""
    return "/".join(key.split("/")[-3:-1])


def read_file(storage: LogStorage, key: str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of a file; empty if it lacks one of `columns`, which the model's settings exclude.

    Raises StorageError if the storage is unavailable or the file is damaged.
    """
    try:
        return read_rows(storage.read(key), columns)
    except ParquetError as error:
        raise StorageError(f"{key} is not a Parquet file of the prediction log: {error}. Remove it.") from error


def logged_row(values: dict[str, Any]) -> LoggedRow:
    """Return one row of a file."""
    return LoggedRow(
        values["request_id"],
        values["row"],
        values["requested_at"],
        values["version"],
        {name.removeprefix(INPUT): value for name, value in values.items() if name.startswith(INPUT)},
        values.get("prediction"),
        values.get("confidence"),
    )
