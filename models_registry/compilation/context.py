"""State of one compilation: its inputs, thresholds, and graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from models_registry.artifacts.schema import Schema
from models_registry.compilation.encoder import CodeColumn, InputColumn, NumberColumn
from models_registry.compilation.graph import INPUT, Array, Graph
from models_registry.compilation.text import WordWeights, array_to_json

NUMERIC = {"float", "integer", "boolean"}
REMEMBERED_ROWS = 256
# Up to this width, a dense row of all words is faster than scikit-learn's sparse matrices.
MAX_DENSE_WORDS = 4096


class Unsupported(Exception):
    """This estimator, with these parameters, has no compiled form; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Inputs from the request, by position in the schema."""

    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A float64 matrix inside the graph; `sources` are schema positions if it is unchanged input."""

    name: str
    width: int
    sources: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """The weighted words of the text at this schema position; not expanded to a matrix yet."""

    source: int
    weights: WordWeights


Value = Raw | Tensor | Words


@dataclass(frozen=True, slots=True)
class Outputs:
    """The output tensors of an estimator.

    A classifier has `label`, int64 positions in `classes`. It optionally has `probabilities`, shape (rows, classes),
    and `decision`. A regressor has `prediction`, shape (rows,) or (rows, outputs).
    """

    label: str | None = None
    probabilities: str | None = None
    decision: str | None = None
    prediction: str | None = None
    classes: Array | None = None
    # Bytes of one row inside the graph; this limits the rows of one run.
    row_bytes: int = 0


