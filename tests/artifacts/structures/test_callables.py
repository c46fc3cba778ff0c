"""Functions that an estimator calls cannot store a row, return foreign memory, or mix rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.cluster import FeatureAgglomeration
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LinearRegression
from sklearn.metrics import pairwise
from sklearn.neighbors import BallTree, KernelDensity, KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, SplineTransformer
from sklearn.svm import SVC

from models_registry.artifacts.object_graph import walk
from models_registry.artifacts.structure import check_objects, validate_structure
from models_registry.errors import UnsafeStructure
from tests.artifacts.models import Doubling

X = np.random.RandomState(0).rand(60, 3)
Y = (X[:, 0] > 0.5).astype(int)
KEPT = np.zeros((1, 3))


def _on_rows(function: Any, **keywords: Any) -> Any:
    return make_pipeline(FunctionTransformer(function, kw_args=keywords or None), LinearRegression())


def _set(model: Any, **attributes: Any) -> Any:
    for name, content in attributes.items():
        setattr(model, name, content)
    return model


def _knn(**settings: Any) -> Any:
    return KNeighborsClassifier(3, algorithm="brute").fit(X, Y).set_params(**settings)


def _tree_that_calls(function: Any) -> Any:
    tree = BallTree(X, metric=_distance)
    state = list(tree.__getstate__())
    metric = state[11]
    metric.__setstate__((*metric.__getstate__()[:3], function, {}))
    tree.__setstate__(tuple(state))
    return _set(KernelDensity().fit(X), tree_=tree)


def _distance(left: Any, right: Any) -> float:
    return float(np.abs(left - right).sum())


def _words(**attributes: Any) -> Any:
    return make_pipeline(_set(CountVectorizer().fit(["a cat", "a dog"]), **attributes), LinearRegression())


def _spline(function: Any) -> Any:
    model = SplineTransformer().fit(X)
    model.bsplines_[0]._asarray = function
    return model


HARMFUL: dict[str, Callable[[], Any]] = {
    "out among the arguments of a step": lambda: _on_rows(np.positive, out=KEPT),
    "out among bound arguments": lambda: _on_rows(partial(np.positive, out=KEPT)),
    "out of a rounding": lambda: _on_rows(np.round, out=KEPT),
    "out of a sum": lambda: _on_rows(np.cumsum, axis=1, out=KEPT),
    "out of the way back": lambda: make_pipeline(
        FunctionTransformer(inverse_func=np.exp, inv_kw_args={"out": KEPT}), LinearRegression()
    ),
    "rows as the output": lambda: _on_rows(partial(np.add, KEPT, KEPT)),
    "rows as the output of one": lambda: _on_rows(partial(np.positive, KEPT)),
    "where leaves memory as it was": lambda: _on_rows(np.log, where=False),
    "where of bound arguments": lambda: _on_rows(partial(np.add, KEPT, where=np.zeros(3, dtype=bool))),
    "where of a clipping": lambda: _on_rows(np.clip, a_min=0, where=False),
    "an array made": lambda: _on_rows(np.ndarray),
    "an array made with bound arguments": lambda: _on_rows(partial(np.ndarray, dtype=np.uint8)),
    "a matrix made": lambda: _on_rows(np.matrix),
    "raw bytes made": lambda: _on_rows(np.void),
    "objects counted": lambda: _on_rows(len),
    "a text of all rows": lambda: _on_rows(str),
    "a text of all rows by numpy": lambda: _on_rows(np.str_),
    "a spline that calls a kernel": lambda: _spline(pairwise.linear_kernel),
    "a spline that adds up": lambda: _spline(np.cumsum),
    "a sparse matrix of another shape": lambda: _on_rows(csr_matrix, shape=(1, 9)),
    "replacing in place": lambda: _on_rows(np.nan_to_num, copy=False),
    "median in place": lambda: _on_rows(np.median, axis=1, overwrite_input=True),
    "sum over rows": lambda: _on_rows(np.cumsum, axis=0),
    "sum over everything": lambda: _on_rows(np.cumsum),
    "difference of rows": lambda: _on_rows(np.diff, axis=0),
    "mean over rows": lambda: _on_rows(partial(np.mean, axis=0, keepdims=True)),
    "mean over several axes": lambda: _on_rows(np.mean, axis=(0, 1)),
    "largest over rows": lambda: _on_rows(np.max, axis=0),
    "largest over everything": lambda: _on_rows(np.max),
    "largest with an output": lambda: _on_rows(np.max, axis=1, out=KEPT),
    "largest of some": lambda: _on_rows(np.max, axis=1, where=False, initial=0),
    "rows turned round": lambda: _on_rows(np.flip),
    "rows rolled": lambda: _on_rows(np.roll, shift=1),
    "rows sorted": lambda: _on_rows(np.sort, axis=0),
    "percentiles as rows": lambda: _on_rows(np.percentile, q=[10, 90], axis=1),
    "percentile over rows": lambda: _on_rows(np.nanpercentile, q=10),
    "bins of several rows": lambda: _on_rows(np.isclose, b=np.ones((2, 3))),
    "zeros of another shape": lambda: _on_rows(np.zeros_like, shape=(9, 9)),
    "bins into an output": lambda: _on_rows(np.interp, xp=[0, 1], fp=[0, 1], out=KEPT),
    "norm of everything": lambda: _on_rows(np.linalg.norm),
    "product with a matrix": lambda: _on_rows(partial(np.matmul, np.eye(2))),
    "an array of several rows": lambda: _on_rows(partial(np.add, np.ones((2, 3)))),
    "a kernel on rows": lambda: _on_rows(pairwise.linear_kernel),
    "an estimator made of rows": lambda: _on_rows(LinearRegression),
    "an instance on rows": lambda: _on_rows(RBF()),
    "a target's way back": lambda: _set(
        TransformedTargetRegressor(LinearRegression()).fit(X, X[:, 0]), inverse_func=partial(np.positive, out=KEPT)
    ),
    "weights that add up": lambda: _knn(weights=np.cumsum),
    "weights with out": lambda: _knn(weights=partial(np.positive, out=KEPT)),
    "a distance with an output": lambda: _knn(metric=np.positive),
    "a distance with foreign lengths": lambda: _knn(metric_params={"Y_norm_squared": np.zeros(1)}),
    "a distance that leaves memory": lambda: _knn(metric_params={"where": False}),
    "a kernel with an output": lambda: _set(SVC(kernel=pairwise.rbf_kernel).fit(X, Y), kernel=np.positive),
    "a distance inside a tree": lambda: _tree_that_calls(np.positive),
    "a distance bound inside a tree": lambda: _tree_that_calls(partial(np.add, X[0])),
    "pooling with out": lambda: _set(FeatureAgglomeration(2).fit(X), pooling_func=partial(np.mean, out=KEPT)),
    "words read as arrays": lambda: _words(preprocessor=np.ravel),
    "words that are learnt": lambda: _words(vocabulary_=defaultdict(int, {"cat": 0, "dog": 1})),
    "a method replaced by a function": lambda: _set(
        RandomForestClassifier(2).fit(X, Y), _validate_X_predict=np.positive
    ),
    "a method replaced by a value": lambda: _set(LinearRegression().fit(X, Y), predict=1),
}  # fmt: skip


@pytest.mark.parametrize("key", HARMFUL)
def test_harmful_function_is_refused(key: str) -> None:
    with pytest.raises(UnsafeStructure):
        validate_structure(HARMFUL[key]())


HONEST: dict[str, Callable[[], Any]] = {
    "logarithm": lambda: _on_rows(np.log1p),
    "logistic function": lambda: _on_rows(expit),
    "bound base": lambda: _on_rows(partial(np.power, 2.0)),
    "bound offsets": lambda: _on_rows(partial(np.add, np.ones(3))),
    "clipping": lambda: _on_rows(np.clip, a_min=0, a_max=1),
    "rounding": lambda: _on_rows(np.round, decimals=2),
    "replacing": lambda: _on_rows(np.nan_to_num, nan=-1.0),
    "mean of each row": lambda: _on_rows(np.mean, axis=1, keepdims=True),
    "differences in each row": lambda: _on_rows(np.diff),
    "largest of each row": lambda: _on_rows(np.max, axis=1, keepdims=True),
    "largest number of each row": lambda: _on_rows(np.nanmax, axis=-1, keepdims=True),
    "middle of each row": lambda: _on_rows(np.percentile, q=50, axis=1, keepdims=True),
    "length of each row": lambda: _on_rows(np.linalg.norm, axis=1, keepdims=True),
    "each row sorted": lambda: _on_rows(np.sort),
    "each row rolled": lambda: _on_rows(np.roll, shift=1, axis=1),
    "bins": lambda: _on_rows(np.digitize, bins=np.arange(3.0)),
    "interpolation": lambda: _on_rows(np.interp, xp=[0.0, 1.0], fp=[5.0, 6.0]),
    "membership": lambda: _on_rows(np.isin, test_elements=[1.0]),
    "a copy": lambda: _on_rows(np.copy),
    "a column as a list": lambda: _on_rows(np.ravel),
    "a sparse matrix": lambda: _on_rows(csr_matrix),
    "another type": lambda: _on_rows(np.float32),
    "the operator's own": lambda: _on_rows(Doubling()),
    "target in logarithms": lambda: TransformedTargetRegressor(LinearRegression(), func=np.log, inverse_func=np.exp),
    "pooling by means": lambda: FeatureAgglomeration(2, pooling_func=np.mean).fit(X),
    "weights by distance": lambda: _knn(weights=np.reciprocal),
    "kernel of scikit-learn": lambda: SVC(kernel=pairwise.rbf_kernel).fit(X, Y),
    "bound kernel": lambda: SVC(kernel=partial(pairwise.rbf_kernel, gamma=0.1)).fit(X, Y),
    "words as they are": lambda: CountVectorizer(preprocessor=str, tokenizer=list, token_pattern=None).fit(["a cat"]),
    "the operator's own distance": lambda: _tree_that_calls(_distance),
}


@pytest.mark.parametrize("key", HONEST)
def test_honest_function_passes(key: str) -> None:
    validate_structure(HONEST[key]())


def test_function_that_the_operator_vouches_for_passes() -> None:
    objects = list(walk(_on_rows(np.cumsum)))
    check_objects(objects, vouched=frozenset({"numpy.cumsum"}))
