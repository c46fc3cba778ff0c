"""Names that older library versions wrote, and their present names. This module imports nothing."""

from functools import cache

from models_registry.artifacts.boosters import names as boosters

_HERE = "models_registry.artifacts.formats.migrations.stand_ins"
REMOVED_OBJECT = f"{_HERE}.RemovedObject"
REMOVED_FUNCTION = f"{_HERE}.REMOVED_FUNCTION"
REMOVED_MAPPING = f"{_HERE}.RemovedMapping"
REMOVED_LIST = f"{_HERE}.RemovedList"
RESTORE_FUNCTION = f"{_HERE}.restore_function"
SKIPPED_SAMPLER = f"{_HERE}.SkippedSampler"
RESTORE_LOSS = f"{_HERE}.restore_loss"
STAND_INS = frozenset(
    {
        REMOVED_OBJECT,
        REMOVED_FUNCTION,
        REMOVED_MAPPING,
        REMOVED_LIST,
        RESTORE_FUNCTION,
        SKIPPED_SAMPLER,
        RESTORE_LOSS,
        *boosters.STAND_INS.values(),
    }
)

_LOSSES = "sklearn._loss._loss"
_SGD = "sklearn.linear_model._sgd_fast"
_DISTANCES = "sklearn.metrics._dist_metrics"