@dataclass(slots=True)
class Context:
    """The state of one compilation."""

    schema: Schema
    base_row: list[Any]
    graph: Graph = field(default_factory=Graph)
    columns: list[InputColumn] = field(default_factory=list)
    # Values at which an input changes the path through a tree; verification tests both sides of each.
    thresholds: dict[int, list[Array]] = field(default_factory=dict)
    # Training rows that the model stores, e.g. neighbours: predicting these reveals ties.
    remembered: list[list[Any]] = field(default_factory=list)
    # The lowest value for which a function of an input is defined.
    lowest: dict[int, float] = field(default_factory=dict)
    row_bytes: int = 0
    # Distances by products are fast, by differences exact; products are tried first.
    distances_by_products: bool = True
    measured_distances: bool = False
    # The vocabulary of a text model, and the blocks of columns that the graph takes.
    word_weights: WordWeights | None = None
    word_blocks: list[Array | None] = field(default_factory=list)
    word_columns: int = 0
    _numbers: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.schema.container == "array":
            # The array then enters the graph without a copy.
            for source in range(len(self.schema.inputs)):
                self._number(source)

    def everything(self) -> Raw:
        return Raw(tuple(range(len(self.schema.inputs))))

    def tensor(self, value: Value) -> Tensor:
        """Return `value` as a matrix of the graph; Unsupported if a column is not a number."""
        if isinstance(value, Tensor):
            return value
        if isinstance(value, Words):
            width = len(value.weights.vocabulary)
            if width > MAX_DENSE_WORDS:
                raise Unsupported(
                    f"a step takes {width} words as a matrix; at most {MAX_DENSE_WORDS} have a compiled form"
                )
            return Tensor(self._word_block(value, None, width), width)
        for source in value.columns:
            feature = self.schema.inputs[source]
            if feature.type not in NUMERIC:
                raise Unsupported(
                    f"the feature {feature.name!r} ({feature.type}) reaches a step that takes only numbers"
                )
        positions = [self._number(source) for source in value.columns]
        return Tensor(self.graph.take(INPUT, positions), len(positions), value.columns)

    def product(self, value: Value, matrix: Array) -> str:
        """Return the product of `value` and a matrix of shape (columns, width)."""
        if isinstance(value, Words):
            return self._word_block(value, np.asarray(matrix, dtype=np.float64), matrix.shape[1])
        return self.graph.matmul(self.tensor(value).name, self.graph.constant(matrix))

    def words(self, source: int, weights: WordWeights) -> Words:
        """Return the words of a text."""
        return Words(source, weights)

    def text_plan(self) -> dict[str, Any] | None:
        """Return the encoding of texts to the graph's input; None for a model without text."""
        if self.word_weights is None:
            return None
        blocks = [None if block is None else array_to_json(block) for block in self.word_blocks]
        return {"weights": self.word_weights.to_json(), "blocks": blocks}

    def _word_block(self, words: Words, matrix: Array | None, width: int) -> str:
        if self.word_weights is None:
            self.word_weights = words.weights
        elif self.word_weights is not words.weights:
            raise Unsupported("several vectorizers of one text have no compiled form here")
        start = self.word_columns
        self.word_columns += width
        self.word_blocks.append(matrix)
        self.needs(16 * width)
        return self.graph.take(INPUT, range(start, start + width))

    def codes(self, columns: Sequence[CodeColumn]) -> str:
        """Add input columns for the positions of categories, and return them as int64."""
        start = len(self.columns)
        self.columns.extend(columns)
        return self.graph.as_int64(self.graph.take(INPUT, range(start, start + len(columns))))

    def _number(self, source: int) -> int:
        if source not in self._numbers:
            self._numbers[source] = len(self.columns)
            self.columns.append(NumberColumn(source))
        return self._numbers[source]

    def remember_thresholds(self, tensor: Tensor, features: Array, values: Array) -> None:
        """Store a tree's thresholds on unchanged inputs."""
        if tensor.sources is None:
            return
        for position, source in enumerate(tensor.sources):
            met = values[features == position]
            if met.size:
                self.thresholds.setdefault(source, []).append(met)

    def remember_rows(self, tensor: Tensor, rows: Array) -> None:
        """Store some training rows of the model, if they are whole rows of unchanged inputs."""
        if tensor.sources == tuple(range(len(self.schema.inputs))):
            step = max(1, len(rows) // REMEMBERED_ROWS)
            self.remembered.extend(np.asarray(rows, dtype=np.float64)[::step][:REMEMBERED_ROWS].tolist())

    def needs(self, row_bytes: int) -> None:
        """Record the bytes of an intermediate result of a row; the largest one counts."""
        self.row_bytes = max(self.row_bytes, row_bytes)

    def parse_freely(self, rows: Sequence[Sequence[Any]]) -> Any:
        """Return rows in the model's container, including unknown categories and missing values."""
        opened = tuple(replace(feature, closed=False, nullable=True) for feature in self.schema.inputs)
        return replace(self.schema, inputs=opened).parse([list(row) for row in rows])


Converter = TypeVar("Converter")
Transform = Callable[[Context, Any, Value], Tensor | Words]
AnyTransform = TypeVar("AnyTransform", bound=Transform)
Predict = Callable[[Context, Any, Value], Outputs]

TRANSFORMERS: dict[str, Transform] = {}
PREDICTORS: dict[str, Predict] = {}


def transforms(*names: str) -> Callable[[AnyTransform], AnyTransform]:
    """Register the function as the converter of these scikit-learn transformers."""

    def register(function: AnyTransform) -> AnyTransform:
        TRANSFORMERS.update(dict.fromkeys(names, function))
        return function

    return register


def predicts(*names: str) -> Callable[[Predict], Predict]:
    """Register the function as the converter of these scikit-learn predictors."""

    def register(function: Predict) -> Predict:
        PREDICTORS.update(dict.fromkeys(names, function))
        return function

    return register


def transformed(context: Context, transformer: Any, value: Value) -> Tensor | Words:
    """Return the output of `transformer` for `value`."""
    return _registered(TRANSFORMERS, transformer)(context, transformer, value)


def transform(context: Context, transformer: Any, value: Value) -> Tensor:
    """Return the output of `transformer` for `value`, as a matrix of the graph."""
    return context.tensor(transformed(context, transformer, value))


def predict(context: Context, estimator: Any, value: Value) -> Outputs:
    """Return the outputs of `estimator` for `value`."""
    return _registered(PREDICTORS, estimator)(context, estimator, value)


def _registered(table: Mapping[str, Converter], estimator: Any) -> Converter:
    kind = type(estimator)
    # By exact class of scikit-learn or of this package: a subclass may override anything.
    found = table.get(kind.__name__) if kind.__module__.startswith(("sklearn.", "models_registry.")) else None
    if found is None:
        raise Unsupported(f"{kind.__name__} has no compiled form here")
    return found
