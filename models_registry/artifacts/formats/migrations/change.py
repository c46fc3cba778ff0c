"""One row of the table of changes, and what its functions share."""

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

    `version` is (major, minor) of the scikit-learn that wrote it, UNKNOWN where the state does not say.
    A change may set `cls`, the class that the object is given before its state.
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
        """Return whether the writer is known and older."""
        return UNKNOWN < self.version < version

    def become(self, cls: type) -> None:
        """Give the object a class that computes as the writer's did."""
        self.target.__class__ = cls
        # scikit-learn removes it from the states of its own classes only.
        self.state.pop("_sklearn_version", None)

    def refuse(self, what: str) -> BrokenArtifact:
        """Return the error for a state that no installed class can serve as it was meant."""
        from sklearn import __version__

        writer = f"scikit-learn {self.text}" if self.text else "an unknown scikit-learn"
        return BrokenArtifact(
            f"The artifact holds a {type(self.target).__name__} of {writer}, {what}, which scikit-learn {__version__} "
            f"would answer differently. Train it again with scikit-learn {__version__}, or publish it as ONNX."
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What `version` (major, minor) of scikit-learn changed in the state of `classes` and everything derived from them.

    `source` is the place in scikit-learn where the new form is written or read. `apply` edits the state; it looks at
    what the state holds, since a model that was loaded and saved again has old parts under a newer version.
    """

    version: tuple[int, int]
    classes: tuple[str, ...]
    what: str
    source: str
    apply: Callable[[Written], None]


def adds(name: str, value: Any) -> Callable[[Written], None]:
    """Return a change that gives an attribute its value of before, if it is missing."""
    return computes(name, lambda state: value)


def computes(name: str, make: Callable[[State], Any], *, fitted_by: str = "") -> Callable[[Written], None]:
    """Return a change that makes a missing attribute from the state.

    Only where the state has `fitted_by`: the templates inside of searches and ensembles were never fitted.
    """

    def apply(written: Written) -> None:
        if name not in written.state and (not fitted_by or fitted_by in written.state):
            written.state[name] = make(written.state)

    return apply


def renames(old: str, new: str) -> Callable[[Written], None]:
    """Return a change that gives an attribute its new name, if it has only the old one."""

    def apply(written: Written) -> None:
        if new not in written.state and old in written.state:
            written.state[new] = written.state[old]

    return apply
