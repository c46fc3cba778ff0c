"""Whether the native form of a boosted model answers by the library that trained it, XGBoost or LightGBM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models_registry.artifacts import boosters
from models_registry.artifacts.object_graph import walk
from models_registry.artifacts.prediction import call
from models_registry.artifacts.schema import Schema
from models_registry.compilation.timing import in_turn, lower_quartiles
from models_registry.compilation.verification import difference

# The library is used if it takes at most this share of the time; it costs memory and its import.
CLEAR_SHARE = 0.85
TIMED_ROWS = 64


def use_if_faster(estimator: Any, schema: Schema, typical: Sequence[list[Any]], verified: Sequence[list[Any]]) -> bool:
    """Let the boosters in `estimator` answer by their library if it agrees and is faster; return whether they do.

    Its answers to the rows `verified`, all of which the estimator answers, are compared; the rows `typical` are timed.
    """
    if not typical or not any(type(value).__module__.startswith(boosters.__name__) for value in walk(estimator)):
        return False
    from models_registry.artifacts.boosters.library import leave_libraries, use_libraries

    step = min(TIMED_ROWS, len(typical))
    batches = [schema.parse(typical[start : start + step]) for start in range(0, len(typical) - step + 1, step)]
    timed = in_turn(lambda batch: call(estimator, batch), batches)
    compared = schema.parse([list(row) for row in verified])
    expected = call(estimator, compared)
    (own,) = lower_quartiles(timed, calls=1)
    try:
        if not use_libraries(estimator):
            return False
        difference(expected, call(estimator, compared), "of the library")
        (theirs,) = lower_quartiles(timed)
        is_used = theirs <= CLEAR_SHARE * own
    except Exception:  # noqa: BLE001 - a library may raise anything; the model answers as before
        is_used = False
    if not is_used:
        leave_libraries(estimator)
    return is_used
