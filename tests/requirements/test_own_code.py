"""A package of one's own: its names are listed exactly, and the refusal says how to add it."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from models_registry.artifacts.formats.advice import advice
from tests.requirements.test_install import install
from tools.package_names import names_of, print_names

MODULES = {
    "shop_of_tests/__init__.py": "from shop_of_tests.features import Cleaner\n",
    "shop_of_tests/features.py": (
        "from math import floor\nimport numpy as np\n\n"
        "class Cleaner:\n    class Inner: pass\n\ndef to_hours(x): return x\n"
        "also = to_hours\nunnamed = lambda x: x\nNUMBER = 3\n"
    ),
    "shop_of_tests/deep/__init__.py": "",
    "shop_of_tests/deep/most.py": "def _private(x): return x\n",
    "shop_of_tests/__main__.py": "raise SystemExit('run')\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a package that can be imported."""
    for name, content in MODULES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield "shop_of_tests"
    for name in [name for name in sys.modules if name.startswith("shop_of_tests")]:
        del sys.modules[name]


def test_names_are_those_that_a_pickle_would_hold(package: str) -> None:
    found = names_of(package)
    assert list(found) == [
        "shop_of_tests.deep.most._private",
        "shop_of_tests.features.Cleaner",
        "shop_of_tests.features.to_hours",
    ]
    assert found["shop_of_tests.features.Cleaner"].startswith("class, ")
    assert found["shop_of_tests.features.to_hours"].endswith("features.py:7")


def test_setting_is_printed_and_nothing_else(package: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert print_names(f"{package}.features") == 0
    printed = capsys.readouterr()
    expected = "shop_of_tests.features.Cleaner,shop_of_tests.features.to_hours"
    assert printed.out == f'MODELS_TRUSTED_GLOBALS="{expected}"\n'
    assert "Review each of these" in printed.err


def test_package_that_is_not_installed_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_names("no_such_shop") == 1
    assert "requirements/own.in" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["__main__.Cleaner", "shop.features.Cleaner"])
def test_refusal_says_how_to_add_a_package(name: str) -> None:
    said = advice([name])
    for words in ("requirements/own.in", "--build-arg OWN=", "tools.trusted_names PACKAGE", "MODELS_TRUSTED_GLOBALS"):
        assert words in said
    assert ("from shop.features import Name" in said) == name.startswith("__main__")


@pytest.mark.parametrize("name", ["cloudpickle.cloudpickle._make_function", "dill._dill._create_type"])
def test_code_in_a_file_is_to_be_moved(name: str) -> None:
    said = advice([name, "cloudpickle.cloudpickle._builtin_type"])
    assert "code in a file is never run here" in said
    assert said.count("from shop.features import Name") == 1


def test_dangerous_names_are_never_to_be_added() -> None:
    assert "own.in" not in advice(["__main__.Cleaner", "posix.system"])


@pytest.mark.parametrize(
    ("line", "expected"), [("", False), ("  # shop", False), ("./own/shop", True), ("shop==1  # ours", True)]
)
def test_comments_of_the_input_are_no_requirements(line: str, expected: bool) -> None:
    assert install.is_requirement(line) is expected


def test_own_packages_keep_the_pinned_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.in").write_text("# nothing yet\n")
    (tmp_path / "own.in").write_text("./own/shop\n")
    commands: list[list[str]] = []
    monkeypatch.setattr(install, "variables", lambda tools: {})
    monkeypatch.setattr(subprocess, "run", lambda command, **others: commands.append(list(map(str, command))))
    install.install_own(tmp_path, tmp_path / "venv", [tmp_path / "empty.in", tmp_path / "own.in"])
    (command,) = commands
    assert f"--constraint={install.ROOT / 'requirements.txt'}" in command
    assert f"--requirement={tmp_path / 'own.in'}" in command
    assert not any("empty.in" in word for word in command)
