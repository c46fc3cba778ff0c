"""Reads rows of a file in batches: Parquet as a DuckDB table, CSV as text columns, JSON Lines as records."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

import orjson

from models_registry.errors import InputError, ScoringRefused
from models_registry.parquet import Database, ParquetError, count_rows, file_source, scan
from models_registry.scoring.batches import Batch, Columns, Records, StoredRows

# Limit of a CSV row and of a JSON line.
MAX_ROW_BYTES = 4 * 1024 * 1024
# Bytes of a Parquet file that are read at a time, by the footer's sizes; at least one batch.
WINDOW_BYTES = 64 * 1024 * 1024

COUNTED_AT_ONCE = 10_000
READ_BYTES = 256 * 1024
# CSV rows that are parsed at a time.
ROWS_AT_ONCE = 16


def read_batches(handle: IO[bytes], kind: str, database: Database, *, rows: int, skip: int = 0) -> Iterator[Batch]:
    """Return the rows of a file after the first `skip`, in batches of `rows`; only the last batch is shorter.

    `kind` is parquet, csv or jsonl. `database` opens a Parquet file, and holds its rows. Raises ScoringRefused for an
    invalid file.
    """
    try:
        if kind == "parquet":
            yield from _parquet(handle, database, rows, skip)
        else:
            yield from {"csv": _csv, "jsonl": _json_lines}[kind](handle, rows, skip)
    except (ParquetError, csv.Error, UnicodeDecodeError) as error:
        raise ScoringRefused(f"it is not valid {kind}: {error}") from error


def rows_in(handle: IO[bytes], kind: str) -> int | None:
    """Return the number of rows if the file stores it, else None. Raises ScoringRefused for an invalid file."""
    if kind != "parquet":
        return None
    try:
        return count_rows(handle)
    except ParquetError as error:
        raise ScoringRefused(f"it is not valid parquet: {error}") from error


def count_lines(handle: IO[bytes], kind: str) -> int:
    """Return the number of rows of a CSV or JSON Lines file."""
    if kind == "jsonl":
        return sum(1 for _ in _filled_lines(handle))
    return sum(batch.count for batch in _csv(handle, COUNTED_AT_ONCE, 0))


def _parquet(handle: IO[bytes], database: Database, rows: int, skip: int) -> Iterator[Batch]:
    source = file_source(handle)
    fields = database.fields(source)
    ((total, size_bytes),) = database.rows(
        f"SELECT (SELECT num_rows FROM parquet_file_metadata({source})), "
        f"(SELECT sum(total_uncompressed_size) FROM parquet_metadata({source}))"
    )
    # Each query also reads earlier rows of the same row group, so several batches are read at a time.
    window = rows * max(1, int(WINDOW_BYTES * total / (size_bytes or 1)) // rows)
    for start in range(skip, total, window):
        database.run(
            f"CREATE OR REPLACE TEMP TABLE {StoredRows.TABLE} AS SELECT * FROM {scan(source, len(fields))} "
            f"LIMIT {window} OFFSET {start}"
        )
        count = min(window, total - start)
        for first in range(0, count, rows):
            yield StoredRows(database, fields, first, min(rows, count - first))


def _csv(handle: IO[bytes], rows: int, skip: int) -> Iterator[Batch]:
    """Read fields as texts: features convert them by their own type, and other columns stay unchanged."""
    bounded = _BoundedLines(handle)
    text = io.TextIOWrapper(io.BufferedReader(bounded, READ_BYTES), encoding="utf-8-sig", newline="")
    csv.field_size_limit(MAX_ROW_BYTES)
    found = csv.reader(text, strict=True)
    names = next(found, [])
    if not names:
        raise ScoringRefused("it is empty; expected a line of column names and a line for each row")
    if duplicates := {name for name in names if names.count(name) > 1}:
        raise ScoringRefused(f"two columns are called {min(duplicates)!r}; expected a name for each column")
    table = islice(_csv_rows(found, bounded, len(names)), skip, None)
    while block := list(islice(table, rows)):
        columns = [[field or None for field in column] for column in zip(*block, strict=True)]
        yield Columns(dict(zip(names, columns, strict=True)), len(block), is_text=True)


class _BoundedLines(io.RawIOBase):
    """A file of lines that raises csv.Error if one row would take too much memory."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._line_bytes = 0
        self.bytes_since_rows = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._handle.read(len(buffer))
        end = data.rfind(b"\n")
        self._line_bytes = self._line_bytes + len(data) if end < 0 else len(data) - end - 1
        self.bytes_since_rows += len(data)
        if self._line_bytes > MAX_ROW_BYTES or self.bytes_since_rows > (ROWS_AT_ONCE + 1) * MAX_ROW_BYTES:
            raise csv.Error(f"a row is longer than {MAX_ROW_BYTES:,} bytes. Look for a quote that is not closed")
        buffer[: len(data)] = data
        return len(data)


def _csv_rows(found: Iterator[list[str]], bounded: _BoundedLines, width: int) -> Iterator[list[str]]:
    index = 0
    while rows := list(islice(found, ROWS_AT_ONCE)):
        bounded.bytes_since_rows = 0
        # An empty line is not a row.
        rows = list(filter(None, rows))
        if set(map(len, rows)) - {width}:
            wrong = next(row for row in rows if len(row) != width)
            raise csv.Error(f"row {index + rows.index(wrong)} has {len(wrong)} fields; expected {width}")
        index += len(rows)
        yield from rows


def _json_lines(handle: IO[bytes], rows: int, skip: int) -> Iterator[Batch]:
    lines = enumerate(_filled_lines(handle))
    for _ in islice(lines, skip):
        pass
    while block := list(islice(lines, rows)):
        yield Records([_object(line, index) for index, line in block])


def _filled_lines(handle: IO[bytes]) -> Iterator[bytes]:
    while line := handle.readline(MAX_ROW_BYTES):
        if len(line) == MAX_ROW_BYTES:
            raise ScoringRefused(f"a line is longer than {MAX_ROW_BYTES:,} bytes; expected an object on each line")
        if not line.isspace():
            yield line


def _object(line: bytes, index: int) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ScoringRefused(f"row {index} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ScoringRefused(f"row {index} is {type(value).__name__}; expected an object of columns by name")
    return value


def row_of(error: InputError) -> int | None:
    """Return the row that an InputError names, relative to its batch; None if it names none."""
    row = error.details.get("row")
    return row if isinstance(row, int) else None
