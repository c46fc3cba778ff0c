# ruff: noqa: PLR0912
"""Linear models, neighbours, calibration, searches and all other estimators that change between versions."""

import importlib

import numpy as np
import scipy.sparse
from installed_sklearn import (
    VERSION,
    calibration,
    cluster,
    compose,
    decomposition,
    discriminant_analysis,
    ensemble,
    feature_extraction,
    feature_selection,
    gaussian_process,
    isotonic,
    kernel_approximation,
    kernel_ridge,
    linear_model,
    metrics,
    mixture,
    model_selection,
    multiclass,
    multioutput,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    semi_supervised,
    svm,
    tree,
)
from training_data import CLASSES, FRAME, ROWS, TARGET, TEXTS, THREE, X


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
