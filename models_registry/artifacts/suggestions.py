"""Guesses which name was meant, at a cost that a caller who misspells on purpose cannot raise."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Sequence

SHOWN_NAMES = 8
# difflib takes some 30 µs for each name that it compares, and callers may misspell as often as they like.
COMPARED_NAMES = 16
COMPARED_CHARACTERS = 200


def closest(word: str, names: Sequence[str]) -> str | None:
    """Return the name that `word` was probably meant to be, if there is one."""
    word = word[:COMPARED_CHARACTERS]
    if len(names) > COMPARED_NAMES:
        pairs = _pairs(word)
        names = heapq.nlargest(COMPARED_NAMES, names, key=lambda name: len(pairs & _pairs(name)))
    names = [name for name in names if len(name) <= COMPARED_CHARACTERS]
    return next(iter(difflib.get_close_matches(word, names, n=1)), None)


def shown(names: Sequence[str]) -> str:
    """Return the names in quotation marks, the first few of many and how many more there are."""
    text = ", ".join(repr(name) for name in names[:SHOWN_NAMES])
    return f"{text} and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else text


def _pairs(word: str) -> set[str]:
    """Return which two characters follow each other in `word`."""
    return {word[at : at + 2] for at in range(min(len(word), COMPARED_CHARACTERS))}
