"""Counts of served values by column and bin, as usage windows store them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class ValueCounts:
    """Counts by column and bin, in the order of the bins with the id `bins`; `dropped` rows were not counted."""

    bins: int
    columns: tuple[tuple[int, ...], ...]
    rows: int = 0
    dropped: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the form that a usage window stores."""
        columns = [list(counts) for counts in self.columns]
        return {"bins": self.bins, "rows": self.rows, "dropped": self.dropped, "columns": columns}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ValueCounts | None:
        """Return the counts from `to_json`'s form; None for a window without counts."""
        if not value:
            return None
        return cls(value["bins"], tuple(map(tuple, value["columns"])), value["rows"], value["dropped"])


def combined_counts(counts: ValueCounts | None, other: ValueCounts | None, sign: int = 1) -> ValueCounts | None:
    """Return the sum of both, or with `sign` -1 the difference; with different bins, only the newer counts."""
    if counts is None or other is None:
        return counts or other
    if counts.bins != other.bins:
        return max(counts, other, key=lambda item: item.bins)
    columns = tuple(
        tuple(count + sign * more for count, more in zip(column, others, strict=True))
        for column, others in zip(counts.columns, other.columns, strict=True)
    )
    return replace(
        counts,
        columns=columns,
        rows=counts.rows + sign * other.rows,
        dropped=counts.dropped + sign * other.dropped,
    )
