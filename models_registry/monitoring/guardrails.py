"""Guardrails: compares a candidate with the active version, with an interval for each limit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from models_registry.inference.call_board import WORKER_LOST
from models_registry.monitoring.intervals import difference_interval, quantile_interval, share_interval
from models_registry.monitoring.usage import OTHER_LABEL, Usage

# Below these numbers a guardrail has no result, because chance alone could break it.
MIN_ATTEMPTS = 20
MIN_ERRORS = 3
MIN_LATENCIES = 100
MIN_LABELS = 50
QUANTILE = 0.99


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one guardrail.

    `value` and `interval` are None while there are too few requests: `observed` of the `needed` ones. The guardrail is
    broken if the whole interval is above the limit.
    """

    name: str
    limit: float
    value: float | None
    interval: tuple[float, float] | None
    observed: int
    needed: int
    sentence: str

    @property
    def is_broken(self) -> bool:
        """Return whether the figure is above the limit, beyond chance."""
        return self.interval is not None and self.interval[0] > self.limit

    @property
    def state(self) -> str:
        """Return `broken`, `kept`, or `waiting` for more requests."""
        if self.is_broken:
            return "broken"
        return "waiting" if self.value is None else "kept"


def judge(guardrails: Mapping[str, float], *, active: Usage, candidate: Usage) -> list[Finding]:
    """Return the result of each guardrail for the candidate, compared with the active version at the same time."""
    rules = {"error_rate": _error_rate, "p99_ratio": _p99_ratio, "label_shift": _label_shift}
    # In a fixed order: the database returns names in any order.
    return [rule(guardrails[name], active, candidate) for name, rule in rules.items() if name in guardrails]


def _error_rate(limit: float, active: Usage, candidate: Usage) -> Finding:
    errors, attempts = candidate.error_count, candidate.attempts
    # If a candidate crashes workers, few requests are left to count.
    if attempts < MIN_ATTEMPTS and candidate.errors.get(WORKER_LOST, 0) < MIN_ERRORS:
        return _waiting("error_rate", limit, attempts, MIN_ATTEMPTS)
    low, high = share_interval(errors, attempts)
    if errors < MIN_ERRORS:
        low = 0.0
    sentence = (
        f"The model failed at {errors} of {attempts} requests ({errors / attempts:.2%}); the limit is {limit:.2%}."
    )
    return Finding("error_rate", limit, errors / attempts, (low, high), attempts, MIN_ATTEMPTS, sentence)


def _p99_ratio(limit: float, active: Usage, candidate: Usage) -> Finding:
    observed = int(min(sum(active.latency), sum(candidate.latency)))
    value, base = candidate.latency_quantile(QUANTILE), active.latency_quantile(QUANTILE)
    bounds, base_bounds = (quantile_interval(usage.latency, QUANTILE) for usage in (candidate, active))
    if observed < MIN_LATENCIES or not value or not base or bounds is None or base_bounds is None:
        return _waiting("p99_ratio", limit, observed, MIN_LATENCIES)
    sentence = (
        f"The 99th percentile of its time is {value * 1000:.1f} ms, the active version's {base * 1000:.1f} ms "
        f"({value / base:.2f} times); the limit is {limit:g} times."
    )
    # The uncertainty within the buckets of both histograms is no reason to end the canary.
    interval = (bounds[0] / base_bounds[1], bounds[1] / base_bounds[0] if base_bounds[0] else math.inf)
    return Finding("p99_ratio", limit, value / base, interval, observed, MIN_LATENCIES, sentence)


def _label_shift(limit: float, active: Usage, candidate: Usage) -> Finding:
    """Return the result for the label whose share differs most."""
    totals = sum(candidate.labels.values()), sum(active.labels.values())
    if min(totals) < MIN_LABELS:
        return _waiting("label_shift", limit, min(totals), MIN_LABELS)
    shares = {
        # Uncounted labels are summed up, and differ between the versions.
        label: ((candidate.labels.get(label, 0), totals[0]), (active.labels.get(label, 0), totals[1]))
        for label in {**candidate.labels, **active.labels}
        if label != OTHER_LABEL
    }
    label, (new, old) = max(shares.items(), key=lambda item: abs(_share(item[1][0]) - _share(item[1][1])))
    larger, smaller = (new, old) if _share(new) >= _share(old) else (old, new)
    low, high = difference_interval(larger, smaller)
    sentence = (
        f"Its share of the label {label!r} is {_share(new):.1%}, the active version's {_share(old):.1%}; "
        f"the limit of the difference is {limit:.1%}."
    )
    value = _share(larger) - _share(smaller)
    return Finding("label_shift", limit, value, (max(0.0, low), high), min(totals), MIN_LABELS, sentence)


def _share(counted: tuple[int, int]) -> float:
    return counted[0] / counted[1]


def _waiting(name: str, limit: float, observed: int, needed: int) -> Finding:
    sentence = f"It waits for more: {observed} of {needed} observations."
    return Finding(name, limit, None, None, observed, needed, sentence)
