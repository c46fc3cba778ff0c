"""Categorical splits as extra input columns: 0 goes left, 1 goes right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models_registry.compilation.context import Context, Tensor, Unsupported
from models_registry.compilation.graph import Array

# Every row of a request has all extra columns. Tables with more cells than this are larger than most models.
MAX_CELLS = 20_000_000
Position = Callable[[Context, str, int], str]


class SplitColumns:
    """The extra columns for an input of `width` columns.

    Each feature has a table: its rows are the categories, its columns the splits, its values the sides.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._sides: dict[int, list[Array]] = {}
        self._order: list[tuple[int, int]] = []
        self._known: dict[tuple[int, bytes], int] = {}
        self._cells = 0

    def add(self, feature: int, table: Array) -> int:
        """Return the column that a split with `table` reads; equal splits share it.

        All tables of one feature have the same length.
        """
        key = (feature, table.tobytes())
        if key not in self._known:
            self._cells += len(table)
            if self._cells > MAX_CELLS:
                raise Unsupported(f"its splits by categories need more than {MAX_CELLS:,} cells")
            columns = self._sides.setdefault(feature, [])
            columns.append(table)
            self._order.append((feature, len(columns) - 1))
            self._known[key] = self._width + len(self._order) - 1
        return self._known[key]

    def extend(self, context: Context, tensor: Tensor, position: Position) -> Tensor:
        """Return the input with the extra columns appended; `position` gives the table row of each category."""
        if not self._order:
            return tensor
        graph = context.graph
        parts, start, starts = [tensor.name], 0, {}
        for feature, columns in self._sides.items():
            starts[feature] = start
            start += len(columns)
            table = np.stack(columns, axis=1)
            code = graph.flatten(graph.take(tensor.name, [feature]))
            parts.append(graph.op("Gather", graph.constant(table), position(context, code, len(table) - 1), axis=0))
        order = [self._width + starts[feature] + place for feature, place in self._order]
        beside = graph.concat(parts)
        if order != list(range(self._width, self._width + start)):
            beside = graph.take(beside, [*range(self._width), *order])
        context.needs(16 * (self._width + start))
        return Tensor(beside, self._width + start)
