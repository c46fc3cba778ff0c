"""A test's name is its promise, in under ten words; tests use public names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
MAX_WORDS = 9


# An underscore, and public all the same: os._exit, and a method of named tuples.
PUBLIC_NAMES = {"_exit", "_replace"}
# What scikit-learn stores in a file under such a name: tests damage it, as an attacker would, or read its thresholds.
STORED_NAMES = {
    "_asarray", "_base_loss", "_bin_mapper", "_bisecting_tree", "_bit_generator", "_default_to_infrequent_mappings",
    "_n_support", "_predictors", "_preprocessor",
}  # fmt: skip
# It says why in its docstring.
USES_PRIVATE_NAMES = {"support/emulator.py"}


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


def private_names_in(source: str) -> set[str]:
    """Return the private attributes of other objects, and the private names of other modules, that a module uses."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(attr=name):
                found.add(name)
            case ast.ImportFrom(names=names):
                found |= {alias.name for alias in names}
            case ast.Call(func=ast.Attribute(attr="setattr" | "delattr"), args=arguments):
                words = [each.value for each in arguments if isinstance(each, ast.Constant)]
                found |= {word.rpartition(".")[2] for word in words if isinstance(word, str)}
    return {name for name in found if name.startswith("_") and not name.startswith("__")}


def test_tests_use_public_names() -> None:
    allowed = PUBLIC_NAMES | STORED_NAMES
    found = {str(path.relative_to(ROOT)): private_names_in(path.read_text()) - allowed for path in ROOT.rglob("*.py")}
    assert {path: names for path, names in found.items() if names and path not in USES_PRIVATE_NAMES} == {}


@pytest.mark.parametrize(
    "code",
    ["x._guard", "from y import _make", "monkeypatch.setattr(x, '_guard', 1)", "monkeypatch.setattr('y.x._guard', 1)"],
)
def test_private_names_are_found(code: str) -> None:
    assert len(private_names_in(code)) == 1
