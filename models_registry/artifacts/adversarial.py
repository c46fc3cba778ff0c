"""Predicts unusual rows before a version may serve, and checks the data between the steps of a pipeline.

Checks of the stored state cover only known estimators. These rows find two faults in others: sparse matrices with
indices out of bounds, and uninitialized memory in predictions.
"""

import ctypes
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np

from models_registry.artifacts.examples import example_of
from models_registry.artifacts.features import MAX_NUMBER, Feature
from models_registry.artifacts.object_graph import walk
from models_registry.artifacts.patterns import check_patterns
from models_registry.artifacts.prediction import Prediction, call
from models_registry.artifacts.schema import Schema
from models_registry.artifacts.structures.vectors import check_sparse
from models_registry.errors import InputError, UnsafeStructure

MAX_ROWS = 2_000
MAX_VALUES = 200_000
MAX_SECONDS = 15.0
_BASE_ROWS = 3
_MAX_COLUMNS = 1_000
_ALONE_ROWS = 4
# Above the size of numpy's cache of freed memory, which the fill pattern does not reach.
_MEMORY_ROWS = 256
# Fewer rows if each has hundreds of thousands of features.
_MEMORY_CELLS = 4_000_000
_TEXTS = ("", "\0 never seen", "ÄÖ ☃ \U0001f600", "a" * 5_000, "a b " * 1_000)
_NUMBERS = (0.0, MAX_NUMBER, -MAX_NUMBER)
_PERTURB = -6
_PATTERNS = (0x55, 0xAA)
_TOLERANCE = 1e-3


class _OutOfTime(Exception):
    """The time limit is reached; the remaining rows are skipped."""


def exercise(model: Any, schema: Schema, instances: Sequence[Any]) -> None:
    """Predict rows derived from `instances`: known, missing, unknown, empty, long and extreme values.

    The model may refuse a row. Raises UnsafeStructure for indices outside of the next step's input, and for
    uninitialized memory in a prediction. It is also raised for a pattern that hangs on a text.
    """
    objects = list(walk(model))
    check_patterns(objects)
    rows = _accepted(schema, _rows(schema, instances, objects))
    notes: list[str] = []
    # Warnings of the model about such rows are expected.
    with warnings.catch_warnings(), _checked_matrices() as found, _limited_time(notes):
        warnings.simplefilter("ignore")
        tried = _tried(model, schema, rows)
        _refuse_first(found)
        # Rows that are accepted one by one may still fail as a batch.
        if tried and _answers(model, schema, tried):
            _compare_memory(model, schema, tried)
            _compare_alone(model, schema, tried, notes)
    _refuse_first(found)
    for note in notes:
        warnings.warn(note, stacklevel=1)


def _refuse_first(found: list[UnsafeStructure]) -> None:
    if found:
        raise found[0]


