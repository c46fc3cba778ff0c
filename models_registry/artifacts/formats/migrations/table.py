"""All changes of fitted states, and the function that applies them to a state while it is loaded."""

from __future__ import annotations

from functools import cache
from typing import Any

from models_registry.artifacts.formats.migrations.change import Change, Written
from models_registry.artifacts.formats.migrations.changes_before_1_0 import CHANGES_BEFORE_1_0
from models_registry.artifacts.formats.migrations.changes_since_1_0 import CHANGES_SINCE_1_0, NEWEST

__all__ = ["CHANGES", "NEWEST", "changes_of", "migrate"]

CHANGES = CHANGES_BEFORE_1_0 + CHANGES_SINCE_1_0


def changes_of(cls: type) -> tuple[Change, ...]:
    """Return the changes of a class and its bases, oldest first."""
    return _changes_of_names(tuple(f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__))


@cache
def _changes_of_names(bases: tuple[str, ...]) -> tuple[Change, ...]:
    names = {*bases}
    return tuple(sorted((one for one in CHANGES if names & {*one.classes}), key=lambda one: one.version))


def migrate(target: Any, state: Any) -> Any:
    """Return the state that the installed libraries expect of `target`, whose state is about to be set.

    A class that computes differently today is replaced by one that computes as before. Raises BrokenArtifact for a
    state that no installed class can serve.
    """
    changes = changes_of(type(target)) if type(state) is dict else ()
    if not changes:
        return state
    written = Written(target, dict(state), str(state.get("_sklearn_version", "")))
    for change in changes:
        change.apply(written)
    return written.state