# Renamed modules: earlier name -> present name. scikit-learn 0.22 made them private
# (sklearn/_build_utils/deprecated_modules.py of 0.22).
MODULES: dict[str, str] = {
    **{
        f"sklearn.{package}.{old}": f"sklearn.{package}.{new}"
        for package, modules in {
            "cluster": {
                "affinity_propagation_": "_affinity_propagation", "bicluster": "_bicluster", "birch": "_birch",
                "dbscan_": "_dbscan", "hierarchical": "_agglomerative", "k_means_": "_kmeans",
                "mean_shift_": "_mean_shift", "optics_": "_optics", "spectral": "_spectral",
            },
            "covariance": {
                "elliptic_envelope": "_elliptic_envelope", "empirical_covariance_": "_empirical_covariance",
                "graph_lasso_": "_graph_lasso", "robust_covariance": "_robust_covariance",
                "shrunk_covariance_": "_shrunk_covariance",
            },
            "cross_decomposition": {"cca_": "_pls", "pls_": "_pls"},
            "decomposition": {
                "dict_learning": "_dict_learning", "factor_analysis": "_factor_analysis", "fastica_": "_fastica",
                "incremental_pca": "_incremental_pca", "kernel_pca": "_kernel_pca", "nmf": "_nmf",
                "online_lda": "_lda", "pca": "_pca", "sparse_pca": "_sparse_pca", "truncated_svd": "_truncated_svd",
            },
            "ensemble": {
                "bagging": "_bagging", "forest": "_forest", "gradient_boosting": "_gb", "iforest": "_iforest",
                "voting": "_voting", "voting_classifier": "_voting", "weight_boosting": "_weight_boosting",
            },
            "feature_extraction": {"dict_vectorizer": "_dict_vectorizer", "hashing": "_hash"},
            "feature_selection": {
                "from_model": "_from_model", "mutual_info_": "_mutual_info", "rfe": "_rfe",
                "univariate_selection": "_univariate_selection", "variance_threshold": "_variance_threshold",
            },
            "gaussian_process": {"gpc": "_gpc", "gpr": "_gpr"},
            "impute": {"_base": "_base"},
            "linear_model": {
                "base": "_base", "bayes": "_bayes", "coordinate_descent": "_coordinate_descent", "huber": "_huber",
                "least_angle": "_least_angle", "logistic": "_logistic", "omp": "_omp",
                "passive_aggressive": "_passive_aggressive", "perceptron": "_perceptron", "ransac": "_ransac",
                "ridge": "_ridge", "sgd_fast": "_sgd_fast", "stochastic_gradient": "_stochastic_gradient",
                "theil_sen": "_theil_sen",
            },
            "manifold": {
                "isomap": "_isomap", "locally_linear": "_locally_linear", "mds": "_mds",
                "spectral_embedding_": "_spectral_embedding", "t_sne": "_t_sne",
            },
            "metrics": {
                "classification": "_classification", "ranking": "_ranking", "regression": "_regression",
                "scorer": "_scorer",
            },
            "mixture": {"bayesian_mixture": "_bayesian_mixture", "gaussian_mixture": "_gaussian_mixture"},
            "neighbors": {
                "ball_tree": "_ball_tree", "classification": "_classification", "kd_tree": "_kd_tree",
                "kde": "_kde", "lof": "_lof", "nca": "_nca", "nearest_centroid": "_nearest_centroid",
                "regression": "_regression", "unsupervised": "_unsupervised",
            },
            "neural_network": {"multilayer_perceptron": "_multilayer_perceptron", "rbm": "_rbm"},
            "preprocessing": {"data": "_data", "label": "_label"},
            "semi_supervised": {"label_propagation": "_label_propagation"},
            "svm": {"classes": "_classes"},
            "tree": {"tree": "_classes"},
        }.items()
        for old, new in modules.items()
    },
    # scikit-learn 1.3 moved the distances (sklearn/metrics/_dist_metrics.pyx.tp).
    "sklearn.neighbors.dist_metrics": _DISTANCES,
    "sklearn.neighbors._dist_metrics": _DISTANCES,
    # The compiled losses of 1.5 to 1.8 stored only the last part of their module's name (sklearn/_loss/meson.build).
    "_loss": _LOSSES,
    # scipy 1.8 made its modules private (scipy/sparse/__init__.py).
    **{f"scipy.sparse.{kind}": f"scipy.sparse._{kind}" for kind in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")},
    # Pickle protocols 0 to 2 use Python 2's names for two modules (_compat_pickle.py).
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    # scikit-learn contained joblib until 0.22 (sklearn/externals/joblib).
    "sklearn.externals.joblib.numpy_pickle": "joblib.numpy_pickle",
}  # fmt: skip

# imbalanced-learn's samplers, by module in each version. They change the rows only in training; predictions skip them,
# so their code is not needed (imblearn/pipeline.py, _iter with filter_resample).
_PROTOTYPES = "prototype_selection"
_SAMPLERS: dict[str, dict[tuple[str, ...], tuple[str, ...]]] = {
    "over_sampling": {
        ("_adasyn", "adasyn"): ("ADASYN",),
        ("_random_over_sampler", "random_over_sampler"): ("RandomOverSampler",),
        ("_smote.base", "_smote", "smote"): ("SMOTE", "SMOTEN", "SMOTENC"),
        ("_smote.cluster", "_smote", "smote"): ("KMeansSMOTE",),
        ("_smote.filter", "_smote", "smote"): ("BorderlineSMOTE", "SVMSMOTE"),
    },
    "combine": {
        ("_smote_enn", "smote_enn"): ("SMOTEENN",),
        ("_smote_tomek", "smote_tomek"): ("SMOTETomek",),
    },
    "under_sampling": {
        (f"{one}{two}.{three}{name}",): classes
        for one, two in (("_", _PROTOTYPES), ("", _PROTOTYPES))
        for three in ("_", "")
        for name, classes in {
            "condensed_nearest_neighbour": ("CondensedNearestNeighbour",),
            "edited_nearest_neighbours": ("AllKNN", "EditedNearestNeighbours", "RepeatedEditedNearestNeighbours"),
            "instance_hardness_threshold": ("InstanceHardnessThreshold",),
            "nearmiss": ("NearMiss",),
            "neighbourhood_cleaning_rule": ("NeighbourhoodCleaningRule",),
            "one_sided_selection": ("OneSidedSelection",),
            "random_under_sampler": ("RandomUnderSampler",),
            "tomek_links": ("TomekLinks",),
        }.items()
    },
}

# Single names: name -> present name, or the stand-in of a removed one.
NAMES: dict[str, str] = {
    **{
        f"imblearn.{package}.{module}.{name}": SKIPPED_SAMPLER
        for package, by_module in _SAMPLERS.items()
        for modules, names in by_module.items()
        for module in modules
        for name in names
    },
    **{
        f"imblearn.under_sampling.{module}.ClusterCentroids": SKIPPED_SAMPLER
        for module in ("_prototype_generation._cluster_centroids", "prototype_generation.cluster_centroids")
    },
    # Without its samplers it predicts like scikit-learn's own pipeline (imblearn/pipeline.py).
    "imblearn.pipeline.Pipeline": "sklearn.pipeline.Pipeline",
    # They sample only in fit, and predict with inherited methods (imblearn/ensemble).
    **{
        f"imblearn.ensemble.{module}.{name}": inherited
        for modules, name, inherited in (
            (("_forest", "forest"), "BalancedRandomForestClassifier",
             "sklearn.ensemble._forest.RandomForestClassifier"),
            (("_bagging", "bagging"), "BalancedBaggingClassifier", "sklearn.ensemble._bagging.BaggingClassifier"),
            (("_easy_ensemble", "easy_ensemble"), "EasyEnsembleClassifier",
             "sklearn.ensemble._bagging.BaggingClassifier"),
        )
        for module in modules
    },
    **boosters.STAND_INS,
    **boosters.LABEL_ENCODERS,
    "builtins.long": "builtins.int",
    "builtins.unicode": "builtins.str",
    "builtins.xrange": "builtins.range",
    # numpy 1.17 moved it (numpy/random/_pickle.py), and 1.18 names its functions on arrays themselves.
    "numpy.random.__RandomState_ctor": "numpy.random._pickle.__randomstate_ctor",
    "numpy.core._ufunc_reconstruct": RESTORE_FUNCTION,
    # 0.20 stored a search's results in a dictionary that warned (sklearn/utils/deprecation.py of 0.20).
    "sklearn.utils.deprecation.DeprecationDict": REMOVED_MAPPING,
    "builtins.FutureWarning": REMOVED_OBJECT,
    # 0.22 removed it (sklearn/preprocessing/imputation.py of 0.21).
    "sklearn.preprocessing.imputation.Imputer": "sklearn.impute._base.SimpleImputer",
    # 0.21 starts boosting with a DummyClassifier or a DummyRegressor (sklearn/ensemble/gradient_boosting.py of 0.20).
    **{
        f"sklearn.ensemble._gb.{name}Estimator": REMOVED_OBJECT
        for name in ("LogOdds", "Mean", "PriorProbability", "Quantile", "ScaledLogOdds", "Zero")
    },
    # 0.22 split sklearn.impute into modules.
    "sklearn.impute.SimpleImputer": "sklearn.impute._base.SimpleImputer",
    "sklearn.impute.MissingIndicator": "sklearn.impute._base.MissingIndicator",
    # 1.4 replaced the losses of gradient boosting by those of sklearn/_loss (sklearn/ensemble/_gb_losses.py of 1.3).
    **{
        f"sklearn.ensemble.{module}.{name}": REMOVED_OBJECT
        for module in ("_gb_losses", "_gb")
        for name in (
            "BinomialDeviance", "MultinomialDeviance", "ExponentialLoss", "LeastSquaresError", "LeastAbsoluteError",
            "HuberLossFunction", "QuantileLossFunction",
        )
    },
    # 1.1 replaced those of histogram boosting (sklearn/ensemble/_hist_gradient_boosting/loss.py of 1.0).
    **{
        f"sklearn.ensemble._hist_gradient_boosting.loss.{name}": REMOVED_OBJECT
        for name in ("LeastSquares", "LeastAbsoluteDeviation", "Poisson", "BinaryCrossEntropy",
                     "CategoricalCrossEntropy")
    },
    # 1.6 replaced losses of stochastic gradient descent (sklearn/linear_model/_sgd_fast.pyx.tp of 1.5).
    **{f"{_SGD}.{name}": REMOVED_OBJECT for name in ("Log", "SquaredLoss", "Huber")},
    # 1.3 introduced a class for the scorer that passes an estimator's own score on; 1.4 merged three classes into one.
    **{
        f"sklearn.metrics._scorer.{name}": REMOVED_OBJECT
        for name in ("_PredictScorer", "_ProbaScorer", "_ThresholdScorer")
    },
    "sklearn.metrics._scorer._passthrough_scorer": REMOVED_FUNCTION,
    # Selected a search's best candidate in training (sklearn/model_selection/_search_successive_halving.py).
    "sklearn.model_selection._search_successive_halving._refit_callable": REMOVED_FUNCTION,
    # 1.1 replaced the distributions and links of generalized linear models by losses (sklearn/linear_model/_glm).
    **{
        f"sklearn._loss.glm_distribution.{name}": REMOVED_OBJECT
        for name in ("DistributionBoundary", "ExponentialDispersionModel", "GammaDistribution",
                     "InverseGaussianDistribution", "NormalDistribution", "PoissonDistribution", "TweedieDistribution")
    },
    **{
        f"sklearn.linear_model._glm.link.{name}": REMOVED_OBJECT
        for name in ("HalfLogitLink", "IdentityLink", "Interval", "LogLink", "LogitLink")
    },
    # 1.0 moved it (sklearn/preprocessing/_polynomial.py).
    "sklearn.preprocessing._data.PolynomialFeatures": "sklearn.preprocessing._polynomial.PolynomialFeatures",
    # 0.24 moved it (sklearn/cross_decomposition/_pls.py).
    "sklearn.cross_decomposition._cca.CCA": "sklearn.cross_decomposition._pls.CCA",
    # 1.2 moved it (sklearn/utils/_bunch.py).
    "sklearn.utils.Bunch": "sklearn.utils._bunch.Bunch",
    # 1.6 moved it (sklearn/metrics/_scorer.py).
    "sklearn.model_selection._classification_threshold._CurveScorer": "sklearn.metrics._scorer._CurveScorer",
    # pandas 3 names its public classes by their public modules; pandas 2 removed the numeric indexes.
    **{f"pandas.core.indexes.numeric.{kind}Index": "pandas.Index" for kind in ("Int64", "UInt64", "Float64")},
    "pandas.core.indexes.base.Index": "pandas.Index",
    "pandas.core.indexes.range.RangeIndex": "pandas.RangeIndex",
    "pandas.core.arrays.string_.StringDtype": "pandas.StringDtype",
    "pandas.core.arrays.string_.StringArray": "pandas.arrays.StringArray",
    "pandas.core.arrays.string_.StringArrayNumpySemantics": "pandas.arrays.StringArray",
    "pandas._libs.missing.NA": "pandas.NA",
    "numpy.ma.core.MaskedArray": "numpy.ma.MaskedArray",
    # 1.2 removed a dictionary with deprecated keys (sklearn/covariance/_graph_lasso.py of 1.1).
    "sklearn.covariance._graph_lasso._DictWithDeprecatedKeys": REMOVED_MAPPING,
    # 1.5 and 1.6 stored the remaining columns in a list class (sklearn/compose/_column_transformer.py).
    "sklearn.compose._column_transformer._RemainderColsList": REMOVED_LIST,
    # Up to 1.5, a Cython function rebuilt a loss.
    **{
        f"{_LOSSES}.__pyx_unpickle_Cy{name}": RESTORE_LOSS
        for name in (
            "AbsoluteError", "ExponentialLoss", "HalfBinomialLoss", "HalfGammaLoss", "HalfMultinomialLoss",
            "HalfPoissonLoss", "HalfSquaredError", "HalfTweedieLoss", "HalfTweedieLossIdentity", "HuberLoss",
            "PinballLoss",
        )
    },
    # 1.3 added the float width to the name (sklearn/metrics/_dist_metrics.pyx.tp).
    **{
        f"{_DISTANCES}.{name}": f"{_DISTANCES}.{name}64"
        for name in (
            "BrayCurtisDistance", "CanberraDistance", "ChebyshevDistance", "DiceDistance", "EuclideanDistance",
            "HammingDistance", "HaversineDistance", "JaccardDistance", "KulsinskiDistance", "MahalanobisDistance",
            "ManhattanDistance", "MatchingDistance", "MinkowskiDistance", "RogersTanimotoDistance",
            "RussellRaoDistance", "SEuclideanDistance", "SokalMichenerDistance", "SokalSneathDistance",
        )
    },
}  # fmt: skip
# The module of numpy's ufuncs before numpy 2.2.
_UFUNC_MODULES = frozenset(
    {"numpy.core._multiarray_umath", "numpy._core._multiarray_umath", "numpy.core.umath", "numpy._core.umath"}
)


@cache
def current_name(module: str, name: str) -> tuple[str, str]:
    """Return the installed libraries' module and name for `module.name` in a file."""
    if module in _UFUNC_MODULES:
        return "numpy", name
    full = f"{MODULES.get(module, module)}.{name}"
    full = NAMES.get(full, full)
    found, _, last = full.rpartition(".")
    # A dotted path is never created here; such a name stays unchanged, and is refused.
    return (module, name) if "." in name else (found, last)
