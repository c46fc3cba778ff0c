"""Visits every object inside an estimator."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse

from models_registry.errors import UnsafeStructure

MAX_OBJECTS = 5_000_000
_PLAIN = frozenset({str, bytes, int, float, bool, complex, type(None), type, range, slice})


_DEFINITIONS = frozenset(
    {"function", "builtin_function_or_method", "module", "method", "cython_function_or_method", "ufunc",
     "method_descriptor", "wrapper_descriptor", "_ArrayFunctionDispatcher", "NAType"}
)  # fmt: skip


def is_definition(value: Any) -> bool:
    """Return whether the object is shared in the process: a class, a function, a module, pandas.NA."""
    return isinstance(value, type) or type(value).__name__ in _DEFINITIONS


def walk(root: Any) -> Iterator[Any]:
    """Yield `root` and every object inside it once, without recursion: a crafted depth must not exhaust the stack.

    Plain values, numbers and the contents of numeric arrays are omitted.
    """
    waiting = [root]
    seen = {id(root)}
    while waiting:
        if len(seen) > MAX_OBJECTS:
            raise UnsafeStructure(
                f"The artifact holds more than {MAX_OBJECTS} objects. Publish a smaller model, or publish it as ONNX."
            )
        current = waiting.pop()
        yield current
        for child in _children(current):
            if type(child) not in _PLAIN and id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)


def _children(value: Any) -> Iterator[Any]:
    if is_definition(value):
        yield getattr(value, "__self__", None)
        return
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif isinstance(value, np.ndarray):
        if value.dtype == object:
            yield from value.flat
    elif not scipy.sparse.issparse(value) and not isinstance(value, np.generic):
        yield from _slots(value)
    yield from list(getattr(value, "__dict__", {}).values())
    if hasattr(value, "func") and hasattr(value, "keywords"):
        yield from (value.func, value.args, value.keywords)


def _slots(value: Any) -> Iterator[Any]:
    for cls in type(value).__mro__:
        names = cls.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if hasattr(value, name):
                yield getattr(value, name)
