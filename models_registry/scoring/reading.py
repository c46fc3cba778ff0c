"""Rows of a file in batches: Arrow tables of Parquet and CSV, records of JSON Lines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from models_registry.artifacts.csv_fields import converter_of, guess
from models_registry.artifacts.features import Feature
from models_registry.artifacts.schema import Schema
from models_registry.errors import InputError, ScoringRefused

# A block of CSV that Arrow parses at once. A line must fit into it.
CSV_BLOCK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file: an Arrow table, or the objects of its lines."""

    rows: pa.Table | list[dict[str, Any]]
    is_text: bool = False

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.rows) if isinstance(self.rows, list) else self.rows.num_rows

    def part(self, start: int, stop: int) -> Batch:
        """Return the rows from `start` up to `stop`."""
        taken = self.rows[start:stop] if isinstance(self.rows, list) else self.rows.slice(start, stop - start)
        return Batch(taken, self.is_text)

    def model_input(self, schema: Schema) -> Any:
        """Return the rows in the form that the model takes. Raises InputError as a request does."""
        if isinstance(self.rows, list):
            return schema.parse(_only_inputs(self.rows, schema))
        if schema.container == "records":
            return schema.parse([self._record(row) for row in self.rows.to_pylist()])
        columns = _columns_of(self.rows, schema)
        return schema.from_columns(
            {feature.name: _values(column, feature, is_text=self.is_text) for feature, column in columns}
        )

    def _record(self, row: dict[str, Any]) -> dict[str, Any]:
        told = {name: value for name, value in row.items() if value is not None}
        return {name: guess(value) for name, value in told.items()} if self.is_text else told


def read_batches(handle: BinaryIO, kind: str, *, rows: int, skip: int = 0) -> Iterator[Batch]:
    """Return the rows of a file behind the first `skip`, in batches of `rows`; only the last one is shorter.

    Raises ScoringRefused for a file that is not of its `kind`: parquet, csv or jsonl.
    """
    pieces = {"parquet": _parquet, "csv": _csv, "jsonl": _json_lines}[kind](handle, rows, skip)
    try:
        yield from _joined(pieces, rows)
    except pa.ArrowInvalid as error:
        raise ScoringRefused(f"it is no valid {kind}: {error}") from error


def count_rows(handle: BinaryIO, kind: str) -> int | None:
    """Return how many rows a file has where it says so; None otherwise."""
    if kind != "parquet":
        return None
    try:
        return int(pq.ParquetFile(handle).metadata.num_rows)
    except pa.ArrowInvalid as error:
        raise ScoringRefused(f"it is no valid parquet: {error}") from error


def _joined(pieces: Iterator[Batch], rows: int) -> Iterator[Batch]:
    """Return batches of exactly `rows`, so that a job that resumes cuts its parts in the same places."""
    held: list[Batch] = []
    count = 0
    for piece in pieces:
        rest = piece
        while count + rest.count >= rows:
            yield _concatenated([*held, rest.part(0, rows - count)])
            rest = rest.part(rows - count, rest.count)
            held, count = [], 0
        if rest.count:
            held.append(rest)
            count += rest.count
    if held:
        yield _concatenated(held)


