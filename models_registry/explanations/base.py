"""What an explanation is, and what can give one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Texts and records have no fixed input features.
CONTAINERS_WITHOUT_FEATURES = frozenset({"text", "records"})
# What the contributions add up to.
VALUE, LOG_ODDS, DECISION, PROBABILITY, RAW = "value", "log_odds", "decision_function", "probability", "raw_score"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What each input feature adds to the answers to some rows.

    `output` names the quantity that is explained. `base`, of shape (outputs,), and `contributions`, of shape
    (rows, outputs, inputs), add up to it. Classifiers have an output for each class, or one of the second class of two.
    """

    output: str
    base: Array
    contributions: Array

    @property
    def values(self) -> Array:
        """The explained quantity itself, (rows, outputs)."""
        return np.asarray(self.base + self.contributions.sum(axis=2))

    def output_of(self, label: Any, positions: Mapping[Any, int] | None) -> int:
        """Return which output explains a row: of three classes and more that of its `label`, else the last."""
        count = len(self.base)
        return positions[label] if positions is not None and count > 2 else count - 1


class ExactModel(Protocol):
    """The last step of a model: it takes prepared columns, and knows what each of them contributes."""

    @property
    def output(self) -> str:
        """What the contributions add up to."""

    @property
    def n_outputs(self) -> int:
        """How many numbers are explained for each row."""

    def cost_of_row(self) -> int:
        """Return how many steps of computation one row takes."""

    def base(self) -> Array:
        """Return what the answers start from, (outputs,)."""

    def contributions(self, rows: Any, owners: Array, n_inputs: int) -> Array:
        """Return (rows, outputs, inputs); `owners` tells the input feature behind each column of `rows`."""
