"""The bins of a version's columns: fixed once from its reference; served values are counted in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models_registry.artifacts.features import Feature
from models_registry.artifacts.schema import Schema
from models_registry.monitoring.distributions import MIN_ROWS_NAMED, OTHERS
from models_registry.monitoring.drift import (
    CATEGORY,
    KINDS,
    MAX_CATEGORIES,
    NUMBER,
    as_number,
    category_of,
    is_missing,
)

# Numbers have this many ranges with equal numbers of reference values, and one more range on each side.
RANGES = 10
# Categories with their own bin.
MAX_NAMED = 30
# Characters of such a category.
MAX_NAME = 100
# PostgreSQL's jsonb refuses texts with NUL or with an unpaired surrogate.
_REFUSED = re.compile("[\0\ud800-\udfff]")
# Only this many first features of a model are counted.
MAX_FEATURES = 100
# No feature of a wider model is counted: its features are words or pixels.
MAX_WIDTH = 1_000

Matrix = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class ColumnBins:
    """The bins of one feature, or of the predictions if `position` is None.

    Numbers have the bins below, between and above `edges`; a bin includes its lower edge. Categories have one bin for
    each of `categories`, and one for all others. The last bin holds missing values. `reference` has the reference's
    counts.
    """

    name: str
    position: int | None
    type: str
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    reference: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        """Whether values are compared as numbers or as categories."""
        return KINDS[self.type]

    @property
    def size(self) -> int:
        """The number of bins."""
        return (len(self.edges) if self.kind == NUMBER else len(self.categories)) + 2

    def labels(self) -> tuple[str, ...]:
        """Return a name for each bin except that of missing values."""
        if self.kind == CATEGORY:
            return (*self.categories, OTHERS)
        if not self.edges:
            return ("all values",)
        names = [f"{edge:.6g}" for edge in self.edges]
        between = [
            lower if lower == upper or (self.type == "integer" and end - start <= 1) else f"{lower} to {upper}"
            for start, end, lower, upper in zip(self.edges, self.edges[1:], names, names[1:], strict=False)
        ]
        return (f"below {names[0]}", *between, f"above {names[-1]}")

    def count(self, values: Matrix) -> Matrix:
        """Return the number of `values`, shape (rows,), in each bin."""
        if self.kind == NUMBER:
            numbers = _as_numbers(values)
            finite = numbers[np.isfinite(numbers)]
            counts = np.bincount(np.searchsorted(self.edges, finite, side="right"), minlength=self.size - 1)
            return np.append(counts, len(numbers) - len(finite))
        names = Counter(_category(value, self.type) for value in values.tolist())
        named = [names[name] for name in self.categories]
        return np.array([*named, len(values) - sum(named) - names[None], names[None]])


@dataclass(frozen=True, slots=True)
class VersionBins:
    """The bins of a version's columns, the predictions last."""

    columns: tuple[ColumnBins, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """Return the form that the registry stores."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_json(cls, value: Sequence[Mapping[str, Any]]) -> VersionBins:
        """Return the bins from `to_json`'s form."""
        return cls(
            tuple(
                ColumnBins(
                    name=column["name"],
                    position=column["position"],
                    type=column["type"],
                    edges=tuple(column["edges"]),
                    categories=tuple(column["categories"]),
                    reference=tuple(column["reference"]),
                )
                for column in value
            )
        )

    def count(self, rows: Matrix, labels: Matrix) -> list[Matrix]:
        """Return counts by column for rows of shape (rows, features) and their labels or values."""
        return [
            column.count(labels if column.position is None else rows[:, column.position]) for column in self.columns
        ]


def countable_features(schema: Schema) -> list[tuple[int, Feature]]:
    """Return the features with bins and their positions; none for a model that takes records."""
    if schema.container == "records" or len(schema.inputs) > MAX_WIDTH:
        return []
    return [item for item in enumerate(schema.inputs[:MAX_FEATURES]) if item[1].type in KINDS]


def bins_of(schema: Schema, rows: Matrix, labels: Matrix | None) -> VersionBins:
    """Return the bins for columns of reference rows from `as_matrix`; columns without bins are omitted.

    `labels` are the predictions for the rows, None if unknown.
    """
    found = [_bins(feature, position, rows[:, position]) for position, feature in countable_features(schema)]
    if labels is not None and schema.has_one_label:
        kind = Feature("", "float" if schema.kind == "regressor" else "string")
        found.append(_bins(kind, None, labels))
    return VersionBins(tuple(column for column in found if column is not None))


def as_matrix(rows: Any) -> Matrix:
    """Return rows in any container except records as an array of shape (rows, features)."""
    if isinstance(rows, np.ndarray):
        return rows
    if isinstance(rows, list):
        return as_column(rows).reshape(-1, 1)
    found: Matrix = rows.to_numpy(dtype=object)
    return found


def as_column(values: Sequence[Any]) -> Matrix:
    """Return values as an object array of shape (rows,)."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _bins(feature: Feature, position: int | None, values: Matrix) -> ColumnBins | None:
    column = ColumnBins(feature.name, position, feature.type)
    if column.kind == NUMBER:
        # Served values are rounded before they are counted, so reference values are rounded the same way.
        values = np.array([feature.narrowed(value) for value in _as_numbers(values).tolist()], dtype=np.float64)
        column = ColumnBins(feature.name, position, feature.type, edges=_edges(values[np.isfinite(values)]))
    else:
        counts = Counter(_category(value, feature.type) for value in values.tolist())
        counts.pop(None, None)
        if len(counts) > MAX_CATEGORIES:
            return None
        # A rare value could identify a person.
        frequent = [str(name) for name, rows in counts.most_common() if rows >= MIN_ROWS_NAMED]
        named = [name for name in frequent if len(name) <= MAX_NAME and not _REFUSED.search(name)]
        column = ColumnBins(feature.name, position, feature.type, categories=tuple(named[:MAX_NAMED]))
    reference = tuple(column.count(values).tolist())
    return ColumnBins(column.name, position, column.type, column.edges, column.categories, reference)


def _edges(numbers: Matrix) -> tuple[float, ...]:
    """Return the edges of the bins: each value if there are few, else quantiles; the outer edges enclose all values.

    Edges are finite: the largest float64 is in the bin above the last edge.
    """
    if not len(numbers):
        return ()
    edges = np.unique(numbers)
    if len(edges) > RANGES:
        edges = np.unique(np.quantile(numbers, np.linspace(0, 1, RANGES + 1), method="lower"))[:-1]
    with np.errstate(over="ignore"):  # infinity follows the largest float64
        last = min(np.nextafter(numbers.max(), np.inf), np.finfo(np.float64).max)
    return tuple(np.unique([*edges, last]).tolist())


def _as_numbers(values: Matrix) -> Matrix:
    """Return values as float64; NaN if one is not a number."""
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return np.array([as_number(value) for value in values.tolist()])


def _category(value: Any, feature_type: str) -> str | None:
    if is_missing(value):
        return None
    return str(bool(value)) if feature_type == "boolean" else category_of(value)
