"""Compares a compiled model with the native one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models_registry.artifacts.prediction import Prediction, call
from models_registry.artifacts.schema import Schema
from models_registry.compilation.compiled import CompiledModel
from models_registry.compilation.graph import Array
from models_registry.errors import InputError

# Largest allowed difference of scores, relative to their size: float64 rounding, if large likelihoods cancel.
TOLERANCE = 1e-7
SINGLE_ROWS = 64
SMALLEST = float(np.finfo(np.float64).tiny)


class Disagreement(Exception):
    """The compiled model's predictions differ from the native model's; the message says where and how."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The rows on which both forms agree, and the largest difference of their scores."""

    rows: list[list[Any]]
    tolerance: float
    largest_difference: float


def verify(native: Any, compiled: CompiledModel, schema: Schema, rows: Sequence[list[Any]]) -> Verification:
    """Return the agreement of both forms on `rows`; raises Disagreement.

    Labels, shapes and types must be equal, and scores within the tolerance of the compiled kind. If one form refuses a
    row, the other must refuse it. Rows are predicted as a batch and, for some, one by one.
    """
    accepted = _accepted(native, compiled, schema, rows)
    if not accepted:
        raise Disagreement("scikit-learn refuses every generated row, so the forms cannot be compared")
    parsed = schema.parse([list(row) for row in accepted])
    expected, found = call(native, parsed), call(compiled, parsed)
    largest = difference(expected, found, "together")
    largest = max(largest, _decisions(native, compiled, parsed))
    for index in _spread_out(len(accepted), SINGLE_ROWS):
        alone = call(compiled, schema.parse([list(accepted[index])]))
        largest = max(largest, difference(expected.part(index, index + 1), alone, f"alone, row {index}"))
    return Verification(accepted, TOLERANCE, largest)


def _accepted(native: Any, compiled: CompiledModel, schema: Schema, rows: Sequence[list[Any]]) -> list[list[Any]]:
    """Return the rows that the native model accepts; the compiled form must refuse the others."""
    taken = [row for row in rows if _is_parsed(schema, row)]
    if not taken or _answers(native, schema.parse([list(row) for row in taken])):
        return taken
    accepted = []
    for row in taken:
        parsed = schema.parse([list(row)])
        if _answers(native, parsed):
            accepted.append(row)
        elif _answers(compiled, parsed):
            raise Disagreement(f"scikit-learn refuses the row {_shown(row)}, but the compiled form answers it")
    return accepted


def _is_parsed(schema: Schema, row: list[Any]) -> bool:
    try:
        schema.parse([list(row)])
    except InputError:
        return False
    return True


def _answers(model: Any, parsed: Any) -> bool:
    try:
        call(model, parsed)
    except Exception:  # noqa: BLE001 - a model may refuse a row with any exception
        return False
    return True


def _spread_out(count: int, wanted: int) -> list[int]:
    return sorted({round(position) for position in np.linspace(0, count - 1, min(count, wanted))})


def difference(expected: Prediction, found: Prediction, how: str) -> float:
    """Return the largest difference of the scores; raises Disagreement."""
    labels, compiled_labels = expected.labels, found.labels
    _same_form("answers", labels, compiled_labels)
    if labels.dtype.kind == "f" and expected.probabilities is None:
        return _scores("values", labels, compiled_labels)
    wrong = np.flatnonzero((labels != compiled_labels).reshape(len(labels), -1).any(axis=1))
    if wrong.size:
        row = int(wrong[0])
        raise Disagreement(
            f"predicted {how}, {wrong.size} of {len(labels)} labels differ: row {row} is "
            f"{labels[row : row + 1].tolist()[0]!r} by scikit-learn and "
            f"{compiled_labels[row : row + 1].tolist()[0]!r} by the compiled form"
        )
    if expected.probabilities is None and found.probabilities is None:
        return 0.0
    if not isinstance(expected.probabilities, np.ndarray) or not isinstance(found.probabilities, np.ndarray):
        raise Disagreement("only one of the two forms has probabilities")
    _same_form("probabilities", expected.probabilities, found.probabilities)
    return _scores("probabilities", expected.probabilities, found.probabilities)


def _decisions(native: Any, compiled: CompiledModel, parsed: Any) -> float:
    """Return the largest difference of the decisions; labels that depend on scores are compared by scores, too."""
    if not hasattr(compiled, "decision_function"):
        if hasattr(native, "decision_function") and not hasattr(compiled, "predict_proba"):
            raise Disagreement("the compiled form has no decision function, from which scikit-learn's labels come")
        return 0.0
    if not hasattr(native, "decision_function"):
        raise Disagreement("the compiled form has a decision function, but scikit-learn's has none")
    expected, found = np.asarray(native.decision_function(parsed)), compiled.decision_function(parsed)
    _same_form("decisions", expected, found)
    return _scores("decisions", expected, found)


def _same_form(what: str, expected: Array, found: Array) -> None:
    if expected.shape != found.shape or expected.dtype.kind != found.dtype.kind:
        raise Disagreement(
            f"scikit-learn's {what} are {expected.dtype} of shape {expected.shape}, but the compiled form's are "
            f"{found.dtype} of shape {found.shape}"
        )


def _scores(what: str, expected: Array, found: Array) -> float:
    """Return the largest difference, relative to the size of the row's or of the typical score."""
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    if same.all():
        return 0.0
    finite = np.abs(expected[np.isfinite(expected)])
    usual = 1.0 if what == "probabilities" else max(float(np.median(finite)) if finite.size else 1.0, SMALLEST)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.where(same, 0.0, np.abs(expected - found) / np.maximum(usual, np.abs(expected)))
    largest = float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max())
    if largest > TOLERANCE:
        row = int(np.unravel_index(int(np.nan_to_num(apart, nan=np.inf).argmax()), apart.shape)[0])
        raise Disagreement(f"{what} differ by {largest:.1e} (row {row}, allowed: {TOLERANCE:.0e})")
    return largest


def _shown(row: list[Any]) -> str:
    text = ", ".join(repr(value) for value in row[:6])
    return f"[{text}, …]" if len(row) > 6 else f"[{text}]"