def _concatenated(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    first = batches[0]
    if isinstance(first.rows, list):
        return Batch([row for batch in batches for row in batch.rows], first.is_text)
    return Batch(pa.concat_tables([batch.rows for batch in batches]), first.is_text)


def _parquet(handle: BinaryIO, rows: int, skip: int) -> Iterator[Batch]:
    file = pq.ParquetFile(handle)
    groups = list(range(file.num_row_groups))
    while groups and file.metadata.row_group(groups[0]).num_rows <= skip:
        skip -= file.metadata.row_group(groups.pop(0)).num_rows
    if not groups:
        return
    for piece in file.iter_batches(batch_size=rows, row_groups=groups):
        if skip < piece.num_rows:
            yield Batch(pa.Table.from_batches([piece.slice(skip)]))
        skip = max(0, skip - piece.num_rows)


def _csv(handle: BinaryIO, rows: int, skip: int) -> Iterator[Batch]:
    """Read fields as texts: a feature's own type decides what they mean, and other columns stay as they are written."""
    first = handle.readline().decode("utf-8-sig", errors="replace")
    if not first.strip():
        raise ScoringRefused("it is empty; expected a line of column names and a line for each row")
    names = pacsv.read_csv(pa.BufferReader(first.encode())).column_names
    if duplicates := {name for name in names if names.count(name) > 1}:
        raise ScoringRefused(f"two columns are called {sorted(duplicates)[0]!r}; expected a name for each column")
    if not handle.read(1):
        return
    handle.seek(-1, os.SEEK_CUR)
    reader = pacsv.open_csv(
        handle,
        read_options=pacsv.ReadOptions(column_names=names, block_size=CSV_BLOCK_BYTES, use_threads=False),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )
    for piece in reader:
        if skip < piece.num_rows:
            yield Batch(pa.Table.from_batches([piece.slice(skip)]), is_text=True)
        skip = max(0, skip - piece.num_rows)


def _json_lines(handle: BinaryIO, rows: int, skip: int) -> Iterator[Batch]:
    lines = enumerate(line for line in handle if not line.isspace())
    for _ in islice(lines, skip):
        pass
    while block := list(islice(lines, rows)):
        yield Batch([_object(line, index) for index, line in block])


def _object(line: bytes, index: int) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ScoringRefused(f"row {index} is no valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ScoringRefused(f"row {index} is {type(value).__name__}; expected an object of columns by name")
    return value


def _only_inputs(rows: list[dict[str, Any]], schema: Schema) -> list[Any]:
    """Return rows without the columns that are no inputs; the model's schema refuses what lacks one."""
    if schema.container == "records":
        return rows
    names = frozenset(schema.names)
    return [{name: value for name, value in row.items() if name in names} for row in rows]


def _columns_of(table: pa.Table, schema: Schema) -> list[tuple[Feature, pa.ChunkedArray]]:
    """Return the features with their columns: by name, or in order where the model does not name its features."""
    present = [feature for feature in schema.inputs if feature.name in table.column_names]
    if not present and not schema.named and table.num_columns == len(schema.inputs):
        return list(zip(schema.inputs, table.columns, strict=True))
    return [(feature, table.column(feature.name)) for feature in present]


def _values(column: pa.ChunkedArray, feature: Feature, *, is_text: bool) -> Any:
    """Return a column as an array where it holds plain numbers, else as a list of what JSON has for each value."""
    if is_text:
        return _typed(column, feature)
    kind = column.type
    if pa.types.is_decimal(kind):
        column, kind = pc.cast(column, pa.float64()), pa.float64()
    if pa.types.is_dictionary(kind):
        column = pc.cast(column, kind.value_type)
        kind = column.type
    if (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and not column.null_count:
        return column.to_numpy()
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return [None if value is None else value.isoformat() for value in column.to_pylist()]
    return column.to_pylist()


def _typed(column: pa.ChunkedArray, feature: Feature) -> Any:
    """Return the fields of a CSV column in the feature's type, as a request in CSV has them."""
    if feature.type == "float" and not column.null_count:
        try:
            numbers = pc.cast(column, pa.float64())
        except pa.ArrowInvalid:
            numbers = None
        # Arrow also takes "nan" and "inf", which a request may not send.
        if numbers is not None and pc.all(pc.is_finite(numbers)).as_py():
            return numbers.to_numpy()
    convert = converter_of(feature)
    return [None if value is None else convert(value) for value in column.to_pylist()]


def row_of(error: InputError) -> int | None:
    """Return the row that an InputError names, counted from the first of its batch; None where it names none."""
    row = error.details.get("row")
    return row if isinstance(row, int) else None
