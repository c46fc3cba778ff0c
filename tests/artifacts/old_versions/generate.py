# ruff: noqa: E501, BLE001, PLW2901, PLR0912
"""Writes fitted estimators of an older scikit-learn, each with its own answers.

    python generate.py FOLDER

Run it with the Python of an environment that holds that version (see README.md). It imports nothing of this project.
Each estimator is written as NAME.joblib, and as NAME.skops where that version of skops can; NAME.json holds the rows
that it was asked about and what it answered. `python -m tools.old_versions` makes the tests' archive of them.
"""

import functools
import importlib
import io
import json
import sys
import warnings
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import scipy.linalg
import scipy.sparse

if not hasattr(scipy.linalg, "pinv2"):
    # scikit-learn 0.24 and older import it; scipy 1.9, the first for Python 3.11, calls it pinv.
    scipy.linalg.pinv2 = scipy.linalg.pinv

import sklearn
from sklearn import (
    calibration,
    cluster,
    compose,
    decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    feature_extraction,
    feature_selection,
    gaussian_process,
    impute,
    isotonic,
    kernel_approximation,
    kernel_ridge,
    linear_model,
    metrics,
    mixture,
    model_selection,
    multiclass,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    semi_supervised,
    svm,
    tree,
)

try:
    from sklearn.utils import all_estimators
except ImportError:
    from sklearn.utils.testing import all_estimators

for experiment in ("enable_halving_search_cv", "enable_iterative_imputer", "enable_hist_gradient_boosting"):
    try:
        importlib.import_module("sklearn.experimental." + experiment)
    except ImportError:
        continue

ROWS = 60
ASKED = 12
METHODS = ("predict", "predict_proba", "decision_function", "transform", "score_samples")
VERSION = tuple(int(part) for part in sklearn.__version__.split(".")[:2])


class Missing:
    """Stands for an estimator, or a form of one, that the version does not have: it cannot be fitted."""

    def __init__(self, *arguments, **settings):
        self.settings = settings

    def fit(self, *arguments, **settings):
        raise NotImplementedError("not in this version")

    transform = predict = fit


