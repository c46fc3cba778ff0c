"""Writes scored rows to a file: input columns, prediction, confidence and probabilities."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any, Protocol, Self

import orjson

from models_registry.artifacts.prediction import Prediction
from models_registry.artifacts.prediction_json import confidences, labelled_probabilities
from models_registry.artifacts.schema import Schema
from models_registry.errors import ScoringRefused
from models_registry.parquet import Database
from models_registry.scoring.batches import Batch
from models_registry.scoring.joining import join_parquet, write_chunk

PREDICTION, CONFIDENCE, ERROR = "prediction", "confidence", "error"
PROBABILITY = "probability_"


def answer_columns(prediction: Prediction, schema: Schema, *, with_probabilities: bool) -> dict[str, list[Any]]:
    """Return the columns of a prediction, each as a list with one value per row."""
    columns: dict[str, list[Any]] = {PREDICTION: prediction.predictions()}
    confidence = confidences(prediction, schema)
    if confidence is not None:
        columns[CONFIDENCE] = confidence
    if with_probabilities and prediction.probabilities is not None:
        rows = labelled_probabilities(prediction, schema)
        if rows and isinstance(rows[0], dict):
            columns |= {f"{PROBABILITY}{label}": [row[label] for row in rows] for label in rows[0]}
        else:
            # For several outputs each row has a list: probabilities by class for each output.
            columns["probabilities"] = rows
    return columns


class Writer(Protocol):
    """Writes batches to one local file."""

    def write(self, batch: Batch, columns: Mapping[str, list[Any]]) -> None:
        """Append rows: the kept columns of `batch`, and the prediction's columns."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(self, kind: object, *_: object) -> None:
        """Complete the file; after an exception it stays incomplete."""


def open_writer(
    path: Path, kind: str, database: Database, *, keep: Sequence[str] | None, metadata: Mapping[str, str]
) -> Writer:
    """Return the writer for a file format; `keep` names the input columns to keep, None for all.

    `database` writes Parquet: `path` must be in its directory.
    """
    if kind == "jsonl":
        return _JsonLines(path, keep)
    if kind == "csv":
        return _Csv(path, keep)
    return _Parquet(path, database, keep, metadata)


def _kept(batch: Batch, keep: Sequence[str] | None) -> list[str]:
    names = batch.names
    return names if keep is None else [name for name in keep if name in names]


class _JsonLines:
    def __init__(self, path: Path, keep: Sequence[str] | None) -> None:
        self._keep = keep
        self._file = path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, batch: Batch, columns: Mapping[str, list[Any]]) -> None:
        names = list(columns)
        rows = batch.records(_kept(batch, self._keep))
        for row, answer in zip(rows, zip(*columns.values(), strict=True), strict=True):
            line = {**row, **dict(zip(names, answer, strict=True))}
            self._file.write(orjson.dumps(line, default=_plain, option=orjson.OPT_APPEND_NEWLINE))


def _plain(value: Any) -> Any:
    """Return a JSON value for a value of another type."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


class _Csv:
    """Writes CSV; the first batch sets the columns."""

    def __init__(self, path: Path, keep: Sequence[str] | None) -> None:
        self._keep = keep
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._names: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, batch: Batch, columns: Mapping[str, list[Any]]) -> None:
        kept, answers = _kept(batch, self._keep), _flat(columns)
        names = [*kept, *answers]
        if not self._names:
            self._names = names
            self._writer.writerow(names)
        if new := [name for name in names if name not in self._names]:
            raise ScoringRefused(
                f"column {new[0]!r} is not in the rows before. Write JSON Lines: each line has its own."
            )
        lists = batch.lists(kept) if kept else []
        fields = {name: _fields(values) for name, values in zip(names, [*lists, *answers.values()], strict=True)}
        missing = [None] * batch.count
        self._writer.writerows(zip(*(fields.get(name, missing) for name in self._names), strict=True))


def _fields(values: list[Any]) -> list[Any]:
    """Return a column for CSV; columns of texts and floats are unchanged."""
    kinds = set(map(type, values))
    return values if kinds <= {str, float, int, type(None)} else [_field(value) for value in values]


def _field(value: Any) -> Any:
    """Return a value for CSV: lists and objects as JSON."""
    if value is None or isinstance(value, str | float):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return orjson.dumps(value, default=_plain).decode()
    if isinstance(value, date | datetime):
        return value.isoformat()
    return value if isinstance(value, int) else _plain(value)


def _flat(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return columns without lists: each of several outputs gets its own column, counted from 0."""
    flat: dict[str, list[Any]] = {}
    for name, values in columns.items():
        widths = {len(value) for value in values if isinstance(value, list)}
        if not widths:
            flat[name] = values
            continue
        for index in range(max(widths)):
            flat[f"{name}_{index}"] = [value[index] if isinstance(value, list) else None for value in values]
    return flat


class _Parquet:
    """Writes a file per batch, then joins the files: at most one batch is in memory."""

    def __init__(self, path: Path, database: Database, keep: Sequence[str] | None, metadata: Mapping[str, str]) -> None:
        self._path = path
        self._database = database
        self._keep = keep
        self._metadata = metadata
        self._chunks: list[Path] = []

    def write(self, batch: Batch, columns: Mapping[str, list[Any]]) -> None:
        path = self._path.with_name(f"{self._path.name}-{len(self._chunks):06d}")
        write_chunk(self._database, path, batch, _kept(batch, self._keep), columns)
        self._chunks.append(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            return
        join_parquet(self._database, self._chunks, self._path, self._metadata)
        for path in self._chunks:
            path.unlink()


def join(parts: Iterable[Callable[[], IO[bytes]]], kind: str, target: Path) -> None:
    """Write the rows of all CSV or JSON Lines parts to one file, reading one part at a time."""
    with target.open("wb") as output:
        for index, open_part in enumerate(parts):
            with open_part() as part:
                if kind == "csv" and index:
                    part.readline()
                shutil.copyfileobj(part, output)
