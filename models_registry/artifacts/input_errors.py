"""Finds the row and column of a text that numpy could not convert to a number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from models_registry.artifacts.features import describe_value
from models_registry.errors import InputError

NO_NUMBER = re.compile(r"could not convert string to float: (?:np\.str_\()?(?P<text>['\"].*['\"])\)?", re.DOTALL)


def text_refusal(error: ValueError, rows: Any) -> InputError | None:
    """Return an error that names the row and column of the text in `error`; None for other errors.

    If several columns contain the text, no position is named: the text may be valid in most of them.
    """
    found = NO_NUMBER.fullmatch(str(error))
    if found is None:
        return None
    places = [place for name, values in _columns(rows) if (place := _place(name, values, found["text"]))]
    where, text = places[0] if len(places) == 1 else ("", found["text"][1:-1])
    expected = "expected" if where else "Expected"
    return InputError(
        f"{where}{expected} a value that the model can convert to a number, found {describe_value(text)}. "
        "Send the kind of value that the model was trained with."
    )


def _columns(rows: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield the columns of rows in any container, with their names."""
    if isinstance(rows, np.ndarray) and rows.ndim == 2:
        for index in range(rows.shape[1]):
            yield f"feature {index} (counted from 0)", rows[:, index].tolist()
    elif hasattr(rows, "columns"):
        for name in rows.columns:
            yield f"feature {str(name)!r}", rows[name].tolist()


def _place(name: str, values: list[Any], text: str) -> tuple[str, str] | None:
    """Return the row in a column with the value whose `repr` is `text`, and the value."""
    for row, value in enumerate(values):
        if isinstance(value, str) and repr(str(value)) == text:
            return f"Row {row}, {name}: ", value
    return None
