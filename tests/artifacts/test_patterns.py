"""A regular expression that backtracks is found before it holds a worker."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from models_registry.artifacts import patterns
from models_registry.artifacts.load_test import LoadTestRequest, run_load_test
from models_registry.artifacts.patterns import check_patterns
from models_registry.errors import UnsafeStructure

BACKTRACKING = (
    r"(?:\w+\s?)+!",
    r"(a+)+$",
    r"(a|a)*b",
    r"(x+x+)+y",
    r"([a-z]+)*\d",
    r"(?:\d+,?)+;",
    r"(.*a){12}b",
    r"(\s*\w+\s*)+=",
    r"(?:ab|a|b)+c",
    r"(?:[^-]+-?)+@",
    r"begin(?:q+)+end",
)


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up sooner: each of these patterns would run for hours."""
    monkeypatch.setattr(patterns, "MAX_CPU_SECONDS", 0.1)


@pytest.mark.usefixtures("short_limit")
@pytest.mark.parametrize("pattern", BACKTRACKING)
def test_pattern_that_backtracks_is_refused(pattern: str) -> None:
    with pytest.raises(UnsafeStructure, match="because it backtracks"):
        check_patterns([re.compile(pattern)])


@pytest.mark.usefixtures("short_limit")
@pytest.mark.parametrize("vectorizer", [CountVectorizer, TfidfVectorizer, HashingVectorizer])
def test_pattern_of_every_vectorizer_is_tried(vectorizer: Any) -> None:
    with pytest.raises(UnsafeStructure, match="because it backtracks"):
        check_patterns([vectorizer(token_pattern=BACKTRACKING[0])])


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?u)\b\w\w+\b",
        r"\w+@\w+\.\w+",
        r"[A-Za-z]+(?:'[a-z]+)?",
        r"(?u)\b\w[\w'-]*\w\b|\w",
        r"\b[^\d\W]{3,}\b",
        r"<[^>]+>|[^<\s]+",
        r"(?:https?://)?[\w.-]+\.[a-z]{2,}",
        r"[a-zA-Z0-9_]+(?:[-.][a-zA-Z0-9_]+)*",
        r"\d+(?:[.,]\d+)*|\w+",
        r"(?<=a)b+(?!c)",
        "[",
    ],
)
def test_usual_pattern_passes(pattern: str) -> None:
    check_patterns([CountVectorizer(token_pattern=pattern)])


def test_pattern_that_nothing_uses_passes() -> None:
    check_patterns([CountVectorizer(token_pattern=BACKTRACKING[0], analyzer="char")])


def test_version_with_such_a_pattern_is_rejected(tmp_path: Path) -> None:
    words = CountVectorizer(token_pattern=BACKTRACKING[0]).fit(["good one!", "bad one!"])
    path = tmp_path / "model.joblib"
    joblib.dump(
        make_pipeline(words, LogisticRegression().fit(words.transform(["good one!", "bad one!"]), [1, 0])), path
    )

    report = run_load_test(LoadTestRequest(path, "joblib"))

    assert not report.passed
    assert "takes more than 1 s for a text of 2000 characters, because it backtracks" in report.reason
