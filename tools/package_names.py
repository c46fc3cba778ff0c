"""Lists the exact names that a user's own package defines, for MODELS_TRUSTED_GLOBALS."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


def names_of(package: str) -> dict[str, str]:
    """Return the classes and functions of a module, or of a package with all its modules: place in the source by name.

    This imports the package, so its module code runs.

    Raises:
        ImportError: the package, or one of its modules, cannot be imported.
    """
    found: dict[str, str] = {}
    for module in _modules(importlib.import_module(package)):
        for value in vars(module).values():
            if _is_defined_in(value, module):
                found[f"{value.__module__}.{value.__qualname__}"] = _place(value)
    return dict(sorted(found.items()))


def _modules(module: ModuleType) -> Iterator[ModuleType]:
    yield module
    for info in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{module.__name__}."):
        if info.name.rpartition(".")[2] != "__main__":
            yield importlib.import_module(info.name)


def _is_defined_in(value: Any, module: ModuleType) -> bool:
    """Return whether `value` is a class or function that a pickle finds in `module` by its name."""
    is_kind = inspect.isclass(value) or inspect.isfunction(value) or inspect.isbuiltin(value)
    if not is_kind or getattr(value, "__module__", None) != module.__name__:
        return False
    return getattr(module, value.__qualname__, None) is value


def _place(value: Any) -> str:
    kind = "class" if inspect.isclass(value) else "function"
    try:
        return f"{kind}, {inspect.getsourcefile(value)}:{inspect.getsourcelines(value)[1]}"
    except (OSError, TypeError):
        return f"{kind}, compiled"


def print_names(package: str) -> int:
    """Print each name with its place, for review, and the setting that trusts them all; return the exit status."""
    try:
        names = names_of(package)
    except ImportError as error:
        print(
            f"{package} cannot be imported ({error}). Add it to requirements/own.in and run `make run` once.",
            file=sys.stderr,
        )
        return 1
    if not names:
        print(f"{package} defines no class and no function.", file=sys.stderr)
        return 1
    print("# Review each of these: a model file may call it with any arguments.", file=sys.stderr)
    for name, place in names.items():
        print(f"# {name}  ({place})", file=sys.stderr)
    print(f'MODELS_TRUSTED_GLOBALS="{",".join(names)}"')
    return 0
