"""A change of the compiler is a decision about the forms that older releases built."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from models_registry.artifacts.features import Feature
from models_registry.artifacts.schema import Schema
from models_registry.compilation import AccelerationRequest, cache
from tools.compiler_version import RECORD, code_of, record_of

ADVICE = """
The code that compiles models has changed since its version was recorded. Decide:
- May any model now get another graph, plan or verdict? Raise COMPILER_VERSION in models_registry/compilation/cache.py.
  Every worker then compiles its models anew.
- Does each model get what it got before (a rename, a clean-up, a faster way)? Leave the version as it is.
Then record the code: .venv/bin/python -m tools.compiler_version
"""

REQUEST = AccelerationRequest(Path("/model.joblib"), "joblib", "a" * 64, Schema((Feature("x"),)), ([1.0],))


def test_changed_compiler_comes_with_a_decision() -> None:
    assert record_of() == json.loads(RECORD.read_text()), ADVICE


@pytest.mark.parametrize(
    ("source", "is_same"),
    [
        ('"""Another text."""\n\n\ndef f(x):  # another reason\n    return x + 1\n', True),
        ("def f(x):\n    return x + 2\n", False),
        ('def f(x):\n    return "# no comment"\n', False),
    ],
    ids=["docstring and comment", "code", "text"],
)
def test_only_code_counts(source: str, is_same: bool) -> None:
    plain = 'def f(x):\n    """Add one."""\n    return x + 1\n'
    assert (code_of(source) == code_of(plain)) == is_same


def test_raised_version_builds_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each process asks once; another release is another process.
    versions = cache.compiler_versions.__wrapped__
    before = cache.key_of(REQUEST, versions())
    monkeypatch.setattr(cache, "COMPILER_VERSION", cache.COMPILER_VERSION + 1)
    assert cache.key_of(REQUEST, versions()) != before


def test_another_question_has_another_key() -> None:
    versions = cache.compiler_versions()
    digest = hashlib.sha256(b"other").hexdigest()
    others = [
        replace(REQUEST, digest=digest),
        replace(REQUEST, schema=Schema((Feature("y"),))),
        replace(REQUEST, instances=([2.0],)),
    ]
    keys = {cache.key_of(request, versions) for request in [REQUEST, *others]}
    assert len(keys) == 4
    assert cache.key_of(REQUEST, {**versions, "numpy": "0"}) not in keys
