"""A test's name is its promise, in under ten words."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent
MAX_WORDS = 9


def names_in(source: str) -> list[str]:
    """Return the names of the tests in a module."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]


def is_long(name: str) -> bool:
    """Return whether a name has ten words or more after `test_`."""
    return len(name.removeprefix("test_").split("_")) > MAX_WORDS


def test_every_name_has_under_ten_words() -> None:
    found = {path: [name for name in names_in(path.read_text()) if is_long(name)] for path in ROOT.rglob("test_*.py")}
    assert {str(path.relative_to(ROOT)): names for path, names in found.items() if names} == {}


def test_ten_words_are_too_many() -> None:
    nine, ten = ("test" + "_word" * count for count in (9, 10))
    assert [is_long(name) for name in names_in(f"def {nine}(): ...\nasync def {ten}(): ...")] == [False, True]
