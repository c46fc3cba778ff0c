"""Scored rows in a file: what came in, with the prediction, the confidence and the probabilities beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, Self

import orjson
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from models_registry.artifacts.prediction import Prediction
from models_registry.artifacts.prediction_json import confidences, labelled_probabilities
from models_registry.artifacts.schema import Schema
from models_registry.errors import ScoringRefused
from models_registry.scoring.reading import Batch

PREDICTION, CONFIDENCE, ERROR = "prediction", "confidence", "error"
PROBABILITY = "probability_"


def answer_columns(prediction: Prediction, schema: Schema, *, with_probabilities: bool) -> dict[str, list[Any]]:
    """Return the columns that a prediction adds, each as a list with a value for each row."""
    columns: dict[str, list[Any]] = {PREDICTION: prediction.predictions()}
    confidence = confidences(prediction, schema)
    if confidence is not None:
        columns[CONFIDENCE] = confidence
    if with_probabilities and prediction.probabilities is not None:
        rows = labelled_probabilities(prediction, schema)
        if rows and isinstance(rows[0], dict):
            columns |= {f"{PROBABILITY}{label}": [row[label] for row in rows] for label in rows[0]}
        else:
            # Of several outputs each row has a list: probabilities by class for each output.
            columns["probabilities"] = rows
    return columns


class Writer(Protocol):
    """Writes batches to one file of this machine."""

    def write(self, batch: Batch, columns: Mapping[str, list[Any]]) -> None:
        """Append rows: the kept columns of `batch` and the answer's."""

    def __enter__(self) -> Self:
        """Open the file."""

    def __exit__(self, *_: object) -> None:
        """Close the file."""


def open_writer(path: Path, kind: str, *, keep: Sequence[str] | None, metadata: Mapping[str, str]) -> Writer:
    """Return the writer for a kind of file. `keep`: the columns to keep beside the answer; None for all."""
    if kind == "jsonl":
        return _JsonLines(path, keep)
    return _Tables(path, keep, metadata, is_parquet=kind == "parquet")


class _JsonLines:
    def __init__(self, path: Path, keep: Sequence[str] | None) -> None:
        self._path = path
        self._keep = keep
        self._file: IO[bytes]

    def __enter__(self) -> Self:
        self._file = self._path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, batch: Batch, columns: Mapping[str, list[Any]]) -> None:
        rows = batch.rows if isinstance(batch.rows, list) else batch.rows.to_pylist()
        names = list(columns)
        for row, answer in zip(rows, zip(*columns.values(), strict=True), strict=True):
            kept = row if self._keep is None else {name: row[name] for name in self._keep if name in row}
            line = {**kept, **dict(zip(names, answer, strict=True))}
            self._file.write(orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE))


class _Tables:
    """Parquet or CSV. The first batch sets the columns' types."""

    def __init__(
        self, path: Path, keep: Sequence[str] | None, metadata: Mapping[str, str], *, is_parquet: bool
    ) -> None:
        self._path = path
        self._keep = keep
        self._metadata = metadata
        self._is_parquet = is_parquet
        self._schema: pa.Schema | None = None
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, batch: Batch, columns: Mapping[str, list[Any]]) -> None:
        table = batch.rows if isinstance(batch.rows, pa.Table) else pa.Table.from_pylist(batch.rows)
        if self._keep is not None:
            table = table.select([name for name in self._keep if name in table.column_names])
        answers = dict(columns) if self._is_parquet else _flat(columns)
        for name, values in answers.items():
            table = table.append_column(name, _array(values))
        if not self._is_parquet:
            table = _without_nesting(table)
        if self._schema is None:
            self._schema = _with_types(table.schema).with_metadata(
                {**(table.schema.metadata or {}), **{key: value.encode() for key, value in self._metadata.items()}}
            )
            self._writer = (
                pq.ParquetWriter(self._path, self._schema)
                if self._is_parquet
                else pacsv.CSVWriter(self._path, self._schema)
            )
        self._writer.write_table(_cast(table, self._schema))


def _array(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # Labels of several types have one that holds them all.
        return pa.array([None if value is None else str(value) for value in values])


def _flat(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return columns without lists: of several outputs each has a column of its own, counted from 0."""
    flat: dict[str, list[Any]] = {}
    for name, values in columns.items():
        widths = {len(value) for value in values if isinstance(value, list)}
        if not widths:
            flat[name] = values
            continue
        for index in range(max(widths)):
            flat[f"{name}_{index}"] = [value[index] if isinstance(value, list) else None for value in values]
    return flat


def _without_nesting(table: pa.Table) -> pa.Table:
    """Return a table whose lists and objects are JSON texts, which CSV can hold."""
    for index, column in enumerate(table.schema):
        if pa.types.is_nested(column.type):
            texts = [
                None if value is None else orjson.dumps(value, default=str).decode()
                for value in table.column(index).to_pylist()
            ]
            table = table.set_column(index, column.name, pa.array(texts, pa.string()))
    return table


def _with_types(schema: pa.Schema) -> pa.Schema:
    """Return a schema in which a column of nulls alone may hold texts later."""
    for index, column in enumerate(schema):
        if pa.types.is_null(column.type):
            schema = schema.set(index, pa.field(column.name, pa.string()))
    return schema


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    missing = [name for name in schema.names if name not in table.column_names]
    for name in missing:
        table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
    if new := [name for name in table.column_names if name not in schema.names]:
        raise ScoringRefused(f"column {new[0]!r} is not in the rows before. Write JSON Lines: each line has its own.")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ScoringRefused(
            f"a column changes its type between rows: {error}. Write JSON Lines, or keep fewer columns with --keep."
        ) from error


def join(parts: Iterable[IO[bytes]], kind: str, target: Path, metadata: Mapping[str, str]) -> None:
    """Write the rows of all parts to one file, part by part."""
    if kind == "parquet":
        _join_parquet(parts, target, metadata)
        return
    with target.open("wb") as output:
        for index, part in enumerate(parts):
            if kind == "csv" and index:
                part.readline()
            shutil.copyfileobj(part, output)


def _join_parquet(parts: Iterable[IO[bytes]], target: Path, metadata: Mapping[str, str]) -> None:
    writer: pq.ParquetWriter | None = None
    try:
        for part in parts:
            file = pq.ParquetFile(part)
            if writer is None:
                schema = file.schema_arrow.with_metadata(
                    {**(file.schema_arrow.metadata or {}), **{key: text.encode() for key, text in metadata.items()}}
                )
                writer = pq.ParquetWriter(target, schema)
            for group in range(file.num_row_groups):
                writer.write_table(_cast(file.read_row_group(group), writer.schema))
    finally:
        if writer is not None:
            writer.close()
