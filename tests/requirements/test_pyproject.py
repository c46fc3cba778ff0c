"""The project's metadata, each part of which stands in one place."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from mlapi.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_version_stands_in_the_code_alone() -> None:
    assert "version" not in PYPROJECT["project"]
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "mlapi.version.VERSION"}
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None and newest[1] in (VERSION, "Unreleased")


def test_dependencies_are_the_input_of_the_lock() -> None:
    (name,) = PYPROJECT["tool"]["setuptools"]["dynamic"]["dependencies"]["file"]
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    # A build reads requirements alone, no options of pip.
    assert [line for line in lines if line] and not [line for line in lines if line.startswith("-")]
