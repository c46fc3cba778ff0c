"""The type of an explanation, and the interface of explainable estimators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Texts and records have no fixed input features.
CONTAINERS_WITHOUT_FEATURES = frozenset({"text", "records"})
# The name of the sum of the contributions.
VALUE, LOG_ODDS, DECISION, PROBABILITY, RAW = "value", "log_odds", "decision_function", "probability", "raw_score"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The contributions of each input feature to the predictions for some rows.

    `output` names the explained quantity. `base`, of shape (outputs,), plus `contributions`, of shape (rows, outputs,
    inputs), is its value. Classifiers have an output for each class; binary classifiers only for the second class.
    """

    output: str
    base: Array
    contributions: Array

    @property
    def values(self) -> Array:
        """The explained quantity, shape (rows, outputs)."""
        return np.asarray(self.base + self.contributions.sum(axis=2))

    def output_of(self, label: Any, positions: Mapping[Any, int] | None) -> int:
        """Return the output that explains a row: the one of its `label` for three or more classes, else the last."""
        count = len(self.base)
        return positions[label] if positions is not None and count > 2 else count - 1


class ExactModel(Protocol):
    """The last step of a model: it takes prepared columns, and can compute each column's contribution."""

    @property
    def output(self) -> str:
        """The name of the sum of the contributions."""

    @property
    def n_outputs(self) -> int:
        """The number of explained values for each row."""

    def cost_of_row(self) -> int:
        """Return the number of computation steps for one row."""

    def base(self) -> Array:
        """Return the base values, shape (outputs,)."""

    def contributions(self, rows: Any, owners: Array, n_inputs: int) -> Array:
        """Return contributions, shape (rows, outputs, inputs); `owners` has the input feature of each column."""
