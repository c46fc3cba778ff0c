"""The type of a row in the table of changes, and helpers for its functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models_registry.errors import BrokenArtifact

State = dict[str, Any]
UNKNOWN = (0, 0)


@dataclass(frozen=True, slots=True)
class Written:
    """An object whose state is about to be set; `state` is a copy that a change edits in place.

    `version` is (major, minor) of the scikit-learn that wrote it, or UNKNOWN. A change may set `cls`, the class that
    the object gets before its state.
    """

    target: Any
    state: State
    text: str

    @property
    def version(self) -> tuple[int, int]:
        """The writer's version as numbers."""
        parts = self.text.split(".")
        return (int(parts[0]), int(parts[1])) if len(parts) > 1 and all(map(str.isdigit, parts[:2])) else UNKNOWN

    def is_older_than(self, version: tuple[int, int]) -> bool:
        """Return whether the writer's version is known and older."""
        return UNKNOWN < self.version < version

    def become(self, cls: type) -> None:
        """Replace the object's class by one that computes like the writer's."""
        self.target.__class__ = cls
        # scikit-learn removes it only from the states of its own classes.
        self.state.pop("_sklearn_version", None)

    def refuse(self, what: str) -> BrokenArtifact:
        """Return the error for a state that no installed class can serve as it was meant; `what` is a clause."""
        from sklearn import __version__

        writer = f"scikit-learn {self.text}" if self.text else "an unknown version of scikit-learn"
        return BrokenArtifact(
            f"The artifact holds a {type(self.target).__name__} of {writer}: {what}. scikit-learn {__version__} would "
            f"answer differently. Train it again with scikit-learn {__version__}, or publish it as ONNX."
        )


@dataclass(frozen=True, slots=True)
class Change:
    """A change by scikit-learn `version` (major, minor) in the state of `classes` and their subclasses.

    `source` is the place in scikit-learn's source that reads or writes the new form. `apply` decides by the content of
    the state, not by the version. A model that was saved again has old parts under a newer version.
    """

    version: tuple[int, int]
    classes: tuple[str, ...]
    what: str
    source: str
    apply: Callable[[Written], None]


def adds(name: str, value: Any) -> Callable[[Written], None]:
    """Return a change that sets a missing attribute to its earlier default."""
    return computes(name, lambda state: value)


def computes(name: str, make: Callable[[State], Any], *, fitted_by: str = "") -> Callable[[Written], None]:
    """Return a change that computes a missing attribute from the state.

    Only if the state has `fitted_by`: the templates inside searches and ensembles are not fitted.
    """

    def apply(written: Written) -> None:
        if name not in written.state and (not fitted_by or fitted_by in written.state):
            written.state[name] = make(written.state)

    return apply


def renames(old: str, new: str) -> Callable[[Written], None]:
    """Return a change that renames an attribute, if only the old name exists."""

    def apply(written: Written) -> None:
        if new not in written.state and old in written.state:
            written.state[new] = written.state[old]

    return apply
