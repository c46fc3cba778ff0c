"""Functions that an estimator holds and calls during a prediction.

The list of trusted names limits the names in a file. With wrong arguments, some of those functions write into an
array, return uninitialized memory, or mix a call's rows. So the attribute that holds a function, and its
arguments, are checked as well.
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from types import MethodType
from typing import Any

import numpy as np

from models_registry.artifacts.object_graph import is_definition
from models_registry.errors import UnsafeStructure

# The registry's own classes, which compute like an older scikit-learn.
_LIBRARIES = ("sklearn", "numpy", "scipy", "models_registry")
_LIMITED = frozenset({*_LIBRARIES, "builtins"})
_NOTHING: frozenset[str] = frozenset()
# A ufunc's `out` and `where` write into a given array, or leave memory uninitialized.
_UFUNC_KEYWORDS = frozenset({"dtype", "casting", "order"})
_REDUCTION_KEYWORDS = frozenset(
    {"axis", "keepdims", "dtype", "ddof", "n", "q", "method", "shift", "ord", "kind", "weights", "discont", "period"}
)
_ROW_AXES = (1, -1)
# Functions of one array that treat each row separately, with the keywords that keep this property.
_ROW_WISE: dict[str, frozenset[str]] = {
    "numpy.nan_to_num": frozenset({"nan", "posinf", "neginf"}),
    "numpy.clip": frozenset({"a_min", "a_max", "min", "max"}),
    "numpy.round": frozenset({"decimals"}),
    "numpy.around": frozenset({"decimals"}),
    "numpy.asarray": frozenset({"dtype", "order"}),
    "numpy.array": frozenset({"dtype", "order"}),
    "numpy.atleast_2d": frozenset(),
    "numpy.ascontiguousarray": frozenset({"dtype"}),
    "numpy.copy": frozenset({"order"}),
    "numpy.ones_like": frozenset({"dtype", "order"}),
    "numpy.zeros_like": frozenset({"dtype", "order"}),
    **dict.fromkeys(("numpy.real", "numpy.imag", "numpy.fix", "numpy.sinc", "numpy.i0", "numpy.fliplr"), frozenset()),
    "numpy.angle": frozenset({"deg"}),
    "numpy.digitize": frozenset({"bins", "right"}),
    "numpy.interp": frozenset({"xp", "fp", "left", "right", "period"}),
    "numpy.isin": frozenset({"test_elements", "assume_unique", "invert"}),
    "numpy.isclose": frozenset({"b", "rtol", "atol", "equal_nan"}),
    "numpy.ravel": frozenset({"order"}),
    "numpy.squeeze": frozenset({"axis"}),
    "sklearn.utils.validation.check_array": frozenset(
        {"dtype", "order", "accept_sparse", "accept_large_sparse", "ensure_all_finite", "force_all_finite",
         "ensure_2d", "allow_nd", "ensure_non_negative", "ensure_min_samples", "ensure_min_features", "input_name"}
    ),
    "scipy.sparse._csr.csr_matrix": frozenset({"dtype"}),
    "scipy.sparse._csr.csr_array": frozenset({"dtype"}),
    "scipy.sparse._csc.csc_matrix": frozenset({"dtype"}),
    "scipy.sparse._csc.csc_array": frozenset({"dtype"}),
    "builtins.abs": frozenset(),
    "builtins.list": frozenset(),
}  # fmt: skip
_NAN_TOO = (
    "mean", "median", "sum", "std", "var", "min", "max", "prod", "cumsum", "cumprod", "percentile", "quantile",
    "argmin", "argmax",
)  # fmt: skip
_REDUCTIONS = frozenset(
    {f"numpy.{prefix}{name}" for prefix in ("", "nan") for name in _NAN_TOO}
    | {f"numpy.{name}" for name in ("diff", "amin", "amax", "ptp", "any", "all", "count_nonzero", "average", "flip",
                                    "roll", "sort", "argsort", "unwrap")}
    | {"numpy.linalg.norm"}
)  # fmt: skip
# Reductions that work along each row if their axis is set.
_ALONG_ROWS_BY_DEFAULT = frozenset({"numpy.diff", "numpy.sort", "numpy.argsort", "numpy.unwrap"})
_OF_TEXTS = frozenset(
    {"builtins.str", "builtins.list", "builtins.tuple", "builtins.dict", "builtins.set", "builtins.frozenset"}
    | {f"sklearn.feature_extraction.text.{name}" for name in ("strip_accents_ascii", "strip_accents_unicode",
                                                              "strip_tags")}
)  # fmt: skip
_TEXT_PLACES = frozenset({"preprocessor", "tokenizer", "analyzer"})
_ROW_PLACES = frozenset({"func", "inverse_func", "weights"})
_KEYWORDS_OF = {"func": "kw_args", "inverse_func": "inv_kw_args"}
# Functions of two arrays: in the place of a function of one, the second argument would be `out`.
_PAIR_PLACES = frozenset({"metric", "effective_metric_", "kernel", "affinity"})
_PAIR_KEYWORDS = frozenset({"metric_params", "effective_metric_params_", "kernel_params", "pairwise_kernels_kwargs"})
_FORBIDDEN_KEYWORDS = frozenset({"out", "where", "copy", "overwrite_input", "X_norm_squared", "Y_norm_squared"})
# The estimator sets their axis, or calls them only in fit; splines have their own check.
_AXIS_COMES_LATER = frozenset({"pooling_func", "strategy", "_asarray"})
_CLASS_PLACES = frozenset({"dtype", "_baseclass", "cv"})


def refuse(name: str, how: str) -> UnsafeStructure:
    """Return the error for a function that could do harm in its place."""
    return UnsafeStructure(
        f"The artifact calls {name} {how} during a prediction. The call could write into the model's arrays, return "
        "uninitialized memory, or mix the rows of several requests. Use a function of each single row, without "
        "`out` and `where`, train the model again and publish it."
    )


def check_object(value: Any, vouched: frozenset[str] = _NOTHING) -> None:
    """Refuse an object with a function, or a function's arguments, that could do harm in a prediction.

    `vouched` are exact names that the operator has reviewed and allows with any arguments.
    """
    if isinstance(value, partial):
        _check_call(value.func, value.args, value.keywords, vouched)
        return
    if is_definition(value) or not is_of_a_library(type(value)):
        return
    for name, content in getattr(value, "__dict__", {}).items():
        _check_attribute(value, name, content, vouched)


def check_measure(function: Any, keywords: Mapping[str, Any], vouched: frozenset[str] = _NOTHING) -> None:
    """Refuse a distance or kernel that is not a named function of two arrays; each call passes `keywords`."""
    if isinstance(function, partial):
        check_measure(function.func, function.keywords, vouched)
        if function.args:
            raise refuse(_name_of(function.func), "as a distance with arguments of its own")
    elif callable(function) and _is_limited(function, vouched) and not _name_of(function).startswith("sklearn."):
        raise refuse(_name_of(function), "as a distance or kernel")
    _check_pair_keywords(keywords)


def _check_attribute(owner: Any, name: str, content: Any, vouched: frozenset[str]) -> None:
    inherited = getattr(type(owner), name, None)
    if callable(inherited) and not (isinstance(inherited, type) or _is_own_method(owner, name, content)):
        raise UnsafeStructure(
            f"The artifact puts {name} in the place of the method of a {type(owner).__name__}. It is crafted; do not "
            "publish it."
        )
    if isinstance(content, defaultdict) and content.default_factory is not None:
        raise UnsafeStructure(
            f"The artifact's {type(owner).__name__} has {name} as a dictionary that grows with every unknown key. So "
            "it would store data of requests. Publish it again with a plain dictionary."
        )
    if name in _PAIR_KEYWORDS and isinstance(content, Mapping):
        _check_pair_keywords(content)
    if callable(content):
        _check_place(owner, name, content, vouched)


def _is_own_method(owner: Any, name: str, content: Any) -> bool:
    return isinstance(content, MethodType) and content.__self__ is owner and content.__name__ == name


def _check_place(owner: Any, name: str, content: Any, vouched: frozenset[str]) -> None:
    if name in _PAIR_PLACES:
        check_measure(content, {}, vouched)
    elif name in _ROW_PLACES:
        keywords = getattr(owner, _KEYWORDS_OF.get(name, ""), None) or {}
        if isinstance(content, partial):
            content, keywords = content.func, {**content.keywords, **keywords}
        _check_row_function(content, keywords, vouched)
    elif name in _TEXT_PLACES:
        if _is_limited(content, vouched) and _name_of(content) not in _OF_TEXTS:
            raise refuse(_name_of(content), f"as the {name} of a {type(owner).__name__}")
    elif isinstance(content, type):
        if name not in _CLASS_PLACES and _is_limited(content, vouched) and not issubclass(content, np.generic):
            raise refuse(_name_of(content), f"as {name} of a {type(owner).__name__}")
    elif _name_of(content).startswith("numpy.") and _is_limited(content, vouched) and name not in _AXIS_COMES_LATER:
        raise refuse(_name_of(content), f"as {name} of a {type(owner).__name__}")


def _check_row_function(function: Any, keywords: Mapping[str, Any], vouched: frozenset[str]) -> None:
    """Refuse anything but a function of each row, called with the rows and `keywords`."""
    name = _name_of(function)
    if not isinstance(function, np.ufunc) and _is_limited(function, vouched) and not _is_row_wise(function):
        raise refuse(name, "on rows")
    if not hasattr(function, "__name__") and is_of_a_library(type(function)):
        raise refuse(f"a {type(function).__name__}", "on rows")
    _check_call(function, (), keywords, vouched)
    if name in vouched:
        return
    if name in _REDUCTIONS and name not in _ALONG_ROWS_BY_DEFAULT and "axis" not in keywords:
        raise refuse(name, "over all rows (without axis=1)")


def _is_row_wise(function: Any) -> bool:
    if isinstance(function, type) and issubclass(function, np.number | np.bool_):
        return True
    return _name_of(function) in _ROW_WISE.keys() | _REDUCTIONS


def _check_call(
    function: Any, arguments: tuple[Any, ...], keywords: Mapping[str, Any], vouched: frozenset[str]
) -> None:
    """Refuse bound arguments of a library function that could do harm."""
    if not _is_limited(function, vouched):
        return
    name = _name_of(function)
    if isinstance(function, np.ufunc):
        _check_ufunc(function, arguments, keywords)
        return
    if isinstance(function, type) and not _is_row_wise(function):
        raise refuse(name, "as a function")
    if not name.startswith("numpy.") and name not in _ROW_WISE:
        _check_pair_keywords(keywords)
        return
    if arguments:
        raise refuse(name, "with bound arrays")
    known = _REDUCTION_KEYWORDS if name in _REDUCTIONS else _ROW_WISE.get(name, frozenset())
    strange = sorted(keywords.keys() - known - ({"copy"} if keywords.get("copy") is True else set()))
    if strange:
        raise refuse(name, f"with {strange[0]}")
    # Several percentiles become rows of the result, and rows of an argument are not rows of a request.
    many = next((key for key, value in keywords.items() if np.ndim(value) > 1 or (key == "q" and np.ndim(value))), None)
    if many is not None:
        raise refuse(name, f"with an array of several rows for {many}")
    axis = keywords.get("axis", _ROW_AXES[0])
    if type(axis) is not int or axis not in _ROW_AXES:
        raise refuse(name, f"along axis {axis!r}")


def _check_ufunc(function: np.ufunc, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
    name = _name_of(function)
    if function.signature is not None:
        raise refuse(name, "on whole arrays")
    strange = sorted(keywords.keys() - _UFUNC_KEYWORDS)
    if strange:
        raise refuse(name, f"with {strange[0]}")
    if len(arguments) >= function.nin:
        raise refuse(name, "with an array for its output")
    if any(np.ndim(one) > 1 and np.shape(one)[0] != 1 for one in arguments):
        raise refuse(name, "with an array of several rows")


def _check_pair_keywords(keywords: Mapping[str, Any]) -> None:
    strange = sorted(set(map(str, keywords)) & _FORBIDDEN_KEYWORDS)
    if strange and not (strange == ["copy"] and keywords["copy"] is True):
        raise refuse("a function", f"with {strange[0]}")


def is_of_a_library(cls: type) -> bool:
    """Return whether a class is part of scikit-learn, numpy or scipy."""
    return cls.__module__.partition(".")[0] in _LIBRARIES


def _is_limited(function: Any, vouched: frozenset[str]) -> bool:
    """Return whether a function is part of the libraries, and not one that the operator vouches for."""
    name = _name_of(function)
    is_theirs = isinstance(function, np.ufunc) or name.partition(".")[0] in _LIMITED
    return is_theirs and name not in vouched


def _name_of(function: Any) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module}.{name}"
