"""Replacements for names that the installed libraries no longer have; they have no behaviour."""

from collections.abc import Callable
from typing import Any

from sklearn._loss import _loss


class RemovedObject:
    """Replaces an object of a removed class: it keeps its state and does nothing.

    The table of changes rebuilds the parts that an estimator needs; training-only parts stay as this.
    """

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments


# Replaces a removed function. It cannot be called, so no estimator contains an unknown function.
REMOVED_FUNCTION = RemovedObject()


class SkippedSampler(RemovedObject):
    """Replaces a sampler of imbalanced-learn, which is only used in training."""


class RemovedMapping(dict[Any, Any]):
    """Replaces a dictionary of a removed class."""


class RemovedList:
    """Replaces a list of a removed class; its items are in `data`."""

    data: list[Any]


_LOSSES = frozenset(value for name, value in vars(_loss).items() if name.startswith("Cy") and isinstance(value, type))


def restore_loss(kind: Any, checksum: Any, state: Any) -> Any:
    """Return the loss that a Cython function created from the same arguments up to scikit-learn 1.5.

    `state` holds the loss's numbers (a quantile, a power) in the order of its constructor. Raises TypeError for
    anything that is not a loss.
    """
    if not isinstance(kind, type) or kind not in _LOSSES:
        raise TypeError(f"{kind!r} is not a loss")
    numbers = tuple(state or ())
    if not all(type(number) in (int, float) for number in numbers):
        raise TypeError("a loss has numbers only")
    make: Callable[..., Any] = kind
    return make(*numbers)


def restore_function(module: Any, name: Any) -> Any:
    """Return the numpy ufunc that numpy 1.17 and older stored as two texts.

    Raises TypeError for anything else that an artifact may not name.
    """
    import numpy as np

    from models_registry.artifacts.formats.trusted import builtin_trust

    found = getattr(np, name, None) if isinstance(name, str) else None
    if not isinstance(found, np.ufunc) or f"numpy.{name}" not in builtin_trust().named:
        raise TypeError(f"{module!r} and {name!r} name no function of numpy that an artifact may use")
    return found