@contextmanager
def _limited_time(notes: list[str]) -> Iterator[None]:
    """End the block after MAX_SECONDS, and add a note: an ordinary model may be slow with such rows, too."""
    before = signal.signal(signal.SIGALRM, _stop)
    others = signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    try:
        yield
    except _OutOfTime:
        notes.append(
            f"The model takes more than {MAX_SECONDS:g} s for rows of unknown, missing and extreme values. So not all "
            "of them were tried."
        )
    finally:
        signal.setitimer(signal.ITIMER_REAL, *others)
        signal.signal(signal.SIGALRM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    raise _OutOfTime


@contextmanager
def _checked_matrices() -> Iterator[list[UnsafeStructure]]:
    """Check every compressed sparse matrix that the block creates; yield the list of the faults found."""
    from scipy.sparse import _compressed

    found: list[UnsafeStructure] = []
    made: Callable[..., None] = _compressed._cs_matrix.__init__

    def checked(matrix: Any, *arguments: Any, **keywords: Any) -> None:
        made(matrix, *arguments, **keywords)
        try:
            check_sparse(matrix)
        except UnsafeStructure as error:
            found.append(error)
            raise

    _compressed._cs_matrix.__init__ = checked
    try:
        yield found
    finally:
        _compressed._cs_matrix.__init__ = made


def _rows(schema: Schema, instances: Sequence[Any], objects: Sequence[Any]) -> Iterator[Any]:
    if schema.container == "records":
        yield from _records(instances, objects)
        return
    names = schema.names
    bases = [_ordered(row, names) for row in instances[:_BASE_ROWS]]
    bases = bases or [_ordered(example_of(schema), names)]
    yield from bases
    positions = range(0, len(names), max(1, len(names) // _MAX_COLUMNS))
    categories = _categories(objects, len(names), positions)
    choices = {position: _values(schema.inputs[position], categories[position]) for position in positions}
    # Columns alternate, so that a wide model has some values of each column in the first rows.
    for turn in range(max(map(len, choices.values()), default=0)):
        for position, values in choices.items():
            if turn < len(values):
                row = list(bases[turn % len(bases)])
                row[position] = values[turn]
                yield row


def _ordered(row: Any, names: Sequence[str]) -> list[Any]:
    if isinstance(row, dict):
        return [row.get(name) for name in names]
    return list(row) if isinstance(row, list | tuple) else [row]


def _records(instances: Sequence[Any], objects: Sequence[Any]) -> Iterator[Any]:
    yield from instances[:_BASE_ROWS]
    yield from ({}, {"never seen": 1.0}, {"never seen": "text"}, {_TEXTS[1]: _TEXTS[3]})
    for value in objects:
        for name in getattr(value, "feature_names_", None) or ():
            key, _, content = str(name).partition("=")
            yield {key: content or 1.0}
            yield {key: MAX_NUMBER}


def _categories(objects: Sequence[Any], count: int, positions: Sequence[int]) -> dict[int, list[Any]]:
    """Return the categories of every encoder that takes all columns, by column position."""
    found: dict[int, list[Any]] = {position: [] for position in positions}
    for value in objects:
        held = getattr(value, "categories_", None)
        if isinstance(held, list) and len(held) == count:
            for position in positions:
                found[position].extend(np.asarray(held[position]).tolist())
    return found


def _values(feature: Feature, known: list[Any]) -> list[Any]:
    values = [*(feature.categories or ()), *known]
    if feature.type in {"string", "any"}:
        values = [*_TEXTS, *values]
    if feature.type in {"float", "integer", "any"}:
        values = [*_NUMBERS, *values]
    if feature.type == "boolean":
        values = [True, False]
    return [None, *values]


def _accepted(schema: Schema, rows: Iterator[Any]) -> list[Any]:
    """Return rows that a request could contain, up to a limit."""
    accepted: list[Any] = []
    limit = max(_BASE_ROWS, min(MAX_ROWS, MAX_VALUES // max(1, len(schema.inputs))))
    for tries, row in enumerate(rows):
        if len(accepted) >= limit or tries > 2 * limit:
            break
        try:
            schema.parse([row])
        except (InputError, ValueError, TypeError, OverflowError):
            continue  # no request could contain this row
        accepted.append(row)
    return accepted


def _tried(model: Any, schema: Schema, rows: list[Any]) -> list[Any]:
    """Return the rows that the model accepts: predicted as a batch, or one by one if it refuses some."""
    if not rows or _answers(model, schema, rows):
        return rows
    return [row for row in rows if _answers(model, schema, [row])]


def _answers(model: Any, schema: Schema, rows: list[Any]) -> bool:
    try:
        call(model, schema.parse(rows))
    except (UnsafeStructure, _OutOfTime):
        raise
    except Exception:  # noqa: BLE001 - a model may refuse a row with any exception
        return False
    return True


def _compare_memory(model: Any, schema: Schema, rows: list[Any]) -> None:
    """Refuse a model whose predictions depend on the content of freed memory, but do not vary from call to call."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    count = max(1, min(max(_MEMORY_ROWS, len(rows)), _MEMORY_CELLS // max(1, len(schema.inputs))))
    many = [rows[index % len(rows)] for index in range(count)]
    answers = []
    parsed = schema.parse(many)
    try:
        for pattern in _PATTERNS:
            mallopt(_PERTURB, pattern)
            answers.append([_arrays(call(model, _fresh(parsed, schema, many))) for _ in range(2)])
    finally:
        mallopt(_PERTURB, 0)
    (first, again), (other, other_again) = answers
    if _same(first, again) and _same(other, other_again) and not _same(first, other):
        raise UnsafeStructure(
            "The artifact returns uninitialized memory: the same rows get other predictions after that memory "
            "has changed. It is damaged or crafted; publish it again from its training script."
        )


def _compare_alone(model: Any, schema: Schema, rows: list[Any], notes: list[str]) -> None:
    """Warn if a row's prediction changes when other rows are in the batch, as in a busy service."""
    together = [_numbers(model, schema, rows[:_ALONE_ROWS]) for _ in range(2)]
    if not _same(*together):
        return  # random predictions
    for position, row in enumerate(rows[:_ALONE_ROWS]):
        alone = _numbers(model, schema, [row])
        if not all(_close(one[0], whole[position]) for one, whole in zip(alone, together[0], strict=True)):
            notes.append(
                "The model answers a row differently if the batch has other rows. Requests share batches, so "
                "a client's prediction depends on other clients' rows. Let each step process each row separately."
            )
            return


def _fresh(parsed: Any, schema: Schema, rows: list[Any]) -> Any:
    """Return fresh copies of the rows: some steps write into their input."""
    # A copy takes a hundredth of the time of a new array, which matters with hundreds of thousands of features.
    return parsed.copy() if isinstance(parsed, np.ndarray) else schema.parse(rows)


def _numbers(model: Any, schema: Schema, rows: list[Any]) -> list[np.ndarray[Any, Any]]:
    return _arrays(call(model, schema.parse(rows)))


def _arrays(answer: Prediction) -> list[np.ndarray[Any, Any]]:
    held = answer.probabilities
    return [answer.labels, *(held if isinstance(held, tuple) else () if held is None else (held,))]


def _same(left: Sequence[Any], right: Sequence[Any]) -> bool:
    return all(
        np.array_equal(one, other, equal_nan=one.dtype.kind == "f") for one, other in zip(left, right, strict=True)
    )


def _close(left: Any, right: Any) -> bool:
    left, right = np.asarray(left), np.asarray(right)
    if left.dtype.kind == right.dtype.kind == "f":
        return bool(np.allclose(left, right, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True))
    return bool(np.array_equal(left, right))
