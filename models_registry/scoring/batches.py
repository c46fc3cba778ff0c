"""Batches of rows to score, in the file's form and in the model's form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from models_registry.artifacts.csv_fields import converter_of, guess
from models_registry.artifacts.features import Feature
from models_registry.artifacts.schema import Schema
from models_registry.parquet import Database, as_text, column_of, position, values_query

# The characters of plain numbers: excludes nan, infinity and 1_000, which float() accepts.
_NUMBER_CHARACTERS = frozenset("0123456789+-.eE")
_MOMENTS = ("TIMESTAMP", "DATE")


class Batch(ABC):
    """Some rows of a file."""

    count: int

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """The columns' names."""

    @abstractmethod
    def part(self, start: int, stop: int) -> Batch:
        """Return the rows from `start` up to `stop`."""

    @abstractmethod
    def lists(self, names: Sequence[str]) -> list[list[Any]]:
        """Return the columns `names` as lists, with None for missing values."""

    def records(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return the rows as objects of the columns `names`."""
        if not names:
            return [{} for _ in range(self.count)]
        return [dict(zip(names, row, strict=True)) for row in zip(*self.lists(names), strict=True)]

    @abstractmethod
    def query(self, names: Sequence[str]) -> tuple[str, list[Any]]:
        """Return a DuckDB query for the columns `names` by position, and its values."""

    @abstractmethod
    def model_input(self, schema: Schema) -> Any:
        """Return the rows in the model's form; InputError like for a request."""

    def input_columns(self, schema: Schema) -> dict[Feature, str]:
        """Return features with their columns: by name, or in order if the model has no feature names."""
        names = self.names
        present = {feature: feature.name for feature in schema.inputs if feature.name in names}
        if not present and not schema.named and len(names) == len(schema.inputs):
            return dict(zip(schema.inputs, names, strict=True))
        return present


@dataclass(frozen=True, slots=True)
class Records(Batch):
    """Objects from JSON Lines."""

    rows: list[dict[str, Any]]

    @property
    def count(self) -> int:  # type: ignore[override]
        """Number of rows."""
        return len(self.rows)

    @property
    def names(self) -> list[str]:
        """All columns of the rows, in order of first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def part(self, start: int, stop: int) -> Records:
        """Return the rows from `start` up to `stop`."""
        return Records(self.rows[start:stop])

    def records(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return each row with its values of `names`."""
        return [{name: row[name] for name in names if name in row} for row in self.rows]

    def lists(self, names: Sequence[str]) -> list[list[Any]]:
        """Return the columns as lists."""
        return [[row.get(name) for row in self.rows] for name in names]

    def query(self, names: Sequence[str]) -> tuple[str, list[Any]]:
        """Return the columns with the types of their values."""
        return values_query([column_of(values) for values in self.lists(names)])

    def model_input(self, schema: Schema) -> Any:
        """Return the rows without columns that are not inputs; the schema refuses a row without an input."""
        if schema.container == "records":
            return schema.parse(self.rows)
        names = frozenset(schema.names)
        return schema.parse([{name: value for name, value in row.items() if name in names} for row in self.rows])


@dataclass(frozen=True, slots=True)
class Columns(Batch):
    """Columns of values by name, lists or arrays; text columns if `is_text`."""

    columns: Mapping[str, Any]
    count: int
    is_text: bool = False

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return list(self.columns)

    def part(self, start: int, stop: int) -> Columns:
        """Return the rows from `start` up to `stop`."""
        taken = {name: values[start:stop] for name, values in self.columns.items()}
        return Columns(taken, stop - start, self.is_text)

    def lists(self, names: Sequence[str]) -> list[list[Any]]:
        """Return the columns as lists."""
        return [_as_list(self.columns[name]) for name in names]

    def query(self, names: Sequence[str]) -> tuple[str, list[Any]]:
        """Return the columns with the types of their values."""
        make = as_text if self.is_text else column_of
        return values_query([make(values) for values in self.lists(names)])

    def model_input(self, schema: Schema) -> Any:
        """Return the rows in the model's form."""
        if schema.container == "records":
            return schema.parse([_record_of(row, is_text=self.is_text) for row in self.records(self.names)])
        found = self.input_columns(schema)
        read = _typed if self.is_text else _plain
        return schema.from_columns({item.name: read(self.columns[name], item) for item, name in found.items()})


@dataclass(frozen=True, slots=True)
class StoredRows(Batch):
    """Rows of a DuckDB table, by position; `fields` has the columns' names and types."""

    TABLE: ClassVar[str] = "stored_rows"

    database: Database
    fields: Mapping[str, str]
    start: int
    count: int

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return list(self.fields)

    def part(self, start: int, stop: int) -> StoredRows:
        """Return the rows from `start` up to `stop`."""
        return StoredRows(self.database, self.fields, self.start + start, stop - start)

    def lists(self, names: Sequence[str]) -> list[list[Any]]:
        """Return the columns as lists; nanosecond times as texts, because Python's types do not hold them."""
        chosen = [
            f"{column}::VARCHAR" if self.fields[name].endswith("_NS") else column
            for name, column in zip(names, self._positions(names), strict=True)
        ]
        return [list(column) for column in zip(*self.database.rows(self._select(chosen)), strict=True)]

    def query(self, names: Sequence[str]) -> tuple[str, list[Any]]:
        """Return the columns unchanged."""
        return self._select([f"{old} AS {position(new)}" for new, old in enumerate(self._positions(names))]), []

    def model_input(self, schema: Schema) -> Any:
        """Return the rows in the model's form."""
        if schema.container == "records":
            return schema.parse([_record_of(row) for row in self.records(self.names)])
        found = self.input_columns(schema)
        columns = dict(zip(found, self._values(list(found.values())), strict=True))
        return schema.from_columns({feature.name: _plain(values, feature) for feature, values in columns.items()})

    def _values(self, names: Sequence[str]) -> list[Any]:
        """Return columns as arrays, or as lists if an array would change values."""
        if not names:
            return []
        chosen = [
            f"{column}::DOUBLE" if self.fields[name].startswith("DECIMAL") else column
            for name, column in zip(names, self._positions(names), strict=True)
        ]
        arrays = self.database.arrays(self._select(chosen))
        return [self._column(name, array) for name, array in zip(names, arrays, strict=True)]

    def _column(self, name: str, array: Any) -> Any:
        kind = self.fields[name]
        if kind.startswith(_MOMENTS) and array.dtype.kind == "M":
            return _moments(array, unit="D" if kind == "DATE" else "auto", zone="+00:00" if _has_zone(kind) else "")
        if array.dtype.kind == "O" and kind != "VARCHAR":
            return [value for (value,) in self.database.rows(self._select(self._positions([name])))]
        return array

    def _positions(self, names: Sequence[str]) -> list[str]:
        order = list(self.fields)
        return [position(order.index(name)) for name in names]

    def _select(self, chosen: Sequence[str]) -> str:
        return f"SELECT {', '.join(chosen)} FROM {self.TABLE} LIMIT {self.count} OFFSET {self.start}"


def _has_zone(kind: str) -> bool:
    return "TIME ZONE" in kind or kind.startswith("TIMESTAMPTZ")


def _moments(array: Any, *, unit: Any, zone: str) -> list[str | None]:
    """Return times in ISO 8601; None for a missing one."""
    moments: Any = np.ma.getdata(array)
    texts = np.datetime_as_string(moments, unit=unit).tolist()
    is_missing = np.ma.getmaskarray(array).tolist()
    return [None if missing else text + zone for text, missing in zip(texts, is_missing, strict=True)]


def _plain(values: Any, _: Feature) -> Any:
    """Return a column of numbers as an array; any other column, or missing values, as a list with None."""
    if isinstance(values, list):
        return values
    if values.dtype.kind in "iuf" and not np.ma.is_masked(values):
        return np.ma.getdata(values)
    if values.dtype.kind == "M":
        return [None if text == "NaT" else text for text in np.datetime_as_string(values).tolist()]
    return values.tolist()


def _typed(values: Sequence[str | None], feature: Feature) -> Any:
    """Return the fields of a CSV column in the feature's type, like in a CSV request."""
    if feature.type == "float" and (numbers := _numbers(values)) is not None:
        return numbers
    convert = converter_of(feature)
    return [None if value is None else convert(value) for value in values]


def _numbers(values: Sequence[str | None]) -> np.ndarray[Any, Any] | None:
    """Return texts as numbers; None if one is missing, not finite, or not valid in a request."""
    texts = [value for value in values if value is not None]
    if len(texts) < len(values) or not _NUMBER_CHARACTERS.issuperset("".join(texts)):
        return None
    try:
        numbers = np.array([float(text) for text in texts])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _record_of(row: dict[str, Any], *, is_text: bool = False) -> dict[str, Any]:
    """Return a row without missing values, for a model that takes records."""
    present = {name: value for name, value in row.items() if value is not None}
    return {name: guess(value) for name, value in present.items()} if is_text else present


def _as_list(values: Any) -> list[Any]:
    return values if isinstance(values, list) else values.tolist()
