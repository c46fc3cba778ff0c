"""Transformers of other packages must have plain state, so that they compute only on rows and plain values."""

from __future__ import annotations

from typing import Any

import numpy as np

from models_registry.artifacts.other_packages import BOUNDS, PACKAGES
from models_registry.errors import UnsafeStructure

_PLAIN = frozenset({str, int, float, bool, type(None)})
_MAX_DEPTH = 5


def check(value: Any) -> None:
    """Refuse a transformer of another package unless its state is only dictionaries, lists, texts and numbers."""
    if type(value).__module__.partition(".")[0] not in PACKAGES:
        return
    state = vars(value)
    for name, content in state.items():
        if not _is_plain(content, _MAX_DEPTH):
            raise UnsafeStructure(
                f"The artifact's {type(value).__name__} has {name} as {type(content).__name__}; expected numbers, "
                "texts, lists and dictionaries only. Publish it again from its training script."
            )
    bounds = state.get(BOUNDS, {})
    if type(bounds) is not dict or not all(isinstance(item, list | tuple | np.ndarray) for item in bounds.values()):
        raise UnsafeStructure(
            f"The artifact's {type(value).__name__} has bins that are not lists of bounds. It is crafted; do not "
            "publish it."
        )


def _is_plain(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind in _PLAIN or isinstance(value, np.generic):
        return True
    if kind is np.ndarray:
        return bool(value.dtype != object)
    if depth == 0:
        return False
    if kind is dict:
        return all(_is_plain(item, depth - 1) for pair in value.items() for item in pair)
    return kind in {list, tuple, set} and all(_is_plain(item, depth - 1) for item in value)