class Lenient:
    """A module whose absent classes, and classes that do not know a parameter, are made as Missing."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        found = getattr(self.module, name, Missing)
        if isinstance(found, type(sklearn)):
            return Lenient(found)
        return (
            functools.wraps(found, updated=())(lambda *a, **k: made(found, a, k)) if isinstance(found, type) else found
        )


def made(kind, arguments, settings):
    """Return an instance, or Missing where the version has no such parameter."""
    try:
        return kind(*arguments, **settings)
    except (TypeError, ValueError):
        return Missing()


if VERSION < (1, 1):
    for name, module in list(globals().items()):
        if getattr(module, "__name__", "").startswith("sklearn.") and isinstance(module, type(sklearn)):
            globals()[name] = Lenient(module)

rng = np.random.RandomState(0)
X = np.abs(rng.normal(size=(ROWS, 4))) + 0.1
CLASSES = (X[:, 0] > np.median(X[:, 0])).astype(int)
THREE = np.arange(ROWS) % 3
TARGET = X[:, 0] * 2 + X[:, 1]
WEIGHTS = rng.uniform(0.5, 3, ROWS)
GAPS = np.where(np.quantile(X, 0.9) < X, np.nan, X)
TEXTS = ["the cat sat on", "a dog sat", "the dog and the cat", "dogs and cats", "a mat"] * (ROWS // 5)
# Told by the words: where no class is likelier than another, the last bit of a score decides.
TOPICS = np.array([0, 1, 2, 2, 0] * (ROWS // 5))
RECORDS = [{"age": 1.0, "city": "Oslo"}, {"age": 2.0, "city": "Rome"}, {"age": 4.0, "city": "Rome"}] * (ROWS // 3)
FRAME = pd.DataFrame(
    {"age": GAPS[:, 0], "income": X[:, 1], "city": (["Oslo", "Rome", "Bern"] * ROWS)[:ROWS],
     "size": (["S", "M", "L", "L"] * ROWS)[:ROWS]}
)  # fmt: skip


def prepared():
    """Return a ColumnTransformer as data scientists write it."""
    numbers = pipeline.make_pipeline(impute.SimpleImputer(strategy="median"), preprocessing.StandardScaler())
    words = pipeline.make_pipeline(
        impute.SimpleImputer(strategy="most_frequent"), preprocessing.OneHotEncoder(handle_unknown="ignore")
    )
    return compose.ColumnTransformer([("numbers", numbers, ["age", "income"]), ("words", words, ["city", "size"])])


def chosen():
    """Yield (name, estimator, arguments of fit, keywords of fit)."""
    yield from trees()
    yield from tables_and_text()
    yield from others()
    yield from inner_parts()


def trees():
    for kind in (tree.DecisionTreeClassifier, tree.ExtraTreeClassifier):
        for label, settings in (("", {}), ("-depth", {"max_depth": 3}), ("-balanced", {"class_weight": "balanced"})):
            yield kind.__name__ + label, kind(random_state=0, **settings), (X, THREE), {}
    yield "tree-weights", tree.DecisionTreeClassifier(max_depth=3), (X, THREE), {"sample_weight": WEIGHTS}
    yield "tree-multioutput", tree.DecisionTreeClassifier(max_depth=3), (X, np.c_[CLASSES, THREE]), {}
    yield "tree-one-class", tree.DecisionTreeClassifier(), (X, np.zeros(ROWS, int)), {}
    yield "tree-labels", tree.DecisionTreeClassifier(max_depth=3), (X, np.array(["a", "b", "c"])[THREE]), {}
    for criterion in ("squared_error", "absolute_error", "friedman_mse", "poisson"):
        yield f"tree-{criterion}", tree.DecisionTreeRegressor(criterion=criterion, max_depth=3), (X, TARGET), {}
    if VERSION >= (1, 3):
        yield "tree-gaps", tree.DecisionTreeClassifier(max_depth=3), (GAPS, THREE), {}
    if VERSION >= (1, 4):
        yield "forest-gaps", ensemble.RandomForestClassifier(5, max_depth=3), (GAPS, THREE), {}
    forest = {"n_estimators": 7, "max_depth": 3, "random_state": 0}
    yield "forest", ensemble.RandomForestClassifier(**forest), (X, THREE), {}
    yield "forest-oob", ensemble.RandomForestClassifier(oob_score=True, **forest), (X, CLASSES), {}
    yield "forest-balanced", ensemble.RandomForestClassifier(class_weight="balanced", **forest), (X, THREE), {}
    yield "forest-multioutput", ensemble.RandomForestClassifier(**forest), (X, np.c_[CLASSES, THREE]), {}
    yield "extra-trees", ensemble.ExtraTreesClassifier(**forest), (X, THREE), {}
    yield "forest-regressor", ensemble.RandomForestRegressor(**forest), (X, TARGET), {}
    yield "extra-trees-regressor", ensemble.ExtraTreesRegressor(**forest), (X, np.c_[TARGET, -TARGET]), {}
    yield "embedding", ensemble.RandomTreesEmbedding(n_estimators=3, max_depth=3, random_state=0), (X,), {}
    yield "bagging-trees", ensemble.BaggingClassifier(n_estimators=4, random_state=0), (X, THREE), {}
    yield "isolation", ensemble.IsolationForest(n_estimators=7, random_state=0), (X,), {}
    yield (
        "isolation-contaminated",
        ensemble.IsolationForest(n_estimators=7, contamination=0.1, random_state=0),
        (X,),
        {},
    )
    yield (
        "isolation-samples",
        ensemble.IsolationForest(n_estimators=7, max_samples=20, max_features=2, random_state=0),
        (X,),
        {},
    )
    for loss in ("squared_error", "absolute_error", "huber", "quantile"):
        boosting = ensemble.GradientBoostingRegressor(loss=loss, n_estimators=5, random_state=0)
        yield f"gradient-{loss}", boosting, (X, TARGET), {}
    for loss in ("ls", "lad") if VERSION < (1, 0) else ():
        boosting = ensemble.GradientBoostingRegressor(loss=loss, n_estimators=5, random_state=0)
        yield f"gradient-{loss}", boosting, (X, TARGET), {}
    if VERSION < (1, 1):
        boosting = ensemble.GradientBoostingClassifier(loss="deviance", n_estimators=5, random_state=0)
        yield "gradient-deviance", boosting, (X, CLASSES), {}
        yield "sgd-log", linear_model.SGDClassifier(loss="log", random_state=0), (X, CLASSES), {}
        settings = {"max_iter": 4, "min_samples_leaf": 5}
        for loss in ("least_squares", "least_absolute_deviation"):
            yield f"histogram-{loss}", ensemble.HistGradientBoostingRegressor(loss=loss, **settings), (X, TARGET), {}
    for loss in ("log_loss", "exponential"):
        boosting = ensemble.GradientBoostingClassifier(loss=loss, n_estimators=5, random_state=0)
        yield f"gradient-{loss}", boosting, (X, CLASSES), {}
    yield "gradient-three", ensemble.GradientBoostingClassifier(n_estimators=5, random_state=0), (X, THREE), {}
    for name, init in (
        ("zero", "zero"),
        ("dummy", dummy.DummyClassifier(strategy="prior")),
        ("logistic", linear_model.LogisticRegression()),
    ):
        boosting = ensemble.GradientBoostingClassifier(n_estimators=3, init=init, random_state=0)
        yield f"gradient-init-{name}", boosting, (X, CLASSES), {}
    boosting = ensemble.GradientBoostingRegressor(n_estimators=20, n_iter_no_change=2, random_state=0)
    yield "gradient-stopping", boosting, (X, TARGET), {}
    for loss in ("squared_error", "absolute_error", "poisson", *(("quantile",) if VERSION >= (1, 1) else ()),
                 *(("gamma",) if VERSION >= (1, 3) else ())):  # fmt: skip
        settings = {"quantile": 0.5} if loss == "quantile" else {}
        boosting = ensemble.HistGradientBoostingRegressor(loss=loss, max_iter=4, min_samples_leaf=5, **settings)
        yield f"histogram-{loss}", boosting, (GAPS, TARGET), {}
    histogram = {"max_iter": 4, "min_samples_leaf": 5, "random_state": 0}
    yield "histogram-two", ensemble.HistGradientBoostingClassifier(**histogram), (GAPS, CLASSES), {}
    yield "histogram-three", ensemble.HistGradientBoostingClassifier(**histogram), (GAPS, THREE), {}
    codes = np.c_[THREE, X[:, 1:]]
    by_category = ensemble.HistGradientBoostingClassifier(categorical_features=[0], **histogram)
    yield "histogram-categories", by_category, (codes, CLASSES), {}
    stopping = ensemble.HistGradientBoostingClassifier(early_stopping=True, scoring="accuracy", **histogram)
    yield "histogram-stopping", stopping, (X, CLASSES), {}
    yield (
        "histogram-loss-stopping",
        ensemble.HistGradientBoostingClassifier(early_stopping=True, **histogram),
        (X, CLASSES),
        {},
    )
    if VERSION >= (1, 4):
        frame = FRAME.assign(size=pd.Categorical(FRAME["size"]))[["age", "size"]]
        from_dtype = ensemble.HistGradientBoostingClassifier(categorical_features="from_dtype", **histogram)
        yield "histogram-from-dtype", from_dtype, (frame, CLASSES), {}
    algorithms = ({"algorithm": "SAMME"}, {"algorithm": "SAMME.R"}) if VERSION < (1, 6) else ({},)
    for settings in algorithms:
        algorithm = settings.get("algorithm", "SAMME")
        for label, classes in (("two", CLASSES), ("three", THREE)):
            adaptive = ensemble.AdaBoostClassifier(n_estimators=5, random_state=0, **settings)
            yield f"ada-{algorithm}-{label}", adaptive, (X, classes), {}
    if VERSION >= (1, 2):
        stumps = tree.DecisionTreeClassifier(max_depth=2)
        adaptive = ensemble.AdaBoostClassifier(stumps, n_estimators=5, random_state=0)
        yield "ada-depth-two", adaptive, (X, THREE), {}
    yield "ada-regressor", ensemble.AdaBoostRegressor(n_estimators=5, random_state=0), (X, TARGET), {}


def tables_and_text():
    text = feature_extraction.text
    logistic = linear_model.LogisticRegression
    for label, settings in (
        ("", {}),
        ("-smooth", {"smooth_idf": False}),
        ("-sublinear", {"sublinear_tf": True, "norm": "l1"}),
        ("-without", {"use_idf": False}),
        ("-single", {"dtype": np.float32}),
        ("-chars", {"analyzer": "char_wb", "ngram_range": (1, 3)}),
    ):
        yield f"tfidf{label}", text.TfidfVectorizer(**settings), (TEXTS,), {}
        yield (
            f"tfidf{label}-logistic",
            pipeline.make_pipeline(text.TfidfVectorizer(**settings), logistic()),
            (TEXTS, TOPICS),
            {},
        )
    counted = pipeline.make_pipeline(text.CountVectorizer(), text.TfidfTransformer(), naive_bayes.MultinomialNB())
    yield "counts-tfidf-bayes", counted, (TEXTS, THREE), {}
    yield "tfidf-transformer", text.TfidfTransformer(), (scipy.sparse.csr_matrix(np.round(X * 3)),), {}
    yield (
        "hashing-sgd",
        pipeline.make_pipeline(text.HashingVectorizer(n_features=64), linear_model.SGDClassifier(random_state=0)),
        (TEXTS, THREE),
        {},
    )
    yield (
        "records",
        pipeline.make_pipeline(feature_extraction.DictVectorizer(), linear_model.Ridge()),
        (RECORDS, TARGET),
        {},
    )
    union = pipeline.FeatureUnion([("words", text.TfidfVectorizer()), ("chars", text.CountVectorizer(analyzer="char"))])
    yield "text-union", pipeline.make_pipeline(union, svm.LinearSVC()), (TEXTS, THREE), {}
    yield "table-logistic", pipeline.make_pipeline(prepared(), logistic()), (FRAME, CLASSES), {}
    yield (
        "table-forest",
        pipeline.make_pipeline(prepared(), ensemble.RandomForestClassifier(4, max_depth=3, random_state=0)),
        (FRAME, THREE),
        {},
    )
    yield (
        "table-gradient",
        pipeline.make_pipeline(prepared(), ensemble.GradientBoostingRegressor(n_estimators=4)),
        (FRAME, TARGET),
        {},
    )
    by_index = compose.ColumnTransformer(
        [
            ("n", preprocessing.MinMaxScaler(), FRAME[["income"]].columns),
            ("c", preprocessing.OneHotEncoder(), FRAME[["city"]].columns),
        ]
    )
    yield "table-index", pipeline.make_pipeline(by_index, logistic()), (FRAME, CLASSES), {}
    chosen_columns = compose.make_column_transformer(
        (preprocessing.StandardScaler(), compose.make_column_selector(dtype_include="number")),
        (preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city"]),
        remainder="drop",
    )
    yield "table-selector", pipeline.make_pipeline(chosen_columns, logistic()), (FRAME.fillna(0), CLASSES), {}
    for label, columns in (("names", ["income"]), ("positions", [1]), ("mask", [False, True, False, False])):
        passed = compose.ColumnTransformer([("s", preprocessing.StandardScaler(), columns)], remainder="passthrough")
        frame = FRAME.assign(city=THREE, size=CLASSES).fillna(1.0)
        yield f"table-remainder-{label}", pipeline.make_pipeline(passed, logistic()), (frame, CLASSES), {}
    through = compose.ColumnTransformer(
        [("p", "passthrough", ["income"]), ("d", "drop", ["city"])], remainder=preprocessing.MinMaxScaler()
    )
    yield (
        "table-remainder-scaled",
        pipeline.make_pipeline(through, logistic()),
        (FRAME.assign(size=CLASSES).fillna(1.0), CLASSES),
        {},
    )
    positions = compose.ColumnTransformer([("s", preprocessing.StandardScaler(), [0, 1])], remainder="passthrough")
    yield "array-remainder", pipeline.make_pipeline(positions, logistic()), (X, CLASSES), {}
    for strategy in ("mean", "median", "most_frequent", "constant"):
        filled = pipeline.make_pipeline(impute.SimpleImputer(strategy=strategy), logistic())
        yield f"imputed-{strategy}", filled, (GAPS, CLASSES), {}
    words = FRAME[["city", "size"]].where(FRAME["age"] > 0.3)
    for strategy in ("most_frequent", "constant"):
        encoder = preprocessing.OneHotEncoder(handle_unknown="ignore")
        filled = pipeline.make_pipeline(impute.SimpleImputer(strategy=strategy), encoder, logistic())
        yield f"imputed-words-{strategy}", filled, (words, CLASSES), {}
    yield (
        "imputed-indicator",
        pipeline.make_pipeline(impute.SimpleImputer(add_indicator=True), logistic()),
        (GAPS, CLASSES),
        {},
    )
    yield "imputed-neighbours", pipeline.make_pipeline(impute.KNNImputer(), logistic()), (GAPS, CLASSES), {}
    iterative = impute.IterativeImputer(max_iter=2, random_state=0)
    yield "imputed-iterative", pipeline.make_pipeline(iterative, linear_model.Ridge()), (GAPS, TARGET), {}
    for label, settings in (("", {}), ("-ignore", {"handle_unknown": "ignore"}), ("-drop", {"drop": "first"}),
                            ("-binary", {"drop": "if_binary"}),
                            *((("-rare", {"min_frequency": 16, "handle_unknown": "infrequent_if_exist"}),) if VERSION >= (1, 1) else ())):  # fmt: skip
        yield (
            f"one-hot{label}",
            pipeline.make_pipeline(preprocessing.OneHotEncoder(**settings), logistic()),
            (FRAME[["city", "size"]], CLASSES),
            {},
        )
    given = preprocessing.OneHotEncoder(categories=[["Bern", "Oslo", "Rome"], ["L", "M", "S"]])
    yield "one-hot-given", pipeline.make_pipeline(given, logistic()), (FRAME[["city", "size"]], CLASSES), {}
    ordinal = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
    yield (
        "ordinal",
        pipeline.make_pipeline(preprocessing.OrdinalEncoder(**ordinal), logistic()),
        (FRAME[["city", "size"]], CLASSES),
        {},
    )
    if VERSION >= (1, 3):
        rare = preprocessing.OrdinalEncoder(min_frequency=16, **ordinal)
        yield "ordinal-rare", pipeline.make_pipeline(rare, logistic()), (FRAME[["city", "size"]], CLASSES), {}
        target = preprocessing.TargetEncoder(cv=2, random_state=0)
        yield "target-encoder", pipeline.make_pipeline(target, logistic()), (FRAME[["city", "size"]], CLASSES), {}


def others():
    logistic = linear_model.LogisticRegression
    for solver in ("lbfgs", "liblinear", "saga"):
        yield f"logistic-{solver}", logistic(solver=solver, max_iter=200), (X, CLASSES), {}
    for penalty, solver in (("l1", "liblinear"), ("elasticnet", "saga")):
        yield (
            f"logistic-{penalty}",
            logistic(penalty=penalty, solver=solver, l1_ratio=0.5 if penalty == "elasticnet" else None),
            (X, CLASSES),
            {},
        )
    yield "logistic-three", logistic(), (X, THREE), {}
    yield "logistic-liblinear-three", multiclass.OneVsRestClassifier(logistic(solver="liblinear")), (X, THREE), {}
    if VERSION < (1, 8):
        for multi in ("ovr", "multinomial"):
            yield f"logistic-{multi}-three", logistic(multi_class=multi), (X, THREE), {}
            yield f"logistic-{multi}-two", logistic(multi_class=multi), (X, CLASSES), {}
            yield (
                f"logistic-cv-{multi}",
                linear_model.LogisticRegressionCV(Cs=2, cv=2, multi_class=multi),
                (X, THREE),
                {},
            )
        yield "logistic-liblinear-auto", logistic(solver="liblinear", multi_class="auto"), (X, THREE), {}
        yield "logistic-liblinear-ovr", logistic(solver="liblinear", multi_class="ovr"), (X, THREE), {}
    for kernel in ("rbf", "linear", "poly", "sigmoid"):
        for probability in (False, True):
            label = "-probability" if probability else ""
            yield (
                f"svc-{kernel}{label}",
                svm.SVC(kernel=kernel, probability=probability, random_state=0),
                (X, CLASSES),
                {},
            )
    yield "svc-three", svm.SVC(probability=True, random_state=0), (X, THREE), {}
    yield "svc-ovo", svm.SVC(decision_function_shape="ovo"), (X, THREE), {}
    yield "svc-sparse", svm.SVC(), (scipy.sparse.csr_matrix(X), CLASSES), {}
    yield (
        "svc-sparse-text",
        pipeline.make_pipeline(
            feature_extraction.text.CountVectorizer(), svm.SVC(kernel="linear", probability=True, random_state=0)
        ),
        (TEXTS, THREE),
        {},
    )
    yield "nusvc-probability", svm.NuSVC(probability=True, random_state=0), (X, CLASSES), {}
    for loss in ("hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron"):
        yield f"sgd-{loss}", linear_model.SGDClassifier(loss=loss, random_state=0), (X, CLASSES), {}
    for method in ("sigmoid", "isotonic"):
        yield (
            f"calibrated-{method}",
            calibration.CalibratedClassifierCV(logistic(), method=method, cv=2),
            (X, CLASSES),
            {},
        )
        yield (
            f"calibrated-{method}-svc",
            calibration.CalibratedClassifierCV(svm.LinearSVC(), method=method, cv=2),
            (X, THREE),
            {},
        )
        if VERSION < (1, 8):
            fitted = calibration.CalibratedClassifierCV(logistic().fit(X, CLASSES), method=method, cv="prefit")
            yield f"calibrated-{method}-prefit", fitted, (X, CLASSES), {}
    pair = [("tree", tree.DecisionTreeClassifier(max_depth=3)), ("logistic", logistic())]
    yield "voting-hard", ensemble.VotingClassifier(pair), (X, CLASSES), {}
    yield "voting-soft", ensemble.VotingClassifier(pair, voting="soft"), (X, THREE), {}
    yield "stacking", ensemble.StackingClassifier(pair, cv=2), (X, CLASSES), {}
    yield "stacking-passthrough", ensemble.StackingClassifier(pair, cv=2, passthrough=True), (X, THREE), {}
    regressors = [("tree", tree.DecisionTreeRegressor(max_depth=3)), ("ridge", linear_model.Ridge())]
    yield "stacking-regressor", ensemble.StackingRegressor(regressors, cv=2), (X, TARGET), {}
    yield "voting-regressor", ensemble.VotingRegressor(regressors), (X, TARGET), {}
    grid = {"max_depth": [2, 3]}
    for label, scoring in (
        ("", None),
        ("-accuracy", "accuracy"),
        ("-roc", "roc_auc_ovr"),
        ("-made", metrics.make_scorer(metrics.f1_score, average="macro")),
    ):
        search = model_selection.GridSearchCV(tree.DecisionTreeClassifier(random_state=0), grid, cv=2, scoring=scoring)
        yield f"grid{label}", search, (X, THREE), {}
    yield (
        "random-search",
        model_selection.RandomizedSearchCV(ensemble.RandomForestClassifier(3, random_state=0), grid, n_iter=2, cv=2),
        (X, THREE),
        {},
    )
    several = pipeline.Pipeline([("s", preprocessing.StandardScaler()), ("m", logistic())])
    yield (
        "grid-pipeline",
        model_selection.GridSearchCV(several, [{"m__C": [0.1, 1]}, {"s": ["passthrough"]}], cv=2),
        (X, CLASSES),
        {},
    )
    for kernel in (None, gaussian_process.kernels.RBF() + gaussian_process.kernels.WhiteKernel()):
        yield f"gaussian-process-{kernel is None}", gaussian_process.GaussianProcessRegressor(kernel), (X, TARGET), {}
    yield "gaussian-process-classes", gaussian_process.GaussianProcessClassifier(), (X, THREE), {}
    for algorithm in ("kd_tree", "ball_tree", "brute"):
        for metric in ("minkowski", "manhattan"):
            yield (
                f"neighbours-{algorithm}-{metric}",
                neighbors.KNeighborsClassifier(3, algorithm=algorithm, metric=metric),
                (X, THREE),
                {},
            )
        yield (
            f"density-{algorithm}" if algorithm != "brute" else "density-auto",
            neighbors.KernelDensity(algorithm=algorithm if algorithm != "brute" else "auto"),
            (X,),
            {},
        )
        yield f"outliers-{algorithm}", neighbors.LocalOutlierFactor(5, novelty=True, algorithm=algorithm), (X,), {}
    yield "radius", neighbors.RadiusNeighborsClassifier(5.0), (X, CLASSES), {}
    for kind in (decomposition.PCA, decomposition.TruncatedSVD, decomposition.FastICA, decomposition.NMF):
        reduced = kind(2, random_state=0)
        yield f"{kind.__name__}-logistic", pipeline.make_pipeline(reduced, logistic()), (X, CLASSES), {}
    yield "pca-whiten", pipeline.make_pipeline(decomposition.PCA(2, whiten=True), logistic()), (X, CLASSES), {}
    for kind in (cluster.KMeans, cluster.MiniBatchKMeans):
        yield f"{kind.__name__}-seeded", kind(3, random_state=0, n_init=2), (X,), {}
    yield "spline", pipeline.make_pipeline(preprocessing.SplineTransformer(), linear_model.Ridge()), (X, TARGET), {}
    yield "poly", pipeline.make_pipeline(preprocessing.PolynomialFeatures(2), linear_model.Ridge()), (X, TARGET), {}
    yield "power", pipeline.make_pipeline(preprocessing.PowerTransformer(), linear_model.Ridge()), (X, TARGET), {}
    yield (
        "quantile",
        pipeline.make_pipeline(preprocessing.QuantileTransformer(n_quantiles=10), linear_model.Ridge()),
        (X, TARGET),
        {},
    )
    for encode in ("onehot", "ordinal"):
        yield (
            f"bins-{encode}",
            pipeline.make_pipeline(preprocessing.KBinsDiscretizer(3, encode=encode), linear_model.Ridge()),
            (X, TARGET),
            {},
        )
    yield (
        "function-log",
        pipeline.make_pipeline(preprocessing.FunctionTransformer(np.log1p), linear_model.Ridge()),
        (X, TARGET),
        {},
    )
    yield (
        "target-log",
        compose.TransformedTargetRegressor(linear_model.Ridge(), func=np.log, inverse_func=np.exp),
        (X, TARGET),
        {},
    )
    yield "best", pipeline.make_pipeline(feature_selection.SelectKBest(k=2), logistic()), (X, CLASSES), {}
    yield (
        "best-chi2",
        pipeline.make_pipeline(feature_selection.SelectKBest(feature_selection.chi2, k=2), logistic()),
        (X, CLASSES),
        {},
    )
    yield (
        "from-model",
        pipeline.make_pipeline(feature_selection.SelectFromModel(ensemble.ExtraTreesClassifier(3)), logistic()),
        (X, CLASSES),
        {},
    )
    yield "recursive", feature_selection.RFECV(logistic(), cv=2), (X, CLASSES), {}
    yield "one-vs-one", multiclass.OneVsOneClassifier(logistic()), (X, THREE), {}
    yield "one-vs-rest-trees", multiclass.OneVsRestClassifier(tree.DecisionTreeClassifier(max_depth=3)), (X, THREE), {}
    yield "codes", multiclass.OutputCodeClassifier(logistic(), random_state=0), (X, THREE), {}
    yield (
        "multi-output",
        multioutput.MultiOutputClassifier(tree.DecisionTreeClassifier(max_depth=3)),
        (X, np.c_[CLASSES, THREE]),
        {},
    )
    yield "chain", multioutput.ClassifierChain(logistic()), (X, np.c_[CLASSES, 1 - CLASSES]), {}
    for solver in ("lbfgs", "adam"):
        yield (
            f"mlp-{solver}",
            neural_network.MLPClassifier((5,), solver=solver, max_iter=20, random_state=0),
            (X, THREE),
            {},
        )
    yield (
        "mlp-stopping",
        neural_network.MLPClassifier((5,), early_stopping=True, max_iter=20, random_state=0),
        (X, CLASSES),
        {},
    )
    yield "mlp-regressor", neural_network.MLPRegressor((5,), max_iter=20, random_state=0), (X, TARGET), {}
    for covariance in ("full", "diag"):
        yield f"mixture-{covariance}", mixture.GaussianMixture(2, covariance_type=covariance, random_state=0), (X,), {}
    for solver in ("svd", "lsqr"):
        yield f"lda-{solver}", discriminant_analysis.LinearDiscriminantAnalysis(solver=solver), (X, THREE), {}
    yield "qda", discriminant_analysis.QuadraticDiscriminantAnalysis(), (X, CLASSES), {}
    yield "isotonic", isotonic.IsotonicRegression(out_of_bounds="clip"), (X[:, 0], TARGET), {}
    yield "ridge-kernel", kernel_ridge.KernelRidge(kernel="rbf"), (X, TARGET), {}
    yield (
        "nystroem",
        pipeline.make_pipeline(kernel_approximation.Nystroem(n_components=5, random_state=0), logistic()),
        (X, CLASSES),
        {},
    )
    yield (
        "self-training",
        semi_supervised.SelfTrainingClassifier(logistic()),
        (X, np.where(np.arange(ROWS) % 4, CLASSES, -1)),
        {},
    )
    for kind in (linear_model.PoissonRegressor, linear_model.GammaRegressor, linear_model.TweedieRegressor):
        yield f"{kind.__name__}-seeded", kind(max_iter=50), (X, TARGET), {}
    yield "ransac", linear_model.RANSACRegressor(random_state=0), (X, TARGET), {}


def inner_parts():
    """Yield estimators for the parts inside of them: splitters, kernels, distances, losses, optimizers."""
    logistic = linear_model.LogisticRegression
    for splitter in (
        model_selection.KFold(2),
        model_selection.StratifiedKFold(2, shuffle=True, random_state=0),
        model_selection.RepeatedKFold(n_splits=2, n_repeats=1, random_state=0),
        model_selection.RepeatedStratifiedKFold(n_splits=2, n_repeats=1, random_state=0),
        model_selection.ShuffleSplit(2, random_state=0),
        model_selection.StratifiedShuffleSplit(2, random_state=0),
        model_selection.TimeSeriesSplit(2),
    ):
        search = model_selection.GridSearchCV(logistic(), {"C": [0.1, 1]}, cv=splitter)
        yield f"grid-{type(splitter).__name__}", search, (X, CLASSES), {}
    for kernel in ("Matern", "RationalQuadratic", "DotProduct", "ExpSineSquared"):
        made_kernel = getattr(gaussian_process.kernels, kernel)() + gaussian_process.kernels.WhiteKernel()
        yield f"gaussian-process-{kernel}", gaussian_process.GaussianProcessRegressor(made_kernel), (X, TARGET), {}
    for metric in ("euclidean", "chebyshev", "canberra", "braycurtis"):
        near = neighbors.KNeighborsClassifier(3, algorithm="ball_tree", metric=metric)
        yield f"neighbours-{metric}", near, (X, THREE), {}
    yield "neighbours-weighted", neighbors.KNeighborsRegressor(3, weights="distance", p=1), (X, TARGET), {}
    sparse = scipy.sparse.csr_matrix(X)
    yield "neighbours-sparse", neighbors.KNeighborsClassifier(3), (sparse, THREE), {}
    yield "svr-sparse", svm.SVR(), (sparse, TARGET), {}
    yield "outliers-svm", svm.OneClassSVM(), (X,), {}
    for loss in ("huber", "epsilon_insensitive", "squared_epsilon_insensitive"):
        yield f"sgd-regressor-{loss}", linear_model.SGDRegressor(loss=loss, random_state=0), (X, TARGET), {}
    descent = neural_network.MLPClassifier((5,), solver="sgd", max_iter=20, random_state=0)
    yield "mlp-sgd", descent, (X, THREE), {}
    if VERSION >= (1, 6):
        frozen = importlib.import_module("sklearn.frozen").FrozenEstimator(logistic().fit(X, CLASSES))
        yield "calibrated-frozen", calibration.CalibratedClassifierCV(frozen), (X, CLASSES), {}
    if VERSION >= (1, 8):
        scaled = calibration.CalibratedClassifierCV(logistic(), method="temperature", cv=2)
        yield "calibrated-temperature", scaled, (X, CLASSES), {}
    for power in (0, 1, 1.5, 2):
        yield f"tweedie-{power}", linear_model.TweedieRegressor(power=power, max_iter=50), (X, TARGET), {}
    elastic = linear_model.LogisticRegression(penalty="l2", class_weight="balanced", C=0.5, warm_start=True)
    yield "logistic-balanced", elastic, (X, np.array(["no", "yes"])[CLASSES]), {}
    forest = ensemble.RandomForestClassifier(4, criterion="entropy", max_features=None, bootstrap=False, random_state=0)
    yield "forest-entropy", forest, (X, np.array(["a", "b", "c"])[THREE]), {}
    encoded = pipeline.make_pipeline(preprocessing.OneHotEncoder(handle_unknown="ignore"), svm.SVC(probability=True))
    yield "one-hot-svc", encoded, (FRAME[["city", "size"]], CLASSES), {}
    scaled = pipeline.make_pipeline(preprocessing.RobustScaler(), preprocessing.Normalizer(), svm.SVR())
    yield "scaled-svr", scaled, (X, TARGET), {}


SKIPPED = {"SparseCoder", "FrozenEstimator", "CheckingClassifier"}
REQUIRED = {
    "ClassifierChain": lambda kind: kind(linear_model.LogisticRegression()),
    "RegressorChain": lambda kind: kind(linear_model.Ridge()),
    "ColumnTransformer": lambda kind: kind([("s", preprocessing.StandardScaler(), [0, 1])]),
    "FeatureUnion": lambda kind: kind([("s", preprocessing.StandardScaler())]),
    "Pipeline": lambda kind: kind([("s", preprocessing.StandardScaler()), ("m", linear_model.Ridge())]),
    "GridSearchCV": lambda kind: kind(linear_model.Ridge(), {"alpha": [1, 2]}, cv=2),
    "HalvingGridSearchCV": lambda kind: kind(linear_model.Ridge(), {"alpha": [1, 2]}, cv=2),
    "RandomizedSearchCV": lambda kind: kind(linear_model.Ridge(), {"alpha": [1, 2]}, n_iter=2, cv=2),
    "HalvingRandomSearchCV": lambda kind: kind(linear_model.Ridge(), {"alpha": [1, 2]}, cv=2),
    "VotingClassifier": lambda kind: kind([("m", linear_model.LogisticRegression())]),
    "StackingClassifier": lambda kind: kind([("m", linear_model.LogisticRegression())], cv=2),
    "VotingRegressor": lambda kind: kind([("m", linear_model.Ridge())]),
    "StackingRegressor": lambda kind: kind([("m", linear_model.Ridge())], cv=2),
    "SelectFromModel": lambda kind: kind(tree.DecisionTreeClassifier()),
    "RFE": lambda kind: kind(linear_model.LogisticRegression()),
    "RFECV": lambda kind: kind(linear_model.LogisticRegression(), cv=2),
    "SequentialFeatureSelector": lambda kind: kind(linear_model.LogisticRegression(), cv=2, n_features_to_select=2),
    "MultiOutputRegressor": lambda kind: kind(linear_model.Ridge()),
    "SelfTrainingClassifier": lambda kind: kind(linear_model.LogisticRegression()),
}
SETTINGS = {
    "n_estimators": 4, "max_iter": 20, "random_state": 0, "cv": 2, "n_components": 2, "n_clusters": 2, "n_init": 1,
    "n_quantiles": 10,
}  # fmt: skip
ATTEMPTS = (
    (X, CLASSES), (X, TARGET), (X,), (TEXTS,), (X, np.c_[CLASSES, 1 - CLASSES]), (RECORDS,), (CLASSES,),
    (X[:, 0], TARGET), (X @ X.T, CLASSES),
)  # fmt: skip


def plain():
    """Yield every public estimator of the version."""
    for name, kind in all_estimators():
        if name in SKIPPED or name.startswith("_"):
            continue
        if name in REQUIRED:
            plain_one = REQUIRED[name](kind)
        else:
            try:
                plain_one = kind()
            except TypeError:
                plain_one = kind(linear_model.LogisticRegression())
        known = plain_one.get_params(deep=False)
        plain_one.set_params(**{key: value for key, value in SETTINGS.items() if key in known})
        for arguments in ATTEMPTS:
            try:
                sklearn.base.clone(plain_one).fit(*arguments)
            except Exception:
                continue
            yield name, plain_one, arguments, {}
            break
        else:
            print("fits nothing:", name)


def asked(inputs):
    """Return the first rows of the inputs."""
    return inputs.iloc[:ASKED] if isinstance(inputs, pd.DataFrame) else inputs[:ASKED]


def as_json(value):
    """Return rows or answers as JSON values, exactly."""
    if isinstance(value, pd.DataFrame):
        return {"frame": {name: as_json(value[name].to_numpy())["list"] for name in value.columns}}
    if scipy.sparse.issparse(value):
        return {"sparse": value.toarray().tolist()}
    if isinstance(value, list) and len(value) and isinstance(value[0], np.ndarray):
        return {"arrays": [one.tolist() for one in value]}
    return {"list": value.tolist() if isinstance(value, np.ndarray) else list(value)}


def is_scaled_by_call(estimator):
    """Return whether the scores of one class against one are scaled by the largest of all rows asked (up to 0.20)."""
    kinds = (svm.SVC(), svm.NuSVC(), multiclass.OneVsOneClassifier(svm.SVC()))
    return isinstance(estimator, tuple(map(type, kinds))) and len(estimator.classes_) > 2


def answers(estimator, rows):
    """Return what each method says of the rows."""
    said = {}
    for method in METHODS:
        if method == "decision_function" and VERSION < (0, 21) and is_scaled_by_call(estimator):
            continue
        if hasattr(estimator, method):
            try:
                said[method] = as_json(getattr(estimator, method)(rows))
            except Exception as error:
                print("  no answer:", type(estimator).__name__, method, repr(error)[:80])
    return said


def write_skops(path, estimator):
    """Write a skops file, its parts compressed, which older versions of skops cannot do themselves."""
    import skops.io

    content = io.BytesIO(skops.io.dumps(estimator))
    small = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9)
    # Nested, because scikit-learn 0.20 and 0.21 need a Python that knows no parentheses here.
    with zipfile.ZipFile(content) as plain_zip, small:
        for member in plain_zip.namelist():
            small.writestr(member, plain_zip.read(member))


def write(folder, name, estimator, rows):
    """Write one estimator in both formats, and what it says."""
    joblib.dump(estimator, folder / (name + ".joblib"), compress=("xz", 9))
    formats = ["joblib"]
    try:
        write_skops(folder / (name + ".skops"), estimator)
        formats.append("skops")
    except Exception as error:
        print("  no skops:", name, repr(error)[:100])
    body = {
        "scikit-learn": sklearn.__version__,
        "formats": formats,
        "rows": as_json(rows),
        "answers": answers(estimator, rows),
    }
    (folder / (name + ".json")).write_text(json.dumps(body) + "\n")


def main():
    """Write what the command line asks for."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for source in (plain, chosen):
            for name, estimator, arguments, keywords in source():
                name = name if source is chosen else name + "-default"
                try:
                    estimator.fit(*arguments, **keywords)
                except Exception as error:
                    print("not fitted:", name, repr(error)[:150])
                    continue
                write(folder, name, estimator, asked(arguments[0]))
                written += 1
    print(sklearn.__version__, written, "written to", folder)


if __name__ == "__main__":
    main()
