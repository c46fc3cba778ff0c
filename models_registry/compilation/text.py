"""Encodes texts for the compiled graph of a text model: only the words of the text are processed.

scikit-learn builds a sparse matrix from a text and multiplies it; most time goes into building the matrix. This module
adds up the coefficient rows of the text's words instead.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pairs = tuple[Array, Array]


@dataclass(frozen=True, slots=True)
class WordWeights:
    """The settings by which a text becomes word weights: those of a fitted vectorizer with the default tokenizer.

    `vocabulary` has the words in the order of the columns. `idf` has one factor for each, or is None. `norm` is "l1",
    "l2" or None.
    """

    vocabulary: tuple[str, ...]
    pattern: str
    ngram_range: tuple[int, int]
    stop_words: tuple[str, ...] = ()
    lowercase: bool = True
    binary: bool = False
    sublinear: bool = False
    idf: Array | None = None
    norm: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the weights as JSON values."""
        return {
            "vocabulary": list(self.vocabulary),
            "pattern": self.pattern,
            "ngram_range": list(self.ngram_range),
            "stop_words": list(self.stop_words),
            "lowercase": self.lowercase,
            "binary": self.binary,
            "sublinear": self.sublinear,
            "idf": None if self.idf is None else array_to_json(self.idf),
            "norm": self.norm,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WordWeights:
        """Return the weights from `to_json`'s form."""
        return cls(
            vocabulary=tuple(value["vocabulary"]),
            pattern=value["pattern"],
            ngram_range=(value["ngram_range"][0], value["ngram_range"][1]),
            stop_words=tuple(value["stop_words"]),
            lowercase=value["lowercase"],
            binary=value["binary"],
            sublinear=value["sublinear"],
            idf=None if value["idf"] is None else array_from_json(value["idf"]),
            norm=value["norm"],
        )


class TextEncoder:
    """Converts texts to the matrix that the graph takes: concatenated blocks of columns.

    A block with coefficients of shape (words, width) is the product of the weights with them. A block without
    coefficients is the weight of each word.
    """

    def __init__(self, weights: WordWeights, blocks: Sequence[Array | None]) -> None:
        self._weights = weights
        self._blocks = tuple(blocks)
        self._columns = {word: column for column, word in enumerate(weights.vocabulary)}
        self._words = re.compile(weights.pattern).findall
        self._stop_words = frozenset(weights.stop_words)
        self._lowest, self._highest = weights.ngram_range

    def __call__(self, rows: Any) -> Array:
        """Return float64 of shape (texts, columns); ValueError for values that are not texts."""
        texts = rows.tolist() if isinstance(rows, np.ndarray) else rows
        pairs = [self._pair(text[0] if isinstance(text, list | tuple) else text) for text in texts]
        blocks = [self._block(pairs, coefficients) for coefficients in self._blocks]
        return blocks[0] if len(blocks) == 1 else np.hstack(blocks)

    def _block(self, pairs: Sequence[Pairs], coefficients: Array | None) -> Array:
        if coefficients is None:
            dense = np.zeros((len(pairs), len(self._columns)))
            for row, (columns, weights) in zip(dense, pairs, strict=True):
                row[columns] = weights
            return dense
        product = np.empty((len(pairs), coefficients.shape[1]))
        for row, (columns, weights) in zip(product, pairs, strict=True):
            # In the order of scipy's sparse product, so that equal scores stay equal.
            np.add.reduce(weights[:, np.newaxis] * coefficients[columns], axis=0, out=row)
        return product

    def _pair(self, text: Any) -> Pairs:
        """Return the columns of the words in a text, and the weight of each."""
        if not isinstance(text, str):
            # Same message as scikit-learn's.
            raise ValueError(  # noqa: TRY004 - the exception that scikit-learn raises
                "np.nan is an invalid document, expected byte or unicode string."
            )
        counts: dict[int, int] = {}
        column_of = self._columns.get
        for word in self._split(text):
            column = column_of(word)
            if column is not None:
                counts[column] = counts.get(column, 0) + 1
        pairs = sorted(counts.items())
        columns = np.array([column for column, _ in pairs], dtype=np.intp)
        return columns, self._weigh(columns, np.array([count for _, count in pairs], dtype=np.float64))

    def _split(self, text: str) -> list[str]:
        """Return the words or n-grams: sklearn/feature_extraction/text.py, _word_ngrams."""
        words = self._words(text.lower() if self._weights.lowercase else text)
        if self._stop_words:
            words = [word for word in words if word not in self._stop_words]
        if self._highest == 1:
            return words
        count = len(words)
        runs = list(words) if self._lowest == 1 else []
        for length in range(max(self._lowest, 2), min(self._highest, count) + 1):
            runs.extend(" ".join(words[start : start + length]) for start in range(count - length + 1))
        return runs

    def _weigh(self, columns: Array, counts: Array) -> Array:
        """Return the weights: sklearn/feature_extraction/text.py, TfidfTransformer.transform."""
        weights = self._weights
        if weights.binary:
            counts = np.ones_like(counts)
        if weights.sublinear:
            counts = np.log(counts) + 1.0
        if weights.idf is not None:
            counts = counts * weights.idf[columns]
        if weights.norm is None or not counts.size:
            return counts
        length = np.sqrt(counts @ counts) if weights.norm == "l2" else np.abs(counts).sum()
        return counts / length if length else counts


def encoder_from_json(value: Mapping[str, Any]) -> TextEncoder:
    """Return the encoder of a plan's `text`."""
    blocks = [None if block is None else array_from_json(block) for block in value["blocks"]]
    return TextEncoder(WordWeights.from_json(value["weights"]), blocks)


def array_to_json(array: Array) -> dict[str, Any]:
    """Return a float64 array as JSON values, without loss."""
    content = np.ascontiguousarray(array, dtype=np.float64)
    return {"shape": list(content.shape), "base64": base64.b64encode(content.tobytes()).decode()}


def array_from_json(value: Mapping[str, Any]) -> Array:
    """Return the array from `array_to_json`'s form."""
    return np.frombuffer(base64.b64decode(value["base64"])).reshape(value["shape"])
