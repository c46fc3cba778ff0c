"""Link functions by objective: from the sum of the trees to the library's predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models_registry.artifacts.boosters.forest import Array

IDENTITY, SIGMOID, EXP, SOFTMAX, STEP, SQUARE, LOG1P_EXP = (
    "identity", "sigmoid", "exp", "softmax", "step", "square", "log1p_exp",
)  # fmt: skip


def _sigmoid(margin: Array, scale: float) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-scale * margin)))


def _softmax(margin: Array, scale: float) -> Array:
    grown = np.exp(margin - margin.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))


def _exp(margin: Array, scale: float) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(margin))


_LINKS: dict[str, Callable[[Array, float], Array]] = {
    IDENTITY: lambda margin, scale: margin,
    SIGMOID: _sigmoid,
    EXP: _exp,
    SOFTMAX: _softmax,
    STEP: lambda margin, scale: (margin > 0).astype(np.float64),
    SQUARE: lambda margin, scale: np.sign(margin) * margin * margin,
    LOG1P_EXP: lambda margin, scale: np.log1p(_exp(margin, scale)),
}


def apply(link: str, margin: Array, scale: float = 1.0) -> Array:
    """Return the predictions for margins, both of shape (rows, targets); `scale` is the factor of the sigmoid."""
    return np.asarray(_LINKS[link](margin.astype(np.float64), scale), dtype=np.float64)


def apply_in_float32(link: str, margin: Array) -> Array:
    """Return the result of `apply`, rounded to float32 after each step like XGBoost (src/common/math.h)."""
    if link == SIGMOID:
        with np.errstate(over="ignore"):
            return _wide(np.float32(1.0) / (_exp32(-margin) + np.float32(1.0)))
    if link == SOFTMAX:
        grown = _exp32(margin - margin.max(axis=1, keepdims=True))
        total = grown.sum(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
        return _wide(grown / total)
    with np.errstate(over="ignore"):
        return _wide(apply(link, margin).astype(np.float32))


def _exp32(margin: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.exp(margin.astype(np.float32).astype(np.float64)).astype(np.float32)


def _wide(answers: Array) -> Array:
    return answers.astype(np.float64)


def to_margin(link: str, answer: Any) -> Array:
    """Return the margin of a prediction: XGBoost stores the base score as a prediction."""
    found = np.asarray(answer, dtype=np.float32)
    one = np.float32(1.0)
    if link == SIGMOID:
        return np.asarray(-np.log(one / found - one))
    return np.asarray(np.log(found)) if link == EXP else found
