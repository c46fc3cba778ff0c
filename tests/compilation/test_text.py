"""Text models run compiled, and answer as scikit-learn does whatever a text holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from sklearn.pipeline import make_pipeline, make_union

from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.prediction import call
from models_registry.compilation.compiler import VerifiedCandidate, verified_candidate

WORDS = [f"{stem}{end}" for stem in ("cat", "dog", "mat", "the", "über", "naïve") for end in ("", "s", "1", "_x")]
RNG = np.random.RandomState(0)
DOCUMENTS = [" ".join(RNG.choice(WORDS, 12)) for _ in range(90)]
CLASSES = np.array(["a", "b", "c"])[np.arange(90) % 3]
ODD = [
    "", " ", "a", "cat", "CAT Cat cat", "cat,dog;mat", "cat-dog", "cat_dog", "cat's", "ÜBER über", "I İ ı",
    "never seen words only", "cat\n\n\tdog\u00a0mat", "日本語", "😀 cat", "cat " * 3000, "e\u0301te\u0301 cat",
    "1 22 333",
]  # fmt: skip


def compiled(*steps: Any) -> tuple[Any, VerifiedCandidate | str]:
    model = make_pipeline(*steps).fit(DOCUMENTS, CLASSES)
    return model, verified_candidate(model, infer_schema(model), DOCUMENTS[:5])


@pytest.mark.parametrize(
    "steps",
    [
        (TfidfVectorizer(), LogisticRegression()),
        (TfidfVectorizer(norm="l1", sublinear_tf=True), LogisticRegression()),
        (TfidfVectorizer(norm=None, smooth_idf=False), LogisticRegression()),
        (TfidfVectorizer(use_idf=False, binary=True), LogisticRegression()),
        (TfidfVectorizer(lowercase=False), ComplementNB()),
        (TfidfVectorizer(ngram_range=(1, 3)), LogisticRegression()),
        (CountVectorizer(ngram_range=(2, 2)), MultinomialNB()),
        (CountVectorizer(stop_words=["the", "cat"], ngram_range=(1, 2)), MultinomialNB()),
        (CountVectorizer(stop_words="english"), TfidfTransformer(), MultinomialNB()),
        (CountVectorizer(token_pattern=r"(?u)\b\w+\b", max_features=7), MultinomialNB()),
        (CountVectorizer(token_pattern=r"(\w)\w+"), LogisticRegression()),
        (CountVectorizer(vocabulary=["dog", "cat"]), LogisticRegression()),
    ],
    ids=lambda steps: " ".join(map(str, steps)),
)
def test_compiled_text_model_answers_odd_texts_as_scikit_learn(steps: tuple[Any, ...]) -> None:
    model, verified = compiled(*steps)
    assert isinstance(verified, VerifiedCandidate), verified
    for texts in [ODD, *([text] for text in ODD)]:
        expected, found = call(model, texts), call(verified.compiled, texts)
        assert found.labels.tolist() == expected.labels.tolist()
        np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-12, atol=1e-14)


def test_regressor_of_text_is_compiled() -> None:
    model = make_pipeline(TfidfVectorizer(), Ridge()).fit(DOCUMENTS, np.arange(90.0))
    verified = verified_candidate(model, infer_schema(model), DOCUMENTS[:5])
    assert isinstance(verified, VerifiedCandidate), verified
    np.testing.assert_allclose(call(verified.compiled, ODD).labels, call(model, ODD).labels, rtol=1e-9)


@pytest.mark.parametrize(
    ("vectorizer", "reason"),
    [
        (TfidfVectorizer(analyzer="char"), "its own analyzer"),
        (TfidfVectorizer(tokenizer=str.split, token_pattern=None), "its own tokenizer"),
        (TfidfVectorizer(preprocessor=str.strip), "its own preprocessor"),
        (TfidfVectorizer(strip_accents="unicode"), "its own strip_accents"),
        (TfidfVectorizer(dtype=np.float32), "the dtype float32"),
        (make_union(TfidfVectorizer(), CountVectorizer()), "several vectorizers"),
    ],
)
def test_other_tokens_are_counted_by_scikit_learn(vectorizer: Any, reason: str) -> None:
    _, verified = compiled(vectorizer, LogisticRegression())
    assert isinstance(verified, str)
    assert reason in verified


def test_compiled_text_model_refuses_what_is_no_text() -> None:
    _, verified = compiled(TfidfVectorizer(), LogisticRegression())
    assert isinstance(verified, VerifiedCandidate)
    with pytest.raises(ValueError, match="invalid document"):
        call(verified.compiled, [float("nan")])
