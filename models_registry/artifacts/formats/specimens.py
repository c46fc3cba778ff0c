"""Fitted specimens of everything in scikit-learn that can be fitted, to learn what honest artifacts hold.

Used by the generator of the list of trusted names and by the tests; never by the service. The settings that make
each estimator quick to fit are those with which scikit-learn tests itself.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
import scipy.special
from sklearn import (
    calibration,
    compose,
    dummy,
    ensemble,
    feature_extraction,
    feature_selection,
    frozen,
    gaussian_process,
    impute,
    kernel_ridge,
    linear_model,
    metrics,
    model_selection,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401
from sklearn.gaussian_process import kernels
from sklearn.utils import all_estimators
from sklearn.utils._test_common.instance_generator import _construct_instances
from threadpoolctl import threadpool_limits

from models_registry.artifacts.formats.ordinary import ordinary_pipelines

ROWS = 60


@dataclass(frozen=True, slots=True)
class Specimen:
    """A fitted estimator and inputs that it can be asked about."""

    label: str
    estimator: Any
    inputs: Any


def _numbers() -> np.ndarray[Any, Any]:
    return np.abs(np.random.RandomState(0).normal(size=(ROWS, 4))) + 0.1


X = _numbers()
CLASSES = (X[:, 0] > np.median(X[:, 0])).astype(int)
TARGET = X[:, 0] * 2 + X[:, 1]
TEXTS = ["the cat sat", "on the mat", "dogs and cats", "a mat"] * (ROWS // 4)
RECORDS = [{"age": 1.0, "city": "Oslo"}, {"age": 2.0, "city": "Rome"}] * (ROWS // 2)
FRAME = pd.DataFrame(
    {
        "age": X[:, 0],
        "income": X[:, 1],
        "city": (["Oslo", "Rome", "Bern"] * ROWS)[:ROWS],
        "size": pd.Categorical((["S", "M", "L"] * ROWS)[:ROWS]),
    }
)

_ATTEMPTS: tuple[tuple[Any, ...], ...] = (
    (X, CLASSES),
    (X, TARGET),
    (X,),
    (TEXTS,),
    (X, np.c_[CLASSES, 1 - CLASSES]),
    (RECORDS,),
    (CLASSES,),
    (X[:, 0], TARGET),
    (X @ X.T, CLASSES),
)
_BY_NAME: dict[str, Callable[[Any], Any]] = {"SparseCoder": lambda made: made.set_params(dictionary=np.eye(4))}


def _fit(estimator: Any, attempts: tuple[tuple[Any, ...], ...]) -> tuple[Any, Any]:
    problems = []
    for arguments in attempts:
        try:
            return clone(estimator).fit(*arguments), arguments[0]
        except Exception as error:  # noqa: BLE001 - which data an estimator wants is found by trying
            problems.append(repr(error)[:80])
    raise ValueError(f"{estimator!r} fits none of the prepared data: {problems}")


def plain_specimens() -> Iterator[Specimen]:
    """Yield every public estimator of scikit-learn, fitted with its quick settings."""
    for name, cls in all_estimators():
        if name == "FrozenEstimator":
            continue  # wraps another one, and stands among the chosen specimens
        for number, made in enumerate(_construct_instances(cls)):
            adapted = _BY_NAME.get(name, lambda estimator: estimator)(made)
            estimator, inputs = _fit(adapted, _ATTEMPTS)
            yield Specimen(f"{name}-{number}", estimator, inputs)


def _chosen() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield (label, estimator, arguments of fit) for settings that change what the fitted state holds."""
    yield from _trees()
    yield from _linear_and_kernels()
    yield from _neighbours()
    yield from _searches()
    yield from _tables_and_text()
    yield from _mixed()
    yield from ordinary_pipelines()


