"""Array sizes in a file that is inspected without execution, and errors for inconsistent files."""

import math
import re
from typing import Any

from models_registry.artifacts.object_tree import Inert

_ITEM_BYTES = re.compile(r"([biufcmMSUVO?])(\d*)")
_KIND_BYTES = {"?": 1, "b": 1, "U": 4, "O": 8}
_ITEMSIZE_IN_STATE = 5


class ContradictoryFile(Exception):
    """The file is inconsistent or unusual; the message gives the reason."""


class TruncatedFile(ContradictoryFile):
    """The file is shorter than it declares."""


class CallArguments:
    """Key under which a stand-in keeps the arguments of its class."""


class OtherState:
    """Key under which a stand-in keeps a state that is not a dictionary."""


def item_bytes(dtype: Any) -> tuple[int, bool]:
    """Return the item size of a stand-in for `numpy.dtype`, and whether items are Python objects."""
    arguments = dtype.state.get(CallArguments) if isinstance(dtype, Inert) else None
    kind = arguments[0] if isinstance(arguments, tuple) and arguments else None
    found = _ITEM_BYTES.fullmatch(kind) if isinstance(kind, str) else None
    if found is None:
        raise ContradictoryFile("It holds an array of an unknown type.")
    letter, digits = found.groups()
    size = int(digits[:12] or _KIND_BYTES.get(letter, 8)) * (4 if letter == "U" and digits else 1)
    state = dtype.state.get(OtherState)
    if isinstance(state, tuple) and len(state) > _ITEMSIZE_IN_STATE and letter in "SUV":
        given = state[_ITEMSIZE_IN_STATE]
        size = given if isinstance(given, int) and given >= 0 else size
    return size, letter == "O"


def item_count(shape: Any) -> int:
    sizes = (shape,) if isinstance(shape, int) else shape
    if not isinstance(sizes, tuple) or not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise ContradictoryFile("It holds an array whose shape is not a tuple of sizes.")
    return math.prod(sizes)


def object_items(nested: Any) -> list[Any]:
    """Return the items of an object array, which numpy pickles as a list in its state."""
    state = nested.state.get(OtherState) if isinstance(nested, Inert) else None
    items = state[-1] if isinstance(state, tuple) and state else []
    return items if isinstance(items, list) else []
