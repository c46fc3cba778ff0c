"""Takes from a loaded model the means to keep what a caller sends."""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
import scipy.sparse

_BOOSTING = "sklearn.ensemble._gb"
_BOOSTING_FUNCTIONS = ("predict_stages", "predict_stage")


def make_read_only(objects: Sequence[Any]) -> None:
    """Make every array among `objects` read-only, so that no prediction changes the next one's answer.

    The structure of sparse matrices must be validated before: they are sorted, which scipy would otherwise do in
    place at their first use.
    """
    matrices = [value for value in objects if scipy.sparse.issparse(value)]
    for matrix in matrices:
        if matrix.format in {"csr", "csc"}:
            matrix.sort_indices()
    # Validating and sorting may have put other arrays in place of those that the file brought.
    for value in (*objects, *(part for matrix in matrices for part in vars(matrix).values())):
        if isinstance(value, np.ndarray):
            _lock(value)
    _let_boosting_read()


def _lock(array: Any) -> None:
    """Lock an array and the arrays that it looks into: it could be unlocked as long as one of those is not."""
    while isinstance(array, np.ndarray):
        array.setflags(write=False)
        array = array.base


def _let_boosting_read() -> None:
    """Let gradient boosting predict with a read-only table of trees.

    Its compiled functions ask for a writable table though they only read it, so they get a copy of it in each call.
    Other processes than those that load artifacts are not changed.
    """
    boosting = sys.modules.get(_BOOSTING)
    if boosting is None:
        return
    for name in _BOOSTING_FUNCTIONS:
        function = getattr(boosting, name)
        if not hasattr(function, "__wrapped__"):
            setattr(boosting, name, _with_own_table(function))


def _with_own_table(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def with_own_table(trees: Any, *arguments: Any) -> Any:
        *_, rows, _, sums = arguments
        if sums.shape != (rows.shape[0], trees.shape[1]):
            # The compiled function adds to one sum for each row and tree, whatever room there is.
            raise ValueError(
                f"Gradient boosting starts with predictions of shape {sums.shape}; expected "
                f"{(rows.shape[0], trees.shape[1])}."
            )
        return function(trees if trees.flags.writeable else trees.copy(), *arguments)

    return with_own_table