def _trees() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    for loss in ("squared_error", "absolute_error", "huber", "quantile"):
        yield f"gb-{loss}", ensemble.GradientBoostingRegressor(loss=loss, n_estimators=3), (X, TARGET)
    for loss in ("log_loss", "exponential"):
        yield f"gbc-{loss}", ensemble.GradientBoostingClassifier(loss=loss, n_estimators=3), (X, CLASSES)
    for loss in ("squared_error", "absolute_error", "gamma", "poisson", "quantile"):
        boosting = ensemble.HistGradientBoostingRegressor(loss=loss, max_iter=3, quantile=0.5)
        yield f"hgb-{loss}", boosting, (X, TARGET)
    three = np.arange(ROWS) % 3
    yield "hgb-multiclass", ensemble.HistGradientBoostingClassifier(max_iter=3), (X, three)
    stopping = ensemble.HistGradientBoostingClassifier(max_iter=4, early_stopping=True, scoring="accuracy")
    yield "hgb-early-stopping", stopping, (X, CLASSES)
    categorical = ensemble.HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype")
    yield "hgb-categories", categorical, (FRAME[["age", "size"]], CLASSES)
    yield "forest-multioutput", ensemble.RandomForestClassifier(3), (X, np.c_[CLASSES, three])
    yield "forest-strings", ensemble.RandomForestClassifier(3, oob_score=True), (X, CLASSES.astype(str))
    yield "forest-booleans", ensemble.ExtraTreesClassifier(3, bootstrap=True), (X, CLASSES.astype(bool))
    missing = np.where(np.quantile(X, 0.95) < X, np.nan, X)
    yield "tree-missing", tree.DecisionTreeClassifier(), (missing, CLASSES)
    yield "tree-monotonic", tree.DecisionTreeRegressor(monotonic_cst=[1, 0, 0, -1]), (X, TARGET)
    yield "adaboost", ensemble.AdaBoostRegressor(tree.DecisionTreeRegressor(), n_estimators=3), (X, TARGET)
    yield "bagged-features", ensemble.BaggingClassifier(n_estimators=3, max_features=0.5), (X, CLASSES)


def _linear_and_kernels() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    for loss in ("hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron", "squared_error", "huber",
                 "epsilon_insensitive", "squared_epsilon_insensitive"):  # fmt: skip
        yield f"sgd-{loss}", linear_model.SGDClassifier(loss=loss), (X, CLASSES)
        if loss.startswith(("squared_e", "huber", "epsilon")):
            yield f"sgdr-{loss}", linear_model.SGDRegressor(loss=loss), (X, TARGET)
    for kernel in ("linear", "poly", "sigmoid"):
        yield f"svc-{kernel}", svm.SVC(kernel=kernel), (X, CLASSES)
    yield "svc-multiclass", svm.SVC(decision_function_shape="ovo"), (X, np.arange(ROWS) % 3)
    yield "svc-callable", svm.SVC(kernel=metrics.pairwise.rbf_kernel), (X, CLASSES)
    yield "svc-sparse", svm.SVC(), (scipy.sparse.csr_matrix(X), CLASSES)
    yield "svr-sparse", svm.SVR(kernel="linear"), (scipy.sparse.csr_array(X), TARGET)
    yield "ridge-kernel", kernel_ridge.KernelRidge(kernel="laplacian"), (X, TARGET)
    sparse = linear_model.SGDClassifier(penalty="l1").fit(X, CLASSES).sparsify()
    yield "sgd-sparsified", frozen.FrozenEstimator(sparse), (X, CLASSES)
    for kernel in (
        kernels.RBF() + kernels.WhiteKernel(),
        kernels.Matern() * kernels.DotProduct(),
        kernels.RationalQuadratic() ** 2,
        kernels.ExpSineSquared() * kernels.RBF() + kernels.WhiteKernel(100),
        kernels.PairwiseKernel(metric="laplacian"),
    ):
        yield f"gp-{kernel}", gaussian_process.GaussianProcessRegressor(kernel, optimizer=None), (X, TARGET)
    compound = kernels.CompoundKernel([kernels.RBF(), kernels.RBF()])
    yield "gpc", gaussian_process.GaussianProcessClassifier(n_restarts_optimizer=1), (X, np.arange(ROWS) % 3)
    yield "gp-compound", pipeline.Pipeline([("s", preprocessing.FunctionTransformer(kw_args={"k": compound}))]), (X,)
    for solver in ("lbfgs", "sgd", "adam"):
        yield f"mlp-{solver}", neural_network.MLPClassifier((3,), solver=solver, max_iter=3), (X, CLASSES)
    for power in (0, 1.5, 2, 3):
        yield f"tweedie-{power}", linear_model.TweedieRegressor(power=power, max_iter=5), (X, TARGET)
    yield "tweedie-identity", linear_model.TweedieRegressor(power=0, link="identity"), (X, TARGET)
    yield "logistic-strings", linear_model.LogisticRegression(), (X, CLASSES.astype(str))


