"""Compares the predictions of two versions for the same rows: the effect of an activation."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models_registry.artifacts.replaying import Replayed
from models_registry.monitoring.intervals import share_interval

MAX_EXAMPLES = 20
# A number has changed if it differs by more than one percent.
DEFAULT_TOLERANCE = 0.01
# The 97.5 % quantile of the normal distribution, for 95 % intervals: a replay is judged once, unlike a canary.
Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class RowDifference:
    """The difference of a row's predictions. `size` sorts the rows: 0 if there is no change."""

    row: int
    size: float


def compare(
    rows: Sequence[Any], before: Replayed, after: Replayed, *, tolerance: float = DEFAULT_TOLERANCE
) -> dict[str, Any]:
    """Return the changes as JSON values: percentages from 0 to 100, milliseconds.

    A label has changed if it is another one. A number has changed if it differs by more than `tolerance` times a
    scale. The scale is its size, or the standard deviation of the earlier values if that is larger. A row that only one
    version can predict has changed.
    """
    spread = _spread(before.predictions)
    differences = [
        difference
        for row in range(len(rows))
        if (difference := _difference(row, before, after, tolerance=tolerance, spread=spread)).size > 0
    ]
    largest = sorted(differences, key=lambda item: (-item.size, item.row))[:MAX_EXAMPLES]
    changed, total = len(differences), len(rows)
    return {
        "rows": total,
        "changed": changed,
        "changed_percent": round(100 * changed / total, 4),
        "interval": [round(100 * bound, 4) for bound in share_interval(changed, total, z=Z)],
        "tolerance": tolerance,
        "errors": len(after.problems),
        "active_errors": len(before.problems),
        "latency": {"active": _latency(before.seconds), "candidate": _latency(after.seconds)},
        "examples": [_example(rows, item.row, before, after) for item in largest],
    }


def _difference(row: int, before: Replayed, after: Replayed, *, tolerance: float, spread: float) -> RowDifference:
    has_problem = row in before.problems, row in after.problems
    if any(has_problem):
        return RowDifference(row, 0.0 if all(has_problem) else math.inf)
    old, new = _flat(before.predictions[row]), _flat(after.predictions[row])
    if len(old) != len(new):
        return RowDifference(row, math.inf)
    sizes = [_size(one, other, tolerance=tolerance, spread=spread) for one, other in zip(old, new, strict=True)]
    size = max(sizes, default=0.0)
    # Of changed labels, those come first for which both versions are confident.
    return RowDifference(row, size + _certainty(before, row) + _certainty(after, row) if size else 0.0)


def _size(old: Any, new: Any, *, tolerance: float, spread: float) -> float:
    """Return the difference of two predictions; 0 if it does not count as a change."""
    if not (_is_number(old) and _is_number(new) and float in {type(old), type(new)}):
        return 0.0 if type(old) is type(new) and old == new else 1.0
    scale = max(abs(old), spread) or 1.0
    distance = abs(new - old) / scale
    return distance if distance > tolerance else 0.0


def _is_number(value: Any) -> bool:
    return type(value) in {int, float}


def _flat(prediction: Any) -> list[Any]:
    if not isinstance(prediction, list):
        return [prediction]
    return [value for part in prediction for value in _flat(part)]


def _spread(predictions: Sequence[Any]) -> float:
    numbers = [value for item in predictions for value in _flat(item) if isinstance(value, float)]
    return statistics.pstdev(numbers) if len(numbers) > 1 else 0.0


def _certainty(replayed: Replayed, row: int) -> float:
    scores = [value for value in _flat(replayed.scores[row]) if value is not None] if replayed.scores else []
    return sum(scores) / len(scores) if scores else 0.0


def _latency(seconds: Sequence[float]) -> dict[str, float | None]:
    if not seconds:
        return {"p50_ms": None, "p99_ms": None}
    ordered = sorted(seconds)
    return {
        f"p{share}_ms": round(1000 * ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 4)
        for share in (50, 99)
    }


def _example(rows: Sequence[Any], row: int, before: Replayed, after: Replayed) -> dict[str, Any]:
    return {
        "row": row,
        "input": rows[row],
        "active": _answer(before, row),
        "candidate": _answer(after, row),
    }


def _answer(replayed: Replayed, row: int) -> dict[str, Any]:
    if row in replayed.problems:
        return {"error": replayed.problems[row]}
    return {"prediction": replayed.predictions[row], "confidence": replayed.scores[row] if replayed.scores else None}
