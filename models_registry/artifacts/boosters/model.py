"""A validated boosted model: its trees or linear weights, and its link function."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models_registry.artifacts.boosters import links
from models_registry.artifacts.boosters.forest import Array, Forest

XGBOOST, LIGHTGBM = "xgboost", "lightgbm"


@dataclass(frozen=True, slots=True)
class BoostedModel:
    """A decoded model, in one form for both libraries.

    `start` holds one number per output, to which the trees add. XGBoost rounds inputs and sums to float32, LightGBM
    uses float64. `best_iteration` is the last iteration that early stopping keeps, or None. `trees_per_iteration` is
    the number of trees of one iteration. `weights`, shape (features + 1, outputs) with the bias last, replaces the
    trees in a linear booster. `categories` holds the category values behind the codes of each feature.
    """

    library: str
    version: str
    objective: str
    link: str
    n_features: int
    feature_names: tuple[str, ...]
    start: Array
    trees_per_iteration: int
    forest: Forest | None = None
    weights: Array | None = None
    scale: float = 1.0
    divisor: float = 1.0
    best_iteration: int | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    categories: tuple[tuple[Any, ...] | None, ...] = ()

    @property
    def n_outputs(self) -> int:
        """The number of sums."""
        return len(self.start)

    @property
    def sums_in_float32(self) -> bool:
        """Whether inputs, thresholds and sums are rounded to float32."""
        return self.library == XGBOOST

    @property
    def n_iterations(self) -> int:
        """The number of boosting rounds."""
        return 0 if self.forest is None else self.forest.n_trees // self.trees_per_iteration

    def kept(self, iterations: int | None) -> BoostedModel:
        """Return the model with only its first `iterations`; all of them for None."""
        if iterations is None or self.forest is None or iterations >= self.n_iterations:
            return self
        trees = iterations * self.trees_per_iteration
        divisor = self.divisor if self.divisor == 1.0 else float(iterations)
        return replace(self, forest=_first(self.forest, trees), divisor=divisor)

    def as_seen(self, rows: Array) -> Array:
        """Return float64 rows, rounded as the library rounds them."""
        if not self.sums_in_float32:
            return rows
        with np.errstate(over="ignore"):
            return rows.astype(np.float32).astype(np.float64)

    def margins(self, rows: Array) -> Array:
        """Return the sums before the link for float64 rows, shape (rows, outputs)."""
        rows = self.as_seen(rows)
        if self.forest is None:
            return self._linear(rows)
        reached = self.forest.leaves(rows, set_goes_left=self.library == LIGHTGBM)
        values = self.forest.value[reached]
        for leaf, function in self.forest.linear.items():
            _answer_linear(values, reached == leaf, rows, function)
        dtype = np.float32 if self.sums_in_float32 else np.float64
        sums = np.empty((len(rows), self.n_outputs), dtype=dtype)
        for target in range(self.n_outputs):
            # Added one after the other, like in the libraries: another order rounds differently.
            parts = np.column_stack([np.full(len(rows), self.start[target]), values[:, self.forest.targets == target]])
            sums[:, target] = np.cumsum(parts, axis=1, dtype=dtype)[:, -1]
        return (sums / self.divisor).astype(np.float64)

    def _linear(self, rows: Array) -> Array:
        weights = np.asarray(self.weights)
        sums = np.nan_to_num(rows) @ weights[:-1] + weights[-1] + self.start
        with np.errstate(over="ignore"):
            return np.asarray(sums.astype(np.float32).astype(np.float64))

    def answers(self, rows: Array) -> Array:
        """Return the library booster's predictions, shape (rows, outputs)."""
        return self.answers_of(self.margins(rows))

    def answers_of(self, margins: Array) -> Array:
        """Return the predictions for the sums."""
        if self.sums_in_float32:
            return links.apply_in_float32(self.link, margins)
        return links.apply(self.link, margins, self.scale)


def _answer_linear(values: Array, hit: Array, rows: Array, function: tuple[float, Array, Array]) -> None:
    """Add a leaf's linear function for the rows that reach it; with a missing number, the leaf's constant is used."""
    constant, features, coefficients = function
    for row, tree in zip(*np.nonzero(hit), strict=True):
        inputs = rows[row, features]
        if not np.isnan(inputs).any():
            total = constant
            for number, coefficient in zip(inputs, coefficients, strict=True):
                total += number * coefficient
            values[row, tree] = total


def _first(forest: Forest, trees: int) -> Forest:
    nodes = int(forest.starts[trees])
    per_node = ("left", "right", "is_leaf", "feature", "threshold", "missing_left", "missing", "value", "set_start",
                "set_words")  # fmt: skip
    return replace(
        forest,
        starts=forest.starts[: trees + 1],
        targets=forest.targets[:trees],
        cover=None if forest.cover is None else forest.cover[:nodes],
        linear={leaf: function for leaf, function in forest.linear.items() if leaf < nodes},
        **{name: getattr(forest, name)[:nodes] for name in per_node},
    )
