"""Compares the binned counts of served values with those of the reference: drift without logged rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models_registry.monitoring.distributions import Distribution
from models_registry.monitoring.drift import (
    CATEGORY,
    METHODS,
    SEED,
    SHUFFLES,
    ColumnComparison,
    ColumnDrift,
    jensen_shannon_of_counts,
    judge,
)
from models_registry.monitoring.feature_bins import ColumnBins


def binned_drift(bins: ColumnBins, current: Sequence[int]) -> ColumnDrift:
    """Compare a column's counts by bin with its reference's, by the Jensen-Shannon distance."""
    reference = bins.reference
    return judge(
        ColumnComparison(
            METHODS[CATEGORY],
            rows=(sum(current), sum(reference)),
            missing=(current[-1], reference[-1]),
            distance=lambda: float(jensen_shannon_of_counts(reference[:-1], current[:-1])),
            chance=lambda: _chance(reference[:-1], current[:-1]),
            distribution=lambda: Distribution(bins.labels(), tuple(reference[:-1]), tuple(current[:-1])),
        )
    )


def _chance(reference: Sequence[int], current: Sequence[int]) -> float:
    """Return the largest distance of SHUFFLES pairs of random samples of the given sizes from all values."""
    generator = np.random.default_rng(SEED)
    pooled = np.add(reference, current)
    shares = pooled / pooled.sum()
    draws = [generator.multinomial(sum(side), shares, size=SHUFFLES) for side in (reference, current)]
    return float(jensen_shannon_of_counts(*draws).max())
