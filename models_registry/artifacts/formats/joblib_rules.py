"""Checks of the arguments of functions that a joblib file may call, and the errors for refused files."""

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from models_registry.artifacts.formats import arrays, pandas_values
from models_registry.artifacts.formats.advice import advice
from models_registry.artifacts.formats.trusted import BOUND_METHODS
from models_registry.errors import UntrustedArtifact


def refuse(what: str) -> NoReturn:
    raise UntrustedArtifact(
        f"The artifact {what}. No ordinary file does. Publish it again from its training script, better as ONNX or "
        "skops."
    )


def untrusted_name(name: str) -> UntrustedArtifact:
    """Return the error for a name that is not on the list."""
    return UntrustedArtifact(
        f"The artifact uses {name}, which is not on the list of trusted names. No part of the artifact was run. "
        f"{advice((name,))}"
    )


def refuse_dunder_keys(state: Any) -> None:
    parts = state if isinstance(state, tuple) else (state,)
    for part in parts:
        if isinstance(part, dict):
            for key in part:
                if isinstance(key, str) and key.startswith("__"):
                    refuse(f"sets {key}, a name that belongs to Python itself")


def bound_method(target: Any, name: Any) -> Any:
    """Return one of the few methods that ordinary artifacts use; pickle's `getattr` would return any attribute."""
    full = f"{type(target).__module__}.{type(target).__qualname__}.{name}"
    if full not in BOUND_METHODS:
        raise untrusted_name(f"builtins.getattr ({full})")
    return getattr(target, name)


def new_instance(cls: Any, base: Any, state: Any) -> Any:
    """Return an instance of a class without a call of its constructor, for pickle protocols 0 and 1."""
    if base is not object or state is not None:
        refuse("makes an instance in an unusual way")
    return cls.__new__(cls)


def _reconstruct_rule(arguments: tuple[Any, ...]) -> None:
    subtype, shape = arguments[0], arguments[1]
    if subtype not in {np.ndarray, np.matrix, np.ma.MaskedArray} or shape != (0,):
        refuse("rebuilds an array in an unusual way")


def _masked_rule(arguments: tuple[Any, ...]) -> None:
    if arguments[0] is not np.ma.MaskedArray or arguments[1] is not np.ndarray or arguments[2] != (0,):
        refuse("rebuilds a masked array in an unusual way")


def _scalar_rule(arguments: tuple[Any, ...]) -> None:
    dtype = arguments[0]
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(arguments[1], bytes):
        refuse("rebuilds a number in an unusual way")


def _from_buffer_rule(arguments: tuple[Any, ...]) -> None:
    data, dtype = arguments[0], arguments[1]
    if not isinstance(data, bytes | bytearray) or not isinstance(dtype, np.dtype) or dtype.hasobject:
        refuse("rebuilds an array in an unusual way")


def _tree_rule(arguments: tuple[Any, ...]) -> None:
    features, classes, outputs = arguments
    plain = isinstance(features, int) and isinstance(outputs, int) and isinstance(classes, np.ndarray)
    if not plain or features < 0 or classes.ndim != 1 or not 0 < outputs == len(classes):
        refuse("rebuilds a decision tree in an unusual way")


def _encode_rule(arguments: tuple[Any, ...]) -> None:
    if len(arguments) != 2 or type(arguments[0]) is not str or arguments[1] != "latin1":
        refuse("rebuilds bytes in an unusual way")


_Rule = Callable[[tuple[Any, ...]], None]


ARGUMENT_RULES: dict[str, _Rule] = {
    "_codecs.encode": _encode_rule,
    "numpy.dtype": arrays.checked_dtype_arguments,
    "numpy._core.multiarray._reconstruct": _reconstruct_rule,
    "numpy.core.multiarray._reconstruct": _reconstruct_rule,
    "numpy._core.multiarray.scalar": _scalar_rule,
    "numpy.core.multiarray.scalar": _scalar_rule,
    "numpy._core.numeric._frombuffer": _from_buffer_rule,
    "numpy.core.numeric._frombuffer": _from_buffer_rule,
    "numpy.ma.core._mareconstruct": _masked_rule,
    "sklearn.tree._tree.Tree": _tree_rule,
    **pandas_values.RULES,
}