def _neighbours() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    single = X.astype(np.float32)
    for algorithm in ("kd_tree", "ball_tree", "brute"):
        for metric in ("euclidean", "manhattan", "chebyshev", "minkowski"):
            model = neighbors.KNeighborsClassifier(3, algorithm=algorithm, metric=metric, p=3)
            yield f"knn-{algorithm}-{metric}", model, (X, CLASSES)
        yield f"knn-{algorithm}-single", neighbors.KNeighborsRegressor(3, algorithm=algorithm), (single, TARGET)
        yield f"lof-{algorithm}", neighbors.LocalOutlierFactor(5, algorithm=algorithm, novelty=True), (X,)
    for metric in ("canberra", "braycurtis", "hamming", "jaccard", "dice", "russellrao", "rogerstanimoto",
                   "sokalsneath"):  # fmt: skip
        data = X > 1 if metric in {"jaccard", "dice", "russellrao", "rogerstanimoto", "sokalsneath"} else X
        model = neighbors.KNeighborsClassifier(3, algorithm="ball_tree", metric=metric)
        yield f"knn-{metric}", model, (data, CLASSES)
    for metric, settings in (
        ("seuclidean", {"V": np.ones(4)}),
        ("mahalanobis", {"VI": np.eye(4)}),
        ("minkowski", {"w": np.ones(4), "p": 2}),
    ):
        model = neighbors.KNeighborsClassifier(3, algorithm="ball_tree", metric=metric, metric_params=settings)
        yield f"knn-{metric}-settings", model, (X, CLASSES)
    places = X[:, :2] / 10
    haversine = neighbors.KNeighborsClassifier(3, algorithm="ball_tree", metric="haversine")
    yield "knn-haversine", haversine, (places, CLASSES)
    yield "knn-sparse", neighbors.KNeighborsClassifier(3), (scipy.sparse.csr_matrix(X), CLASSES)
    yield "knn-multioutput", neighbors.KNeighborsClassifier(3), (X, np.c_[CLASSES, CLASSES])
    yield "knn-function", neighbors.KNeighborsClassifier(3, weights="distance"), (X, CLASSES.astype(str))
    for algorithm in ("kd_tree", "ball_tree"):
        yield f"density-{algorithm}", neighbors.KernelDensity(algorithm=algorithm), (X,)


def _searches() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    grid = {"C": [0.1, 1.0]}
    logistic = linear_model.LogisticRegression()
    for scoring in ("accuracy", "roc_auc", "neg_log_loss", "f1_macro"):
        search = model_selection.GridSearchCV(logistic, grid, scoring=scoring, cv=2)
        yield f"grid-{scoring}", search, (X, CLASSES)
    several = model_selection.GridSearchCV(logistic, grid, scoring=["accuracy", "f1"], refit="f1", cv=2)
    yield "grid-several", several, (X, CLASSES)
    made = metrics.make_scorer(metrics.fbeta_score, beta=2)
    yield "grid-made", model_selection.GridSearchCV(logistic, grid, scoring=made, cv=2), (X, CLASSES)
    for splitter in (
        model_selection.StratifiedKFold(2),
        model_selection.ShuffleSplit(2, random_state=0),
        model_selection.RepeatedKFold(n_splits=2, n_repeats=1, random_state=np.random.RandomState(0)),
        model_selection.TimeSeriesSplit(2),
    ):
        search = model_selection.GridSearchCV(logistic, grid, cv=splitter)
        yield f"grid-{type(splitter).__name__}", search, (X, CLASSES)
    for method in ("sigmoid", "isotonic", "temperature"):
        yield f"calibrated-{method}", calibration.CalibratedClassifierCV(logistic, method=method), (X, CLASSES)
    for score in (feature_selection.chi2, feature_selection.mutual_info_classif, feature_selection.f_classif):
        yield f"best-{score.__name__}", feature_selection.SelectKBest(score, k=2), (X, CLASSES)
    scored = feature_selection.SelectKBest(partial(feature_selection.mutual_info_regression, random_state=0), k=2)
    yield "best-partial", scored, (X, TARGET)


