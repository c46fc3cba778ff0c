"""Decides whether the native form of a boosted model predicts with the library that trained it: XGBoost or LightGBM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from models_registry.artifacts import boosters
from models_registry.artifacts.object_graph import walk
from models_registry.artifacts.prediction import call
from models_registry.artifacts.schema import Schema
from models_registry.compilation.timing import in_turn, lower_quartiles
from models_registry.compilation.verification import difference

# The library is used if it takes at most this share of the time; it costs memory and its import.
CLEAR_SHARE = 0.85
TIMED_ROWS = 64
MAX_PROBLEM = 300


class LibraryChoice(NamedTuple):
    """Whether the boosters predict with their library; `problem` says why the library failed or disagreed."""

    is_used: bool
    problem: str | None = None


def use_if_faster(
    estimator: Any,
    schema: Schema,
    typical: Sequence[list[Any]],
    verified: Sequence[list[Any]],
    *,
    many_rows: int | None = None,
) -> LibraryChoice:
    """Let the boosters in `estimator` answer by their library if it agrees and is faster.

    The predictions for the rows `verified`, which the estimator accepts, are compared; the rows `typical` are timed.
    With `many_rows`, the library is also used if it is faster for that number of rows. Then the compiled form predicts
    smaller requests.
    """
    if not typical or not any(type(value).__module__.startswith(boosters.__name__) for value in walk(estimator)):
        return LibraryChoice(is_used=False)
    from models_registry.artifacts.boosters.estimators import Boosted
    from models_registry.artifacts.boosters.library import leave_libraries, use_libraries

    step = min(TIMED_ROWS, len(typical))
    batches = [schema.parse(typical[start : start + step]) for start in range(0, len(typical) - step + 1, step)]
    timed = in_turn(lambda batch: call(estimator, batch), batches)
    # The steps around a booster have a fixed cost of milliseconds, which hides its own time for few rows.
    has_steps = not isinstance(estimator, Boosted)
    compared = schema.parse([list(row) for row in verified])
    expected = call(estimator, compared)
    (own,) = lower_quartiles(timed, calls=1)
    try:
        if not use_libraries(estimator):
            return LibraryChoice(is_used=False)
        difference(expected, call(estimator, compared), "of the library")
        (theirs,) = lower_quartiles(timed)
        choice = LibraryChoice(is_used=theirs <= CLEAR_SHARE * own)
        if many_rows and has_steps and not choice.is_used:
            many = schema.parse([list(typical[index % len(typical)]) for index in range(many_rows)])
            choice = LibraryChoice(is_used=_is_faster_by_library(estimator, lambda: call(estimator, many)))
    except Exception as error:  # noqa: BLE001 - a library may raise anything; the model answers as before
        choice = LibraryChoice(is_used=False, problem=f"{type(error).__name__}: {str(error)[:MAX_PROBLEM]}")
    if not choice.is_used:
        leave_libraries(estimator)
    return choice


def _is_faster_by_library(estimator: Any, answer: Callable[[], object]) -> bool:
    """Return whether `answer` is clearly faster by the library, which is used before and after."""
    from models_registry.artifacts.boosters.library import leave_libraries, use_libraries

    (theirs,) = lower_quartiles(answer, calls=1)
    leave_libraries(estimator)
    (own,) = lower_quartiles(answer, calls=1)
    use_libraries(estimator)
    return theirs <= CLEAR_SHARE * own
