"""Converters of text vectorizers with scikit-learn's default tokenizer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from models_registry.compilation.context import Context, Raw, Unsupported, Value, Words, transforms
from models_registry.compilation.text import WordWeights

NORMS = {"l1", "l2", None}


@transforms("CountVectorizer")
def _counts(context: Context, vectorizer: Any, value: Value) -> Words:
    return context.words(_source(context, vectorizer, value), _counting(vectorizer))


@transforms("TfidfVectorizer")
def _frequencies(context: Context, vectorizer: Any, value: Value) -> Words:
    return context.words(
        _source(context, vectorizer, value), _weighted(_counting(vectorizer), vectorizer, vectorizer._tfidf)
    )


@transforms("TfidfTransformer")
def _weighted_counts(context: Context, transformer: Any, value: Value) -> Words:
    if not isinstance(value, Words) or value.weights.idf is not None or value.weights.norm is not None:
        raise Unsupported("TfidfTransformer has a compiled form only after a CountVectorizer")
    return replace(value, weights=_weighted(value.weights, transformer, transformer))


def _source(context: Context, vectorizer: Any, value: Value) -> int:
    if context.schema.container != "text" or not isinstance(value, Raw) or len(value.columns) != 1:
        raise Unsupported(f"{type(vectorizer).__name__} has a compiled form only if the text is the only input")
    return value.columns[0]


def _counting(vectorizer: Any) -> WordWeights:
    """Return the vectorizer's counts; Unsupported for another tokenizer."""
    name = type(vectorizer).__name__
    own = [key for key in ("preprocessor", "tokenizer", "strip_accents") if getattr(vectorizer, key) is not None]
    if own or vectorizer.analyzer != "word" or vectorizer.input != "content":
        setting = own[0] if own else "analyzer" if vectorizer.analyzer != "word" else "input"
        raise Unsupported(f"{name} with its own {setting} has no compiled form here")
    if np.dtype(vectorizer.dtype).kind == "f" and np.dtype(vectorizer.dtype) != np.float64:
        raise Unsupported(f"{name} with the dtype {np.dtype(vectorizer.dtype)} has no compiled form here")
    columns = sorted(vectorizer.vocabulary_.items(), key=lambda pair: pair[1])
    if [int(column) for _, column in columns] != list(range(len(columns))):
        raise Unsupported(f"{name} whose words do not have one column each has no compiled form here")
    return WordWeights(
        vocabulary=tuple(str(word) for word, _ in columns),
        pattern=str(vectorizer.token_pattern),
        ngram_range=(int(vectorizer.ngram_range[0]), int(vectorizer.ngram_range[1])),
        stop_words=tuple(sorted(vectorizer.get_stop_words() or ())),
        lowercase=bool(vectorizer.lowercase),
        binary=bool(vectorizer.binary),
    )


def _weighted(counts: WordWeights, settings: Any, fitted: Any) -> WordWeights:
    """Return the counts with the weights of a TfidfTransformer with these settings and frequencies."""
    if settings.norm not in NORMS:
        raise Unsupported(f"{type(settings).__name__} with the norm {settings.norm!r} has no compiled form here")
    idf = np.asarray(fitted.idf_, dtype=np.float64) if settings.use_idf else None
    return replace(counts, idf=idf, norm=settings.norm, sublinear=bool(settings.sublinear_tf))
