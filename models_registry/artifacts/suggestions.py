"""Suggests the closest name, at a bounded cost even if clients misspell on purpose."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Sequence

SHOWN_NAMES = 8
# difflib takes about 30 µs for each compared name, and clients may send any number of misspelt names.
COMPARED_NAMES = 16
COMPARED_CHARACTERS = 200


def closest(word: str, names: Sequence[str]) -> str | None:
    """Return the name that is most similar to `word`, or None."""
    word = word[:COMPARED_CHARACTERS]
    if len(names) > COMPARED_NAMES:
        pairs = _pairs(word)
        names = heapq.nlargest(COMPARED_NAMES, names, key=lambda name: len(pairs & _pairs(name)))
    names = [name for name in names if len(name) <= COMPARED_CHARACTERS]
    return next(iter(difflib.get_close_matches(word, names, n=1)), None)


def shown(names: Sequence[str]) -> str:
    """Return the names in quotation marks; of many, the first few and the number of others."""
    text = ", ".join(repr(name) for name in names[:SHOWN_NAMES])
    return f"{text} and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else text


def _pairs(word: str) -> set[str]:
    """Return the pairs of adjacent characters in `word`."""
    return {word[at : at + 2] for at in range(min(len(word), COMPARED_CHARACTERS))}