def _tables_and_text() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    words, numbers = ["city", "size"], ["age", "income"]
    prepare = compose.ColumnTransformer(
        [
            ("one_hot", preprocessing.OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2), words),
            ("ordinal", preprocessing.OrdinalEncoder(), words),
            ("target", preprocessing.TargetEncoder(cv=2), words),
            ("bins", preprocessing.KBinsDiscretizer(3), numbers),
            ("fill", impute.SimpleImputer(strategy="most_frequent", add_indicator=True), words),
            ("rest", "passthrough", compose.make_column_selector(dtype_include="number")),
        ],
        remainder="drop",
    )
    only_numbers = compose.ColumnTransformer([("scale", preprocessing.StandardScaler(), numbers)])
    yield "table-prepared", prepare, (FRAME, CLASSES)
    steps = [("prepare", only_numbers), ("forest", ensemble.RandomForestClassifier(3))]
    yield "table-pipeline", pipeline.Pipeline(steps), (FRAME, CLASSES)
    scaler = preprocessing.StandardScaler().set_output(transform="pandas")
    yield "table-pandas-out", pipeline.Pipeline([("s", scaler), ("l", linear_model.Ridge())]), (FRAME[numbers], TARGET)
    yield "table-imputed", impute.KNNImputer(), (FRAME[numbers],)
    text = feature_extraction.text
    yield "text-tfidf", pipeline.make_pipeline(text.TfidfVectorizer(), svm.LinearSVC()), (TEXTS, CLASSES)
    counts = text.CountVectorizer(strip_accents="unicode", ngram_range=(1, 2), stop_words="english")
    yield "text-counts", pipeline.make_pipeline(counts, linear_model.LogisticRegression()), (TEXTS, CLASSES)
    hashed = text.HashingVectorizer(n_features=64, analyzer="char_wb")
    yield "text-hashed", pipeline.make_pipeline(hashed, linear_model.SGDClassifier()), (TEXTS, CLASSES)
    yield "text-stripped", text.TfidfVectorizer(preprocessor=text.strip_tags), (TEXTS,)
    records = pipeline.make_pipeline(feature_extraction.DictVectorizer(), linear_model.Ridge())
    yield "records", records, (RECORDS, TARGET)


def _mixed() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    for function in (np.log1p, scipy.special.expit, np.nan_to_num, np.abs):
        name = getattr(function, "__name__", "function")
        steps = [("f", preprocessing.FunctionTransformer(function)), ("l", linear_model.Ridge())]
        yield f"function-{name}", pipeline.Pipeline(steps), (X, TARGET)
    target = compose.TransformedTargetRegressor(linear_model.Ridge(), func=np.log, inverse_func=np.exp)
    yield "target-log", target, (X, TARGET)
    powered = compose.TransformedTargetRegressor(linear_model.Ridge(), transformer=preprocessing.PowerTransformer())
    yield "target-power", powered, (X, TARGET)
    yield "dummy-seeded", dummy.DummyClassifier(strategy="stratified", random_state=0), (X, CLASSES)
    frozen_tree = frozen.FrozenEstimator(tree.DecisionTreeClassifier().fit(X, CLASSES))
    yield "frozen", frozen_tree, (X, CLASSES)
    pair = [("tree", tree.DecisionTreeClassifier()), ("svc", svm.SVC())]
    yield "stacked", ensemble.StackingClassifier(pair, cv=2), (X, CLASSES)
    yield "voting-strings", ensemble.VotingClassifier(pair), (X, CLASSES.astype(str))
    generator_forest = ensemble.RandomForestRegressor(2, random_state=np.random.RandomState(0))
    yield "seeded-forest", generator_forest, (X, TARGET)
    sparse_union = pipeline.FeatureUnion([("poly", preprocessing.PolynomialFeatures()), ("drop", "drop")])
    yield "union", sparse_union, (scipy.sparse.csr_matrix(X),)


def chosen_specimens() -> Iterator[Specimen]:
    """Yield estimators with settings, data types and compositions beyond the plain ones."""
    for label, estimator, arguments in _chosen():
        yield Specimen(label, estimator.fit(*arguments), arguments[0])


def specimens() -> Iterator[Specimen]:
    """Yield every specimen, the plain ones first."""
    # Threads that wait for each other's processor make these tiny fits take minutes on a busy machine.
    with warnings.catch_warnings(), threadpool_limits(1):
        # Quick settings do not converge, which is of no interest here.
        warnings.simplefilter("ignore")
        yield from plain_specimens()
        yield from chosen_specimens()
