"""Rows to verify a compiled model with: the sample, its surroundings, and the edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from models_registry.artifacts.features import MAX_NUMBER, Feature
from models_registry.artifacts.schema import Schema
from models_registry.compilation.graph import Array

ROWS = 512
SAMPLE_ROWS = 192
MIN_DRAWN = 256
NUMERIC = {"float", "integer", "boolean"}
# Multiples of typical values, to compare both forms at extremes.
FAR = (0.0, 1.0, -1.0, 30.0, -30.0, 1_000.0)
# Rows that are timed, and how many values they may have.
TYPICAL_ROWS = 1_024
MIN_TYPICAL_ROWS = 64
TYPICAL_VALUES = 1_000_000
MAX_WORDS = 60
BETWEEN = (" ", " ", " ", ", ", ". ", "\n", "-", "'", "\t", " — ", "\u00a0", "1 ", "_")
ODD_TEXTS = (" ", "a", "I", "İstanbul STRASSE straße ﬁn", "e\u0301te\u0301", "日本語 テキスト", "😀 ok", "x" * 5000)
NEVER_SEEN = ("\x00 never seen", "", "ÄÖ ☃")


def ordered(schema: Schema, instances: Sequence[Any]) -> list[list[Any]]:
    """Return sample rows as lists in the schema's order."""
    names = schema.names
    rows = []
    for row in instances:
        if isinstance(row, Mapping):
            rows.append([row.get(name) for name in names])
        elif isinstance(row, list | tuple):
            rows.append(list(row))
        else:
            rows.append([row])
    return rows


def base_row(schema: Schema, sample: Sequence[list[Any]]) -> list[Any]:
    """Return a valid row: the sample's first, or a generated one."""
    if sample:
        return list(sample[0])
    return [_plain(feature) for feature in schema.inputs]


def _plain(feature: Feature) -> Any:
    known = _known(feature)
    if known:
        return known[0]
    return {"string": "", "boolean": False, "integer": 0}.get(feature.type, 0.0)


def _known(feature: Feature) -> list[Any]:
    return [item for item in feature.categories or () if item is not None and not _is_nan(item)]


def _is_nan(item: Any) -> bool:
    return isinstance(item, float) and math.isnan(item)


def sample_rows(
    schema: Schema,
    sample: Sequence[list[Any]],
    thresholds: Mapping[int, Array],
    *,
    remembered: Sequence[list[Any]] = (),
    vocabulary: Sequence[str] = (),
    seed: int = 0,
) -> list[list[Any]]:
    """Return about ROWS valid rows.

    The first rows are those of the sample, and the training rows that the model stores. Further rows mix sample values
    with noise, values on and next to the trees' thresholds, extreme values, and all categories. If the schema allows
    them, there are also unknown categories and missing values. A model with a `vocabulary` gets texts of its words.
    """
    rng = np.random.default_rng(seed)
    if vocabulary:
        return [list(row) for row in sample[:SAMPLE_ROWS]] + [[text] for text in _texts(vocabulary, sample, rng)]
    kept = [list(row) for row in (*sample[:SAMPLE_ROWS], *_typed_rows(schema, remembered))]
    columns = [
        _Column(feature, [row[position] for row in kept], thresholds.get(position), rng)
        for position, feature in enumerate(schema.inputs)
    ]
    count = max(ROWS - len(kept), MIN_DRAWN) - len(FAR)
    drawn = [column.draw(count) for column in columns]
    far = [column.far() for column in columns]
    rows = [*zip(*drawn, strict=True), *zip(*far, strict=True)] if columns else []
    return kept + [list(row) for row in rows]


