"""Changes of fitted states in scikit-learn 0.21 to 0.24."""

from __future__ import annotations

from models_registry.artifacts.formats.migrations import ensembles, linear, others, preprocessing, trees
from models_registry.artifacts.formats.migrations.change import Change, adds, computes

_GRADIENT = "sklearn.ensemble._gb.BaseGradientBoosting"
_HISTOGRAM = "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting"

CHANGES_BEFORE_1_0: tuple[Change, ...] = (
    Change(
        (0, 21),
        (_GRADIENT,),
        "the first scores come from sklearn.dummy",
        "sklearn/ensemble/gradient_boosting.py of 0.20, MeanEstimator and the like",
        ensembles.first_scores,
    ),
    Change(
        (0, 21),
        ("sklearn.discriminant_analysis.LinearDiscriminantAnalysis",),
        "probabilities of several classes are a softmax",
        "sklearn/discriminant_analysis.py, predict_proba",
        linear.independent_probabilities,
    ),
    Change(
        (0, 21),
        ("sklearn.preprocessing._data.QuantileTransformer",),
        "uniform answers reach 0 and 1",
        "sklearn/preprocessing/data.py, _transform_col",
        preprocessing.clipped_quantiles,
    ),
    Change(
        (0, 21),
        ("sklearn.impute._base.MissingIndicator",),
        "no column is answered where none had a missing value",
        "sklearn/impute.py, MissingIndicator.transform",
        preprocessing.indicated_columns,
    ),
    Change(
        (0, 22),
        ("sklearn.impute._base.SimpleImputer",),
        "Imputer is gone",
        "sklearn/preprocessing/imputation.py of 0.21",
        preprocessing.mean_imputer,
    ),
    Change(
        (0, 22),
        ("sklearn.ensemble._iforest.IsolationForest",),
        'behaviour="old" is gone',
        "sklearn/ensemble/iforest.py of 0.21, predict",
        ensembles.isolation_threshold,
    ),
    Change(
        (0, 22),
        ("sklearn.neighbors._base.NeighborsBase",),
        "the number of rows is an attribute",
        "sklearn/neighbors/_base.py, _fit",
        computes("n_samples_fit_", others.number_of_neighbours, fitted_by="_fit_X"),
    ),
    Change(
        (0, 22),
        ("sklearn.neighbors._classification.RadiusNeighborsClassifier",),
        "the label of rows without neighbours is noted",
        "sklearn/neighbors/_classification.py, fit",
        computes("outlier_label_", others.label_of_outliers, fitted_by="_fit_X"),
    ),
    Change(
        (0, 22),
        ("sklearn.decomposition._sparse_pca._BaseSparsePCA",),
        "rows are always centred",
        "sklearn/decomposition/sparse_pca.py of 0.21, transform",
        others.uncentred_components,
    ),
    Change(
        (0, 22),
        ("sklearn.svm._base.BaseLibSVM",),
        "the numbers of support vectors and the calibration are private",
        "sklearn/svm/_base.py, _dense_fit",
        linear.private_support,
    ),
    Change(
        (0, 22),
        ("sklearn.svm._base.BaseLibSVM",),
        "the support vectors of a regression are counted",
        "sklearn/svm/_libsvm.pyx, fit",
        linear.counted_support,
    ),
    Change(
        (0, 22),
        ("sklearn.preprocessing._encoders.OneHotEncoder",),
        "integers are categories like all others",
        "sklearn/preprocessing/_encoders.py, _handle_deprecations of 0.21",
        preprocessing.newest_encoder,
    ),
    Change(
        (0, 23),
        ("sklearn.cluster._kmeans._BaseKMeans",),
        "the number of threads is an attribute",
        "sklearn/cluster/_kmeans.py, fit",
        adds("_n_threads", 1),
    ),
    Change(
        (0, 24),
        ("sklearn.cross_decomposition._pls._PLS", "sklearn.cross_decomposition._pls.PLSSVD"),
        "centres and scales are private",
        "sklearn/cross_decomposition/_pls.py, fit",
        linear.private_centres,
    ),
    Change(
        (0, 23),
        ("sklearn.gaussian_process._gpr.GaussianProcessRegressor",),
        "targets are scaled, not only centred",
        "sklearn/gaussian_process/_gpr.py, fit",
        computes("_y_train_std", others.no_scale, fitted_by="X_train_"),
    ),
    Change(
        (0, 24),
        ("sklearn.impute._base.MissingIndicator",),
        "the mask may be given",
        "sklearn/impute/_base.py, MissingIndicator._fit",
        adds("_precomputed", False),
    ),
    Change(
        (0, 24),
        ("sklearn.impute._base._BaseImputer",),
        "the indicator takes the imputer's mask",
        "sklearn/impute/_base.py, _BaseImputer._transform_indicator",
        preprocessing.mask_of_imputer,
    ),
    Change(
        (0, 23),
        ("sklearn.impute._iterative.IterativeImputer",),
        "each column has bounds",
        "sklearn/impute/_iterative.py, _validate_limit",
        preprocessing.bounds_by_column,
    ),
    Change(
        (0, 24),
        ("sklearn.calibration._CalibratedClassifier",),
        "calibrators and classes are parameters",
        "sklearn/calibration.py, _CalibratedClassifier",
        others.calibrated_member,
    ),
    Change(
        (0, 24),
        ("sklearn.isotonic.IsotonicRegression",),
        "the thresholds are public",
        "sklearn/isotonic.py, fit",
        others.interpolation,
    ),
    Change(
        (0, 24),
        ("sklearn.dummy.DummyClassifier",),
        "the default strategy has a name",
        "sklearn/dummy.py, DummyClassifier.fit of 0.23",
        others.default_strategy,
    ),
    Change(
        (0, 24),
        ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",),
        "nodes may split by categories",
        "sklearn/ensemble/_hist_gradient_boosting/common.pyx, PREDICTOR_RECORD_DTYPE",
        trees.histogram_nodes,
    ),
    Change(
        (0, 24),
        (_HISTOGRAM,),
        "the bins are private, and may be of categories",
        "sklearn/ensemble/_hist_gradient_boosting/gradient_boosting.py, fit",
        trees.histogram_bins,
    ),
    Change(
        (0, 24),
        ("sklearn.base.BaseEstimator",),
        "every estimator tells how many features it takes",
        "sklearn/base.py of 0.24, _check_n_features",
        others.number_of_features,
    ),
)
