"""The bounds of indices in an artifact's arrays, and the error for arrays outside of them."""

from typing import Any

import numpy as np

from models_registry.errors import UnsafeStructure


def refuse(what: str) -> UnsafeStructure:
    """Return the error for arrays that could crash or hang a prediction."""
    return UnsafeStructure(
        f"The artifact {what}. A prediction could crash, hang, or read memory outside of the model. "
        "The artifact is damaged or crafted; publish it again from its training script."
    )


def are_within(values: np.ndarray[Any, Any], count: int) -> bool:
    """Return whether all values are from 0 to `count` - 1."""
    return bool(((values >= 0) & (values < count)).all())
