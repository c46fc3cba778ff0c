"""Compares a column's served values with those of its reference, as an effect size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from models_registry.monitoring.distributions import Distribution, category_distribution, number_distribution
from models_registry.monitoring.intervals import difference_interval

# Below this number of values on either side there is no verdict.
MIN_ROWS = 200
# Evidently's default threshold, both for the Wasserstein distance in standard deviations of the reference and for the
# Jensen-Shannon distance.
THRESHOLD = 0.1
# Allowed difference between the shares of missing values, beyond chance.
MISSING_THRESHOLD = 0.1
# A constant column has a standard deviation of zero; Evidently divides by this value instead.
MIN_DEVIATION = 0.001
# Columns with more different texts, such as names, are not compared: any two samples of them differ.
MAX_CATEGORIES = 100
TOO_MANY_CATEGORIES = f"It has more than {MAX_CATEGORIES} different values."
SHUFFLES = 200
SEED = 0

NUMBER, CATEGORY = "number", "category"
# The kind of comparison for each feature type.
KINDS = {"float": NUMBER, "integer": NUMBER, "string": CATEGORY, "boolean": CATEGORY}
METHODS = {NUMBER: "wasserstein", CATEGORY: "jensen_shannon"}
DRIFTED, STABLE, TOO_FEW_ROWS, NOT_COMPARED = "drifted", "stable", "too few rows", "not compared"


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """The result for one column; shares are from 0 to 1.

    `chance` is the largest effect size of random splits of the same values; it is computed only above the threshold.
    `distribution` exists if an effect size does.
    """

    verdict: str
    reason: str
    method: str | None = None
    effect_size: float | None = None
    chance: float | None = None
    rows: int = 0
    reference_rows: int = 0
    missing: float | None = None
    reference_missing: float | None = None
    distribution: Distribution | None = None


@dataclass(frozen=True, slots=True)
class ColumnComparison:
    """The values of a column on both sides, served values first in each pair, and their comparison.

    `distance` is the effect size, `chance` the result of random samples, and `refusal` the reason if both are missing.
    """

    method: str
    rows: tuple[int, int]
    missing: tuple[int, int]
    distance: Callable[[], float]
    chance: Callable[[], float]
    distribution: Callable[[], Distribution]
    refusal: Callable[[], str] = str


def column_drift(reference: Sequence[Any], current: Sequence[Any], kind: str) -> ColumnDrift:
    """Compare the values of a column, `kind` NUMBER or CATEGORY; None and NaN are missing values."""
    clean: Callable[[Sequence[Any]], list[Any]] = _numbers if kind == NUMBER else _categories
    distance: Callable[[Any, Any], float] = wasserstein if kind == NUMBER else jensen_shannon
    spread: Callable[[Any, Any], Distribution] = number_distribution if kind == NUMBER else category_distribution
    values, reference_values = clean(current), clean(reference)

    def refusal() -> str:
        has_many = kind == CATEGORY and len({*values, *reference_values}) > MAX_CATEGORIES
        return TOO_MANY_CATEGORIES if has_many else ""

    return judge(
        ColumnComparison(
            METHODS[kind],
            rows=(len(current), len(reference)),
            missing=(len(current) - len(values), len(reference) - len(reference_values)),
            distance=lambda: distance(reference_values, values),
            chance=lambda: _chance(reference_values, values, distance),
            distribution=lambda: spread(reference_values, values),
            refusal=refusal,
        )
    )


def judge(compared: ColumnComparison) -> ColumnDrift:
    """Return the verdict on a column.

    A column has drifted if its effect size is above the threshold and above chance. It has also drifted if the share
    of missing values differs.
    """
    missing, reference_missing = zip(compared.missing, compared.rows, strict=True)
    judged = partial(
        ColumnDrift,
        method=compared.method,
        rows=compared.rows[0],
        reference_rows=compared.rows[1],
        missing=_share(missing),
        reference_missing=_share(reference_missing),
    )
    if (fewest := min(compared.rows)) < MIN_ROWS:
        return judged(TOO_FEW_ROWS, f"One side has {fewest} rows; a verdict needs {MIN_ROWS}.")
    if _differs(missing, reference_missing):
        shares = f"{_share(missing):.1%} of the values are missing, {_share(reference_missing):.1%} in the reference."
        return judged(DRIFTED, shares)
    if (fewest := min(rows - lacking for lacking, rows in (missing, reference_missing))) < MIN_ROWS:
        return judged(TOO_FEW_ROWS, f"One side has {fewest} values that are not missing; a verdict needs {MIN_ROWS}.")
    if refusal := compared.refusal():
        return judged(NOT_COMPARED, refusal)
    size = compared.distance()
    if not math.isfinite(size):
        return judged(NOT_COMPARED, "Its values are too large to compare.")
    judged = partial(judged, effect_size=size, distribution=compared.distribution())
    if size <= THRESHOLD:
        return judged(STABLE, f"The effect size {size:.3f} is at most {THRESHOLD}.")
    chance = compared.chance()
    verdict = DRIFTED if size > chance else STABLE
    reason = f"The effect size {size:.3f} is above {THRESHOLD}. Random splits give up to {chance:.3f}."
    return judged(verdict, reason, chance=chance)


def wasserstein(reference: Sequence[float], current: Sequence[float]) -> float:
    """Return the Wasserstein distance in the reference's standard deviations; infinite for numbers that overflow."""
    from scipy.stats import wasserstein_distance

    with np.errstate(over="ignore", invalid="ignore"):
        deviation = max(float(np.std(reference)), MIN_DEVIATION)
        return float(wasserstein_distance(reference, current)) / deviation if math.isfinite(deviation) else math.inf


