"""What is put in place of names that today's libraries no longer have. None of it does anything."""

from collections.abc import Callable
from typing import Any

from sklearn._loss import _loss


class RemovedObject:
    """Stands for an object of a class that is gone: it keeps its state and does nothing.

    What an estimator needs of it is made again by the table of changes; what only its training needed stays as this.
    """

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments


# Stands for a function that is gone. It cannot be called, so no estimator keeps an unknown function.
REMOVED_FUNCTION = RemovedObject()


class SkippedSampler(RemovedObject):
    """Stands for a sampler of imbalanced-learn, which takes part in a training alone."""


class RemovedMapping(dict[Any, Any]):
    """Stands for a dictionary of a class that is gone."""


class RemovedList:
    """Stands for a list of a class that is gone; its items are in `data`."""

    data: list[Any]


_LOSSES = frozenset(value for name, value in vars(_loss).items() if name.startswith("Cy") and isinstance(value, type))


def restore_loss(kind: Any, checksum: Any, state: Any) -> Any:
    """Return the loss that Cython's own function made of the same arguments up to scikit-learn 1.5.

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
    """Return the function on arrays of numpy that numpy 1.17 and older named by two texts.

    Raises TypeError for anything but one that an artifact may name itself.
    """
    import numpy as np

    from models_registry.artifacts.formats.trusted import builtin_trust

    found = getattr(np, name, None) if isinstance(name, str) else None
    if not isinstance(found, np.ufunc) or f"numpy.{name}" not in builtin_trust().named:
        raise TypeError(f"{module!r} and {name!r} name no function of numpy that an artifact may use")
    return found
