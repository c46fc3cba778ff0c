"""Writes the list of trusted names from the installed packages, or prints the names of your own package.

    python -m tools.trusted_names
    python -m tools.trusted_names PACKAGE

The first command writes the list. Run it after every update of scikit-learn, numpy or scipy, and review the
difference: each new name must be harmless with any arguments. A test fails until the list in the repository is current.

The second command writes nothing. It prints the exact names of PACKAGE: review them, then set MODELS_TRUSTED_GLOBALS.
"""

import inspect
import io
import json
import pickle
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import joblib
import numpy as np
import scipy.sparse
import scipy.special
from joblib.numpy_pickle import NumpyUnpickler
from sklearn import feature_selection, gaussian_process, metrics, model_selection
from sklearn._loss import _loss, link, loss
from sklearn.feature_extraction import text
from sklearn.linear_model import _sgd_fast
from sklearn.metrics import _dist_metrics, _scorer, pairwise
from sklearn.model_selection import _split
from sklearn.neighbors import _ball_tree, _kd_tree
from sklearn.neural_network import _stochastic_optimizers
from sklearn.utils import all_estimators

from models_registry.artifacts.formats.trusted import JOBLIB_STAND_INS, LIST_PATH
from models_registry.artifacts.other_packages import ENCODERS
from tools.fixtures.estimators import fixtures
from tools.package_names import print_names

# Reviewed: harmless with any arguments, because they only compute on arrays. structures/callables.py says with which
# arguments each may be in a pipeline's step.
_NUMPY_FUNCTIONS = (
    "nan_to_num", "clip", "round", "around", "ravel", "squeeze", "mean", "median", "sum", "std", "cumsum", "diff",
    "asarray", "array", "atleast_2d", "ascontiguousarray", "copy", "real", "imag", "fix", "sinc", "i0",
    "angle", "unwrap", "digitize", "interp", "isin", "isclose", "fliplr", "flip", "roll", "sort",
    "argsort", "ones_like", "zeros_like", "var", "min", "max", "amin", "amax", "prod", "cumprod", "ptp",
    "any", "all", "argmin", "argmax", "count_nonzero", "average", "percentile", "quantile", "nanmean", "nanmedian",
    "nansum", "nanstd", "nanvar", "nanmin", "nanmax", "nanprod", "nancumsum", "nancumprod", "nanpercentile",
    "nanquantile", "nanargmin", "nanargmax", "linalg.norm",
)  # fmt: skip
# Types as parameters: of columns (make_column_selector), of missing values. A file cannot create instances of them.
_NUMPY_TYPES = ("number", "integer", "signedinteger", "unsignedinteger", "inexact", "floating", "complexfloating",
                "generic", "character", "flexible", "bool")  # fmt: skip
_PANDAS_TYPES = ("NA", "NaT", "Index", "RangeIndex", "CategoricalDtype", "BooleanDtype", "DatetimeTZDtype",
                 "arrays.StringArray", "Float32Dtype", "Float64Dtype",
                 *(f"{sign}Int{bits}Dtype" for sign in ("", "U") for bits in (8, 16, 32, 64)))  # fmt: skip
_BUILTINS = ("int", "float", "str", "bool", "complex", "bytes", "object", "list", "dict", "tuple", "len", "abs")
_PLAIN_CONSTRUCTED = ("builtins.slice", "builtins.set", "builtins.frozenset", "builtins.complex", "builtins.bytearray",
                      "builtins.range", "collections.OrderedDict", "collections.defaultdict",
                      "functools.partial")  # fmt: skip
# Names in arrays of objects, which the recorder does not read. `_codecs.encode` stands for bytes in pickle protocol 2.
# `numpy.core` is in files of numpy before 2.0, and numpy still supports it.
_REBUILDERS = (
    "_codecs.encode",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.numeric._frombuffer",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.core.numeric._frombuffer",
)
_SCORES = ("_score", "_loss", "_error", "_deviance", "_corrcoef", "_auc", "auc", "_variance", "_likelihood_ratios")
# These execute text from their own state (scipy's distributions build argument parsers with exec), open files, or start
# processes. They are never on the list, even if a fixture has them.
_NEVER = (
    "scipy.stats.", "joblib.", "pyarrow.", "sklearn.datasets.", "sklearn.utils._testing", "sklearn.externals",
    "numpy.load", "numpy.memmap", "numpy.f2py", "numpy.testing", "builtins.eval", "builtins.exec", "builtins.getattr",
    "builtins.open", "builtins.__import__", "operator.", "os.", "sys.", "subprocess.",
)  # fmt: skip


class _Recorder(NumpyUnpickler):  # type: ignore[misc]
    """joblib's unpickler, which records each name that it finds, and each that it calls.

    It reads only files that this program has written, so it may run them.
    """

    dispatch = dict(NumpyUnpickler.dispatch)

    def __init__(self, stream: io.BytesIO, names: set[str], run: set[str]) -> None:
        super().__init__("", stream, True)
        self._seen_names = names
        self._run = run
        self._by_id: dict[int, str] = {}

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        self._seen_names.add(f"{module}.{name}")
        self._by_id[id(found)] = f"{module}.{name}"
        return found

    def _note(self, depth: int) -> None:
        self._run.add(self._by_id[id(self.stack[-depth])])

    def load_reduce(self) -> None:
        self._note(2)
        super().load_reduce()

    def load_newobj(self) -> None:
        self._note(2)
        super().load_newobj()

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_newobj