def jensen_shannon(reference: Sequence[str], current: Sequence[str]) -> float:
    """Return the Jensen-Shannon distance (base e) of the shares of categories: 0 to 0.833."""
    counts, others = Counter(reference), Counter(current)
    names = sorted({*counts, *others})
    return float(jensen_shannon_of_counts([counts[name] for name in names], [others[name] for name in names]))


def jensen_shannon_of_counts(reference: Any, current: Any) -> Any:
    """Return the Jensen-Shannon distance (base e) of counts by bin, along the last axis."""
    from scipy.spatial.distance import jensenshannon

    # Rounding can make an exact 0 slightly negative.
    return np.nan_to_num(jensenshannon(np.asarray(reference, dtype=float), np.asarray(current, dtype=float), axis=-1))


def _chance(reference: Sequence[Any], current: Sequence[Any], distance: Callable[[Any, Any], float]) -> float:
    """Return the largest distance of SHUFFLES random splits of all values into the given sizes."""
    generator = np.random.default_rng(SEED)
    pooled = np.array([*reference, *current], dtype=float if isinstance(reference[0], float) else object)
    found = 0.0
    for _ in range(SHUFFLES):
        generator.shuffle(pooled)
        found = max(found, distance(pooled[: len(reference)], pooled[len(reference) :]))
    return found


def _differs(counted: tuple[int, int], other: tuple[int, int]) -> bool:
    larger, smaller = sorted((counted, other), key=_share, reverse=True)
    return difference_interval(larger, smaller)[0] > MISSING_THRESHOLD


def _share(counted: tuple[int, int]) -> float:
    return counted[0] / counted[1] if counted[1] else 0.0


def is_missing(value: Any) -> bool:
    """Return whether a value is None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _numbers(values: Sequence[Any]) -> list[float]:
    """Return the finite numbers; other values count as missing."""
    found = (as_number(value) for value in values)
    return [value for value in found if math.isfinite(value)]


def as_number(value: Any) -> float:
    """Return a value as a number; NaN if it is not a number."""
    try:
        return math.nan if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _categories(values: Sequence[Any]) -> list[str]:
    return [category_of(value) for value in values if not is_missing(value)]


def category_of(value: Any) -> str:
    """Return a value as text; 1.0 and 1 are one category."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
