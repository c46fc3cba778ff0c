"""Converters of pipelines, column transformers, and encoders of categories."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from models_registry.compilation.context import (
    Context,
    Raw,
    Tensor,
    Unsupported,
    Value,
    transform,
    transformed,
    transforms,
)
from models_registry.compilation.encoder import CodeColumn
from models_registry.compilation.graph import Array

ENCODERS = {"OneHotEncoder", "OrdinalEncoder", "TargetEncoder"}
# Steps whose outputs each depend on one input column, so that a table by category holds all of them.
COLUMNWISE = ENCODERS | {"SimpleImputer", "StandardScaler", "MaxAbsScaler", "MinMaxScaler", "RobustScaler"}
# Up to this many cells (codes × outputs), one gather reads a table; a larger table is stored by column.
ONE_TABLE_CELLS = 1_000_000
UNKNOWN_TEXT = "\x00 no category of this column"


@transforms("Pipeline")
def _pipeline(context: Context, pipeline: Any, value: Value) -> Tensor:
    table = _tabulated(context, pipeline, value)
    return table if table is not None else context.tensor(through_steps(context, pipeline.steps, value))


def through_steps(context: Context, steps: Any, value: Value) -> Value:
    """Return `value` after these steps of a pipeline."""
    for _, step in steps:
        if step is not None and not (isinstance(step, str) and step == "passthrough"):
            value = transformed(context, step, value)
    return value


@transforms("ColumnTransformer")
def _column_transformer(context: Context, chooser: Any, value: Value) -> Tensor:
    parts: list[tuple[int, Tensor]] = []
    for name, step, columns in chooser.transformers_:
        chosen = chooser._transformer_to_input_indices.get(name, [])
        if (isinstance(step, str) and step == "drop") or len(chosen) == 0:
            continue
        if isinstance(columns, str | int) and not isinstance(columns, bool):
            raise Unsupported(f"the column {columns!r} reaches its step as a list of values, not as a table")
        start = chooser.output_indices_[name].start
        part = _choose(context, value, [int(index) for index in chosen])
        is_identity = isinstance(step, str) and step == "passthrough"
        parts.append((start, context.tensor(part) if is_identity else transform(context, step, part)))
    return _beside(context, [part for _, part in sorted(parts, key=lambda pair: pair[0])])


@transforms("FeatureUnion")
def _union(context: Context, union: Any, value: Value) -> Tensor:
    weights = union.transformer_weights or {}
    parts = []
    for name, step in union.transformer_list:
        if isinstance(step, str) and step == "drop":
            continue
        is_identity = isinstance(step, str) and step == "passthrough"
        part = context.tensor(value) if is_identity else transform(context, step, value)
        if name in weights:
            scaled = context.graph.multiply(part.name, context.graph.constant(float(weights[name])))
            part = Tensor(scaled, part.width)
        parts.append(part)
    return _beside(context, parts)


def _choose(context: Context, value: Value, columns: list[int]) -> Value:
    if isinstance(value, Raw):
        return Raw(tuple(value.columns[index] for index in columns))
    tensor = context.tensor(value)
    sources = None if tensor.sources is None else tuple(tensor.sources[index] for index in columns)
    return Tensor(context.graph.take(tensor.name, columns), len(columns), sources)


def _beside(context: Context, parts: list[Tensor]) -> Tensor:
    if not parts:
        raise Unsupported("a step that selects no columns has no compiled form")
    if len(parts) == 1:
        return parts[0]
    sources: tuple[int, ...] | None = ()
    for part in parts:
        sources = None if sources is None or part.sources is None else sources + part.sources
    return Tensor(context.graph.concat([part.name for part in parts]), sum(part.width for part in parts), sources)


@transforms("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")
def _encoder(context: Context, encoder: Any, value: Value) -> Tensor:
    table = _tabulated(context, encoder, value)
    if table is None:
        raise Unsupported(f"a {type(encoder).__name__} after other steps has no compiled form here")
    return table


def _tabulated(context: Context, transformer: Any, value: Value) -> Tensor | None:
    """Return a block of columns with an encoder as a lookup table by category; None for other blocks.

    The native block itself transforms each category, an unknown one and a missing one. So all parameters of all
    encoders have their effect without code for each.
    """
    steps = list(_leaves(transformer))
    encoders = [step for step in steps if type(step).__name__ in ENCODERS]
    if not isinstance(value, Raw) or len(encoders) != 1 or any(type(step).__name__ not in COLUMNWISE for step in steps):
        return None
    categories = encoders[0].categories_
    if len(categories) != len(value.columns):
        raise Unsupported("an encoder after a step that drops columns has no compiled form here")
    tables = _Tables(context, transformer, value)
    for position, known in enumerate(categories):
        tables.ask(position, [item for item in np.asarray(known, dtype=object).tolist() if not _is_missing(item)])
    return tables.build()


def _leaves(transformer: Any) -> Iterator[Any]:
    if type(transformer).__name__ == "Pipeline":
        for _, step in transformer.steps:
            if step is not None and not (isinstance(step, str) and step == "passthrough"):
                yield from _leaves(step)
    else:
        yield transformer


class _Tables:
    """The outputs of a block by category."""

    def __init__(self, context: Context, transformer: Any, value: Raw) -> None:
        self._context = context
        self._transformer = transformer
        self._sources = value.columns
        self._columns: list[CodeColumn] = []
        self._answers: list[Array] = []
        self._base = list(context.base_row)
        self._categories: list[list[Any]] = []

    def ask(self, position: int, known: list[Any]) -> None:
        """Note the categories of one column."""
        if not known:
            raise Unsupported("an encoder of a column without categories has no compiled form here")
        self._base[self._sources[position]] = self._typed(position, known[0])
        self._categories.append(known)

    def build(self) -> Tensor:
        """Return the block's outputs."""
        for position, known in enumerate(self._categories):
            self._ask_native(position, known)
        base = self._native([self._base])[0]
        changes = [np.any(~_same(answers, base), axis=0) for answers in self._answers]
        if np.sum(changes, axis=0).max(initial=0) > 1:
            raise Unsupported("an encoder whose outputs depend on several columns has no compiled form")
        # Constant outputs belong to the first column's table.
        changes[0] = changes[0] | ~np.any(changes, axis=0)
        codes = self._context.codes(self._columns)
        cells = sum(map(len, self._answers)) * len(base)
        width = len(base)
        name = self._one_table(codes, changes, width) if cells <= ONE_TABLE_CELLS else self._many(codes, changes)
        return Tensor(name, width)

    def _ask_native(self, position: int, known: list[Any]) -> None:
        source = self._sources[position]
        feature = self._context.schema.inputs[source]
        rows = [self._varied(position, item) for item in known]
        answers = [self._native(rows)]
        unknown = self._try(position, _unknown(feature.type, known))
        missing = self._try(position, None)
        count = len(known)
        unknown_code = missing_code = None
        if unknown is not None:
            answers.append(unknown)
            unknown_code, count = count, count + 1
        if missing is not None:
            answers.append(missing)
            missing_code = count
        self._columns.append(CodeColumn(source, feature.name, tuple(known), unknown_code, missing_code))
        self._answers.append(np.concatenate(answers))

    def _try(self, position: int, item: Any) -> Array | None:
        """Return the native output for a value, or None if the block refuses it."""
        try:
            return self._native([self._varied(position, item)])
        except (ValueError, TypeError):
            return None

    def _varied(self, position: int, item: Any) -> list[Any]:
        row = list(self._base)
        row[self._sources[position]] = self._typed(position, item)
        return row

    def _typed(self, position: int, item: Any) -> Any:
        """Return a category in the type of request values."""
        kind = self._context.schema.inputs[self._sources[position]].type
        if item is None or kind == "any":
            return item
        if kind == "string":
            return str(item)
        if kind == "boolean":
            return bool(item)
        if type(item) is int:
            # float64 would change integers above 2**53.
            return item
        try:
            number = float(item)
        except (TypeError, ValueError) as error:
            name = self._context.schema.inputs[self._sources[position]].name
            raise Unsupported(
                f"the schema takes {name!r} as {kind}, but its encoder was fitted on {item!r}; declare the input "
                "in the manifest"
            ) from error
        return int(number) if kind == "integer" and number.is_integer() else number

    def _native(self, rows: list[list[Any]]) -> Array:
        from sklearn.utils import _safe_indexing

        # The base row comes first, so that every column has a value that shows its type.
        parsed = self._context.parse_freely([self._base, *rows])
        chosen = _safe_indexing(parsed, list(self._sources), axis=1)
        answered = self._transformer.transform(chosen)
        dense = answered.toarray() if hasattr(answered, "toarray") else np.asarray(answered)
        try:
            return np.asarray(dense[1:], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise Unsupported("an encoder whose outputs are not numbers has no compiled form") from error

    def _one_table(self, codes: str, changes: list[Array], width: int) -> str:
        """Return the outputs as a sum of rows of one table, in which each column's rows are zero elsewhere."""
        graph = self._context.graph
        starts = np.cumsum([0, *map(len, self._answers[:-1])])
        table = np.concatenate(
            [np.where(change, answers, 0.0) for answers, change in zip(self._answers, changes, strict=True)]
        )
        self._context.needs(16 * len(changes) * width)
        places = graph.op("Add", codes, graph.constant(starts, np.int64)) if len(starts) > 1 else codes
        rows = graph.op("Gather", graph.constant(table), places, axis=0)
        return graph.total(rows, 1, keep=False)

    def _many(self, codes: str, changes: list[Array]) -> str:
        """Return the outputs from one table per column, in order."""
        graph = self._context.graph
        parts, order = [], []
        for position, (answers, change) in enumerate(zip(self._answers, changes, strict=True)):
            kept = np.flatnonzero(change)
            if kept.size == 0:
                continue
            code = graph.flatten(graph.take(codes, [position]))
            parts.append(graph.op("Gather", graph.constant(answers[:, kept]), code, axis=0))
            order.extend(kept.tolist())
        beside = graph.concat(parts)
        self._context.needs(16 * len(order))
        return beside if order == sorted(order) else graph.take(beside, np.argsort(order))


def _same(left: Array, right: Array) -> Array:
    return np.asarray((left == right) | (np.isnan(left) & np.isnan(right)))


def _unknown(kind: str, known: list[Any]) -> Any:
    """Return a value of the column's type that is not a category."""
    numbers = [item.item() if isinstance(item, np.generic) else item for item in known]
    numbers = [item for item in numbers if isinstance(item, int | float)]
    if kind == "string" or (kind == "any" and not numbers):
        return UNKNOWN_TEXT
    if kind == "boolean":
        return next((item for item in (True, False) if item not in known), None)
    low, high = (min(numbers), max(numbers)) if numbers else (0, 0)
    # A large float plus one is the same float, and the largest integer plus one needs more than 64 bits.
    for candidate in (high + 1, low - 1, high / 2, 0, 1, 2):
        if candidate not in numbers and (type(candidate) is float or -(2**63) < candidate < 2**63):
            return candidate
    return None


def _is_missing(item: Any) -> bool:
    is_nan = isinstance(item, float | np.floating) and np.isnan(item)
    return item is None or bool(is_nan) or type(item).__name__ == "NAType"
