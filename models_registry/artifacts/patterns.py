"""Checks an artifact's regular expressions: catastrophic backtracking would block the interpreter of a whole worker."""

import importlib
import re
import signal
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from models_registry.artifacts.object_graph import is_definition
from models_registry.errors import UnsafeStructure

# The standard library's pattern parser, which has no public name.
parser: Any = importlib.import_module("re._parser")
constants: Any = importlib.import_module("re._constants")

TEXT_CHARACTERS = 2_000
MAX_CPU_SECONDS = 1.0
_MAX_TEXTS = 200
_TAILS = ("\0", "!", "")
_REPEATS = (constants.MAX_REPEAT, constants.MIN_REPEAT, constants.POSSESSIVE_REPEAT)
_OF_CATEGORY: dict[Any, str] = {
    constants.CATEGORY_DIGIT: "1",
    constants.CATEGORY_NOT_DIGIT: "a",
    constants.CATEGORY_SPACE: " ",
    constants.CATEGORY_NOT_SPACE: "a",
    constants.CATEGORY_WORD: "a",
    constants.CATEGORY_NOT_WORD: "-",
}


class _OutOfTime(Exception):
    """A pattern exceeded the time limit."""


def check_patterns(objects: Iterable[Any]) -> None:
    """Refuse an artifact with a pattern that takes too long on a text that almost matches.

    The time limit uses signals, so only the main thread of its own process may call this.
    """
    for pattern in dict.fromkeys(one for value in objects for one in _patterns_of(value)):
        _check_pattern(pattern)


def _patterns_of(value: Any) -> Iterator[str]:
    if isinstance(value, re.Pattern):
        if isinstance(value.pattern, str):
            yield value.pattern
        return
    state = {} if is_definition(value) else getattr(value, "__dict__", {})
    pattern = state.get("token_pattern") if isinstance(state, dict) else None
    # Only for words, and only without a custom tokenizer, like scikit-learn's build_tokenizer.
    if isinstance(pattern, str) and state.get("tokenizer") is None and state.get("analyzer", "word") == "word":
        yield pattern


def _check_pattern(pattern: str) -> None:
    try:
        compiled = re.compile(pattern)
        texts = almost_matching(pattern)
    except (re.error, RecursionError, OverflowError):
        return  # the prediction reports the error
    before = signal.signal(signal.SIGVTALRM, _stop)
    try:
        for text in texts:
            signal.setitimer(signal.ITIMER_VIRTUAL, MAX_CPU_SECONDS)
            compiled.findall(text)
    except _OutOfTime as error:
        raise UnsafeStructure(
            f"The artifact's pattern {pattern[:200]!r} takes more than {MAX_CPU_SECONDS:g} s for a text of "
            f"{TEXT_CHARACTERS} characters, because it backtracks. It would block a worker. Use a pattern without "
            "repeats inside of repeats, train the model again and publish it."
        ) from error
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    raise _OutOfTime


def almost_matching(pattern: str) -> list[str]:
    """Return texts with many repetitions of each repeated part of the pattern, followed by a mismatch."""
    pumped: dict[tuple[str, str], None] = {}
    for before, body in _repeated(parser.parse(pattern), ""):
        for part in (body, *body):
            pumped[before, part] = None
            pumped["", part] = None
    texts = [
        before + part * (TEXT_CHARACTERS // len(part)) + tail for before, part in pumped if part for tail in _TAILS
    ]
    return list(dict.fromkeys(texts))[:_MAX_TEXTS]


def _repeated(tokens: Any, before: str) -> Iterator[tuple[str, str]]:
    """Yield the repeated part of each repeat, at any depth, with the tokens before it."""
    for operation, argument in tokens:
        for part in _parts(operation, argument):
            if operation in _REPEATS:
                yield before, _text_of(part)
            yield from _repeated(part, before)
        before += _text_of([(operation, argument)])


def _parts(operation: Any, argument: Any) -> list[Any]:
    if operation in _REPEATS:
        return [argument[2]]
    if operation is constants.SUBPATTERN:
        return [argument[3]]
    if operation is constants.BRANCH:
        return list(argument[1])
    if operation is constants.ATOMIC_GROUP:
        return [argument]
    if operation in {constants.ASSERT, constants.ASSERT_NOT}:
        return [argument[1]]
    return []


def _text_of(tokens: Any) -> str:
    """Return a short text that approximately matches the tokens."""
    return "".join(_text_of_one(operation, argument) for operation, argument in tokens)[:TEXT_CHARACTERS]


def _text_of_one(operation: Any, argument: Any) -> str:
    if operation is constants.LITERAL:
        return chr(argument)
    if operation is constants.NOT_LITERAL:
        return "b" if argument == ord("a") else "a"
    if operation is constants.ANY:
        return "a"
    if operation is constants.IN:
        return _text_of_set(argument)
    if operation in _REPEATS:
        times: int = min(max(argument[0], 1), TEXT_CHARACTERS)
        return _text_of(argument[2]) * times
    parts = _parts(operation, argument)
    return _text_of(parts[0]) if parts and operation not in {constants.ASSERT, constants.ASSERT_NOT} else ""


def _text_of_set(items: Any) -> str:
    if items[0][0] is constants.NEGATE:
        taken = [_first_of(*item) for item in items[1:]]
        return next((one for one in ("a", "1", " ", "-", "_", ".", "!") if one not in taken), "a")
    return _first_of(*items[0])


def _first_of(operation: Any, argument: Any) -> str:
    if operation is constants.CATEGORY:
        return _OF_CATEGORY.get(argument, "a")
    number: int = argument[0] if operation is constants.RANGE else argument
    return chr(number)
