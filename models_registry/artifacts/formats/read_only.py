"""Makes a loaded model unable to keep the data of requests."""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
import scipy.sparse

_BOOSTING = "sklearn.ensemble._gb"
_BOOSTING_FUNCTIONS = ("predict_stages", "predict_stage")


def make_read_only(objects: Sequence[Any]) -> None:
    """Make every array among `objects` read-only, so that a prediction cannot change later ones.

    Validate sparse matrices first: this function sorts them, which scipy would otherwise do in place on first use.
    """
    matrices = [value for value in objects if scipy.sparse.issparse(value)]
    for matrix in matrices:
        if matrix.format in {"csr", "csc"}:
            matrix.sort_indices()
    # Validation and sorting may have replaced arrays of the file.
    for value in (*objects, *(part for matrix in matrices for part in vars(matrix).values())):
        if isinstance(value, np.ndarray):
            _lock(value)
    _let_boosting_read()


def _lock(array: Any) -> None:
    """Make an array and its base arrays read-only: with a writable base it could be made writable again."""
    while isinstance(array, np.ndarray):
        array.setflags(write=False)
        array = array.base


def _let_boosting_read() -> None:
    """Let gradient boosting predict with a read-only table of trees.

    Its compiled functions require a writable table, although they only read it. So each call gets a copy. Only
    processes that load artifacts are changed.
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
            # The compiled function writes one sum for each row and tree, without a bounds check.
            raise ValueError(
                f"Gradient boosting starts with predictions of shape {sums.shape}; expected "
                f"{(rows.shape[0], trees.shape[1])}."
            )
        return function(trees if trees.flags.writeable else trees.copy(), *arguments)

    return with_own_table
