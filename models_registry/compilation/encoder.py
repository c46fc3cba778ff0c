"""Encodes parsed rows as one float64 matrix for the compiled graph, without pandas."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A numeric input of the graph.

    `refuses_missing` and `lowest` describe numbers that the schema accepts and the native model refuses. The graph
    itself would return a result for them.
    """

    source: int
    refuses_missing: bool = False
    lowest: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {"source": self.source, "refuses_missing": self.refuses_missing, "lowest": self.lowest}


@dataclass(frozen=True, slots=True)
class CodeColumn:
    """An input that the graph gets as the position of its category.

    `unknown` and `missing` are the positions for an unknown category and a missing value; None if the native model
    refuses such a value.
    """

    source: int
    name: str
    categories: tuple[Any, ...]
    unknown: int | None
    missing: int | None

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "name": self.name,
            "categories": list(self.categories),
            "unknown": self.unknown,
            "missing": self.missing,
        }


InputColumn = NumberColumn | CodeColumn


def column_from_json(value: Mapping[str, Any]) -> InputColumn:
    """Return the encoder from `to_json`'s form."""
    if "categories" not in value:
        return NumberColumn(value["source"], value["refuses_missing"], value["lowest"])
    return CodeColumn(value["source"], value["name"], tuple(value["categories"]), value["unknown"], value["missing"])


class InputEncoder:
    """Converts parsed rows to the matrix that the graph takes."""

    def __init__(self, columns: Sequence[InputColumn], names: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._names = tuple(names)
        self.is_direct = [column.source for column in columns] == list(range(len(names))) and all(
            isinstance(column, NumberColumn) for column in columns
        )
        self._codes = {
            position: _Lookup(column) for position, column in enumerate(columns) if isinstance(column, CodeColumn)
        }
        self._plan = [(column.source, self._codes.get(position)) for position, column in enumerate(columns)]
        numbers = {position: column for position, column in enumerate(columns) if isinstance(column, NumberColumn)}
        self._never_missing = [position for position, column in numbers.items() if column.refuses_missing]
        lowest = {position: column.lowest for position, column in numbers.items() if column.lowest is not None}
        self._bounded, self._lowest = list(lowest), np.array(list(lowest.values()))

    def __call__(self, rows: Any) -> Array:
        """Return float64 of shape (rows, columns); ValueError for values that the native model refuses."""
        matrix = self._matrix(rows)
        if self._never_missing and np.isnan(matrix[:, self._never_missing]).any():
            raise ValueError("Input X contains NaN.")
        if self._bounded and (matrix[:, self._bounded] < self._lowest).any():
            raise ValueError("Input X holds a value for which a function in the model is not defined.")
        return matrix

    def _matrix(self, rows: Any) -> Array:
        if isinstance(rows, np.ndarray):
            if self.is_direct and rows.dtype == np.float64:
                return rows
            return self._from_array(rows)
        if hasattr(rows, "columns") and hasattr(rows, "iloc"):
            return self._from_columns([rows[name].tolist() for name in self._names], len(rows))
        if isinstance(rows, Mapping):
            columns = [_as_list(rows[name]) for name in self._names]
            return self._from_columns(columns, len(columns[0]) if columns else 0)
        return self._from_rows(rows)

    def _from_array(self, rows: Array) -> Array:
        if len(rows) == 1 or rows.dtype == object:
            return self._from_rows(rows.tolist())
        matrix = np.empty((len(rows), len(self._plan)))
        for position, (source, lookup) in enumerate(self._plan):
            matrix[:, position] = rows[:, source] if lookup is None else lookup.all(rows[:, source].tolist())
        return matrix

    def _from_rows(self, rows: Sequence[Sequence[Any]]) -> Array:
        plan = self._plan
        try:
            return np.array(
                [
                    [row[source] if lookup is None else lookup.one(row[source]) for source, lookup in plan]
                    for row in rows
                ],
                dtype=np.float64,
            )
        except TypeError:
            return self._from_columns([list(column) for column in zip(*rows, strict=True)], len(rows))

    def _from_columns(self, columns: Sequence[list[Any]], count: int) -> Array:
        matrix = np.empty((count, len(self._plan)))
        for position, (source, lookup) in enumerate(self._plan):
            values = columns[source]
            matrix[:, position] = [_number(value) for value in values] if lookup is None else lookup.all(values)
        return matrix


class _Lookup:
    """The position of each category of one column."""

    def __init__(self, column: CodeColumn) -> None:
        self._column = column
        # A dict treats 1, 1.0 and True as equal, like scikit-learn's comparison.
        self._positions: dict[Any, int] = {}
        for position, category in enumerate(column.categories):
            if not _is_missing(category):
                self._positions.setdefault(category, position)

    def one(self, value: Any) -> int:
        position = self._positions.get(value)
        return self._other(value) if position is None else position

    def all(self, values: Sequence[Any]) -> list[int]:
        positions = list(map(self._positions.get, values))
        if None in positions:
            return [self.one(value) for value in values]
        return positions  # type: ignore[return-value]  # no None is left

    def _other(self, value: Any) -> int:
        column = self._column
        position = column.missing if _is_missing(value) else column.unknown
        if position is None:
            raise ValueError(f"Found unknown categories [{value!r}] in column {column.name!r} during transform")
        return position


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ == "NAType"


def _number(value: Any) -> float:
    return math.nan if _is_missing(value) else float(value)


def _as_list(values: Any) -> list[Any]:
    return values.tolist() if hasattr(values, "tolist") else list(values)
