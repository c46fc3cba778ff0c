"""Pandas values in a file: an index with column names, a string array with categories. Built only from plain arrays."""

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from models_registry.artifacts.formats.arrow_strings import Texts
from models_registry.errors import UntrustedArtifact

MAX_RANGE = 10_000_000
_INDEX_FIELDS = frozenset({"data", "name", "start", "stop", "step"})
_STRING_STATE_LENGTHS = {2, 3}
_ARROW_STATE = frozenset({"_pa_array", "_dtype"})
_STORAGES = frozenset({"python", "pyarrow"})


def _refuse(what: str) -> NoReturn:
    raise UntrustedArtifact(
        f"The artifact {what}. No ordinary file does. Publish it again from its training script, with plain lists "
        "instead of pandas objects (columns.tolist())."
    )


def is_string_array(target: Any) -> bool:
    """Return whether the object is a pandas StringArray, without an import of pandas."""
    return type(target).__name__ == "StringArray" and type(target).__module__.startswith("pandas.")


def index_rule(arguments: tuple[Any, ...]) -> None:
    """Refuse a pandas index unless it is built from a plain array or a bounded range."""
    import pandas as pd

    if len(arguments) != 2 or arguments[0] not in {pd.Index, pd.RangeIndex} or type(arguments[1]) is not dict:
        _refuse("rebuilds a pandas index in an unusual way")
    cls, fields = arguments
    if not fields.keys() <= _INDEX_FIELDS or not isinstance(fields.get("name"), str | int | None):
        _refuse("rebuilds a pandas index in an unusual way")
    if cls is pd.RangeIndex:
        bounds = [fields.get(name) for name in ("start", "stop", "step")]
        if not all(type(bound) is int and abs(bound) <= MAX_RANGE for bound in bounds) or "data" in fields:
            _refuse("holds a pandas range without plain bounds")
    elif type(fields.get("data")) is not np.ndarray and not is_string_array(fields.get("data")):
        _refuse("holds a pandas index that is not a plain array")


def new_string_array(cls: Any, checksum: Any, state: Any) -> Any:
    """Return an empty string array, whose state the file then sets.

    pandas' own function returns one without allocated memory, which compiled code would read.
    """
    import pandas as pd

    if cls is not pd.arrays.StringArray or state is not None:
        _refuse("rebuilds a pandas array in an unusual way")
    return pd.array([], dtype=pd.StringDtype("python"))


class ArrowStringArray:
    """Replaces pandas' Arrow-backed string array by one of Python strings."""

    def __new__(cls) -> Any:
        """Return an empty string array, whose state the file then sets."""
        import pandas as pd

        return pd.array([], dtype=pd.StringDtype("python"))


def python_string_state(state: dict[str, Any]) -> Any:
    """Return the state of an ArrowStringArray as the state of an equal StringArray.

    The stored state has the array under `_pa_array`, the dtype under `_dtype`, and an empty cache.
    """
    import pandas as pd

    held, dtype = state.get("_pa_array"), state.get("_dtype")
    others = {name: value for name, value in state.items() if name not in _ARROW_STATE}
    if type(held) is not Texts or type(dtype) is not pd.StringDtype:
        _refuse("holds a pandas array of values that are not strings")
    if any(value not in ({}, True, False) for value in others.values()) or not others.keys() <= {"_cache", "_readonly"}:
        _refuse("holds a pandas array with a malformed state")
    plain = pd.array(np.array(held, dtype=object), dtype=pd.StringDtype("python", na_value=dtype.na_value))
    return plain.__reduce__()[2]


def string_type(_storage: Any, *missing: Any) -> Any:
    """Return the dtype of Python strings, even for Arrow-backed strings, as this server lacks pyarrow."""
    import pandas as pd

    return pd.StringDtype("python", *missing)


def string_type_rule(arguments: tuple[Any, ...]) -> None:
    """Refuse a string dtype with an unknown storage."""
    import pandas as pd

    storage, *missing = arguments or (None,)
    if storage not in _STORAGES or len(missing) > 1 or not all(pd.isna(value) for value in missing):
        _refuse("holds a pandas type for strings that are stored in an unusual way")


def checked_string_state(state: Any) -> None:
    """Refuse the state of a StringArray unless it is a dtype and a flat array of strings and missing values."""
    import pandas as pd

    plain = type(state) is tuple and len(state) in _STRING_STATE_LENGTHS
    # pandas may also store whether the array is writable.
    if not plain or any(part not in ({}, {"_readonly": True}, {"_readonly": False}) for part in state[2:]):
        _refuse("holds a pandas array with a malformed state")
    data = next((part for part in state[:2] if type(part) is np.ndarray), None)
    types = [part for part in state[:2] if type(part) is pd.StringDtype]
    if data is None or [dtype.storage for dtype in types] != ["python"] or data.dtype != object or data.ndim != 1:
        _refuse("holds a pandas array of values that are not strings")
    if not all(isinstance(value, str) or pd.isna(value) for value in data):
        _refuse("holds a pandas array of values that are not strings")


RULES: dict[str, Callable[[tuple[Any, ...]], None]] = {
    "pandas.core.indexes.base._new_Index": index_rule,
    "pandas.StringDtype": string_type_rule,
}