def typical_rows(sample: Sequence[list[Any]], rows: Sequence[list[Any]]) -> list[list[Any]]:
    """Return up to TYPICAL_ROWS rows for timings, each value from the same column of any row of the sample.

    If the sample has fewer than two rows, the values come from the rows of `rows` without missing values. Predictions
    of extreme and of missing values take another time than those of usual requests.
    """
    source = sample if len(sample) > 1 else [row for row in rows if None not in row] or rows
    if not source:
        return []
    width = max(1, len(source[0]))
    count = max(MIN_TYPICAL_ROWS, min(TYPICAL_ROWS, TYPICAL_VALUES // width))
    picked = np.random.default_rng(0).integers(0, len(source), (count, width)).tolist()
    return [[source[row][column] for column, row in enumerate(choice)] for choice in picked]


def _texts(vocabulary: Sequence[str], sample: Sequence[list[Any]], rng: np.random.Generator) -> list[str]:
    """Return texts of known and unknown words, repeated, in both cases, with all possible separators."""
    seen = [word for row in sample for word in str(row[0]).split()]
    choices = [*vocabulary, *seen]
    texts = [*NEVER_SEEN, *ODD_TEXTS, " ".join(vocabulary[:MAX_WORDS])]
    for length in rng.integers(0, MAX_WORDS, MIN_DRAWN).tolist():
        words = [choices[index] for index in rng.integers(0, len(choices), length)]
        # Some words are repeated.
        words += words[: int(rng.integers(0, 8))] * int(rng.integers(0, 4))
        written = [_written(word, int(rng.integers(0, 10))) for word in words]
        texts.append("".join(f"{word}{BETWEEN[int(rng.integers(0, len(BETWEEN)))]}" for word in written))
    return texts


def _written(word: str, way: int) -> str:
    ways = {0: word.upper(), 1: word.title(), 2: f"{word}x", 3: f"_{word}", 4: "q"}
    return ways.get(way, word)


def _typed_rows(schema: Schema, rows: Sequence[list[Any]]) -> list[list[Any]]:
    """Return rows of floats in the schema's types."""
    kinds: dict[str, Callable[[float], Any]] = {"integer": round, "boolean": bool}
    makers = [kinds.get(feature.type, float) for feature in schema.inputs]
    return [[make(value) for make, value in zip(makers, row, strict=True)] for row in rows]


class _Column:
    """One feature's values: those of the sample, their spread, and the trees' thresholds."""

    def __init__(self, feature: Feature, values: list[Any], thresholds: Array | None, rng: np.random.Generator) -> None:
        self._feature = feature
        self._rng = rng
        self._thresholds = np.unique(thresholds) if thresholds is not None else np.empty(0)
        self._seen = [value for value in values if value is not None]
        known = _known(feature)
        self._categories = known or ([] if feature.type in NUMERIC else sorted(set(map(str, self._seen))))
        self._is_number = feature.type in NUMERIC and not known
        if self._is_number:
            finite = np.array([float(value) for value in self._seen if not _is_nan(value)] or [0.0])
            self._numbers = np.concatenate([finite, self._thresholds])
            spread = float(self._numbers.std())
            self._spread = spread if spread > 0 else max(1.0, float(np.abs(self._numbers).max()) * 0.1)

    def draw(self, count: int) -> list[Any]:
        values = self._draw_numbers(count) if self._is_number else self._draw_categories(count)
        if self._feature.nullable:
            gone = self._rng.random(count) < 0.15
            values = [None if is_gone else value for is_gone, value in zip(gone, values, strict=True)]
        return values

    def far(self) -> list[Any]:
        if not self._is_number:
            return self._draw_categories(len(FAR))
        return [self._typed(multiple * self._spread) for multiple in FAR]

    def _draw_numbers(self, count: int) -> list[Any]:
        rng = self._rng
        picked = rng.choice(self._numbers, count)
        noise = rng.normal(0.0, self._spread, count) * rng.choice([0.0, 0.05, 1.0], count)
        values = picked + noise
        if self._thresholds.size:
            on_edge = rng.random(count) < 0.5
            values = np.where(on_edge, self._edges(count), values)
        return [self._typed(value) for value in values.tolist()]

    def _edges(self, count: int) -> Array:
        """Return thresholds, and their neighbours in float64 and in float32."""
        rng = self._rng
        chosen = rng.choice(self._thresholds, count)
        toward = rng.choice([-np.inf, np.inf], count)
        narrow = chosen.astype(np.float32)
        forms = [
            chosen,
            np.nextafter(chosen, toward),
            narrow.astype(np.float64),
            np.nextafter(narrow, toward.astype(np.float32)).astype(np.float64),
        ]
        return np.choose(rng.integers(0, len(forms), count), forms)

    def _draw_categories(self, count: int) -> list[Any]:
        rng = self._rng
        choices: list[Any] = list(self._categories) or [_plain(self._feature)]
        picked = [choices[index] for index in rng.integers(0, len(choices), count)]
        if self._feature.closed or self._feature.type == "boolean":
            return picked
        strange = rng.random(count) < 0.1
        return [
            self._strange(value) if is_strange else value for is_strange, value in zip(strange, picked, strict=True)
        ]

    def _strange(self, value: Any) -> Any:
        """Return a value of the same type that is not a category."""
        if isinstance(value, str):
            return NEVER_SEEN[int(self._rng.integers(0, len(NEVER_SEEN)))]
        if isinstance(value, bool):
            return not value
        # A 64-bit integer plus one half would be rounded.
        return value + (1 if self._feature.type == "integer" or self._feature.is_exact_integer else 0.5)

    def _typed(self, value: float) -> Any:
        if self._feature.type == "boolean":
            return value > 0.5
        if not abs(value) <= MAX_NUMBER:
            return 0.0
        return round(value) if self._feature.type == "integer" else value