def _recorded() -> tuple[set[str], set[str]]:
    names: set[str] = set()
    run: set[str] = set()
    for fixture in fixtures():
        stream = io.BytesIO()
        joblib.dump(fixture.estimator, stream)
        stream.seek(0)
        _Recorder(stream, names, run).load()
    return names, run


def _classes(module: Any, base: type = object, *, defined_here: bool = True) -> Iterator[type]:
    for value in vars(module).values():
        if inspect.isclass(value) and issubclass(value, base):
            if defined_here and value.__module__ not in {module.__name__, module.__name__.rpartition(".")[2]}:
                continue
            yield value


def _family_classes() -> Iterator[type]:
    yield from (cls for _, cls in all_estimators())
    yield from _classes(gaussian_process.kernels)
    for module in (loss, link, _loss, _sgd_fast, _stochastic_optimizers, _dist_metrics):
        yield from _classes(module)
    yield from (_kd_tree.KDTree, _kd_tree.KDTree32, _kd_tree.KDTree64)
    yield from (_ball_tree.BallTree, _ball_tree.BallTree32, _ball_tree.BallTree64)
    yield from _classes(_split, model_selection.BaseCrossValidator)
    yield from (_split.TimeSeriesSplit, _split.ShuffleSplit, _split.StratifiedShuffleSplit, _split.GroupShuffleSplit)
    yield from (_split.RepeatedKFold, _split.RepeatedStratifiedKFold)
    yield from _classes(scipy.sparse, scipy.sparse.spmatrix, defined_here=False)
    yield from _classes(scipy.sparse, scipy.sparse.sparray, defined_here=False)
    yield from _classes(np.random, np.random.BitGenerator, defined_here=False)


def _family_functions() -> Iterator[Any]:
    for name in metrics.get_scorer_names():
        score = metrics.get_scorer(name)
        if isinstance(score, _scorer._Scorer):
            yield score._score_func
    # Only the scoring functions of sklearn.metrics; others plot or read files.
    for name, function in vars(metrics).items():
        if inspect.isfunction(function) and name.endswith(_SCORES):
            yield function
    for name in ("chi2", "f_classif", "f_oneway", "f_regression", "r_regression", "mutual_info_classif",
                 "mutual_info_regression"):  # fmt: skip
        yield getattr(feature_selection, name)
    yield from pairwise.PAIRWISE_KERNEL_FUNCTIONS.values()
    yield from pairwise.PAIRWISE_DISTANCE_FUNCTIONS.values()
    yield from (text.strip_accents_ascii, text.strip_accents_unicode, text.strip_tags)


def _ufuncs() -> Iterator[str]:
    for module, public in ((np, "numpy"), (scipy.special, None)):
        for value in vars(module).values():
            if isinstance(value, np.ufunc):
                # pickle writes the module in which it finds the function; for scipy that is a private module.
                yield f"{public or pickle.whichmodule(value, value.__name__)}.{value.__name__}"  # type: ignore[attr-defined]


def _full_names(objects: Iterable[Any]) -> Iterator[str]:
    for value in objects:
        if value is not None and value.__name__ != "<lambda>":
            yield f"{value.__module__}.{value.__qualname__}"


def _scalar_types() -> Iterator[str]:
    for value in set(np.sctypeDict.values()):
        # Other libraries register their own types here when they are imported.
        if value.__module__ == "numpy":
            yield f"numpy.{value.__name__}"


def _is_function(name: str) -> bool:
    module, _, last = name.rpartition(".")
    return not inspect.isclass(getattr(__import__(module, fromlist=[last]), last))


def _allowed(name: str) -> bool:
    return not name.startswith(_NEVER) and name not in JOBLIB_STAND_INS


def trusted_lists() -> dict[str, list[str]]:
    """Return the three lists `constructed`, `called` and `named` (see `formats.trusted`), each sorted."""
    names, run = _recorded()
    called = {name for name in run if _is_function(name)} | set(_REBUILDERS)
    constructed = (run - called) | set(_full_names(_family_classes())) | set(_PLAIN_CONSTRUCTED) | set(ENCODERS)
    named = names - called - constructed
    named |= set(_full_names(_family_functions())) | set(_ufuncs()) | set(_scalar_types())
    named |= {f"numpy.{name}" for name in _NUMPY_FUNCTIONS} | {f"builtins.{name}" for name in _BUILTINS}
    named |= {"numpy.ndarray", "numpy.matrix"} | {f"numpy.{name}" for name in _NUMPY_TYPES}
    named |= {f"pandas.{name}" for name in _PANDAS_TYPES}
    lists = {"constructed": constructed, "called": called, "named": named - constructed - called}
    return {kind: sorted(filter(_allowed, found)) for kind, found in lists.items()}


def rendered() -> str:
    """Return the content of the file with the lists."""
    with warnings.catch_warnings():
        # The search for a function's module also imports deprecated modules of numpy.
        warnings.simplefilter("ignore", DeprecationWarning)
        lists = trusted_lists()
    return json.dumps(lists, indent=1) + "\n"


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(print_names(sys.argv[1]))
    LIST_PATH.write_text(rendered())
