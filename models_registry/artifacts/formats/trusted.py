"""The exact names that an artifact may mention, and the permitted use of each.

`trusted_globals.json` is written by `tools.trusted_names` from the installed scikit-learn. It has three
lists, because most names need never run while an artifact is loaded:

constructed   classes of which an artifact may hold instances
called        functions that rebuild an object while it is loaded
named         functions and types that an artifact may mention, such as `numpy.log1p` in a FunctionTransformer

No name on the lists may do harm, whatever its arguments: a crafted estimator can call it during a prediction.
Prefixes such as `sklearn.` are no protection, hence exact names.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models_registry.artifacts.formats import arrow_strings

LIST_PATH = Path(__file__).with_name("trusted_globals.json")

# Creates an instance of a class argument, in pickle protocols 0 and 1.
RECONSTRUCTOR = "copyreg._reconstructor"
# joblib's files name these; the loader replaces them, so they never run.
JOBLIB_STAND_INS = frozenset(
    {"joblib.numpy_pickle.NumpyArrayWrapper", "numpy.memmap", "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked",
     "pandas.arrays.ArrowStringArray", *arrow_strings.STAND_INS, RECONSTRUCTOR}
)  # fmt: skip
# Methods that ordinary estimators store as bound methods, which pickle writes as a call of `getattr`.
_BOOSTING = "sklearn.ensemble._hist_gradient_boosting.gradient_boosting"
BOUND_METHODS = frozenset(
    {
        f"{_BOOSTING}.HistGradientBoostingClassifier._raw_predict",
        f"{_BOOSTING}.HistGradientBoostingRegressor._raw_predict",
    }
)


@dataclass(frozen=True, slots=True)
class TrustedGlobals:
    """Names by permission; each as `module.name`."""

    constructed: frozenset[str]
    called: frozenset[str]
    named: frozenset[str]

    @property
    def runnable(self) -> frozenset[str]:
        """The names that may be called or instantiated while an artifact is loaded."""
        return self.constructed | self.called

    @property
    def all(self) -> frozenset[str]:
        """Every name that may be mentioned."""
        return self.constructed | self.called | self.named

    def with_additions(self, names: frozenset[str]) -> "TrustedGlobals":
        """Return the lists plus an operator's own exact names, which get all permissions."""
        if not names:
            return self
        return TrustedGlobals(self.constructed | names, self.called | names, self.named | names)


def malformed_names(names: Iterable[str]) -> list[str]:
    """Return those of an operator's names that are not exact names such as `package.module.Name`."""
    return sorted(name for name in names if "." not in name or not all(map(str.isidentifier, name.split("."))))


@cache
def builtin_trust() -> TrustedGlobals:
    """Return the service's own lists."""
    lists = json.loads(LIST_PATH.read_text())
    return TrustedGlobals(
        constructed=frozenset(lists["constructed"]),
        called=frozenset(lists["called"]),
        named=frozenset(lists["named"]),
    )
