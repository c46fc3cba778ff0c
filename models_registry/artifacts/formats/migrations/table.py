"""What scikit-learn changed in the fitted states of its estimators, version by version."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from models_registry.artifacts.formats.migrations import ensembles, linear, others, preprocessing, samplers, trees
from models_registry.artifacts.formats.migrations.change import UNKNOWN, Change, Written, adds, computes, renames

_GRADIENT = "sklearn.ensemble._gb.BaseGradientBoosting"
_HISTOGRAM = "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting"
_CHAINS = "sklearn.multioutput._BaseChain"

# After every other change: for each version.
NEWEST = (sys.maxsize, 0)

CHANGES: tuple[Change, ...] = (
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
        (1, 0),
        ("sklearn.dummy.DummyClassifier", "sklearn.dummy.DummyRegressor"),
        "n_features_in_ is no longer None",
        "sklearn/dummy.py, fit of 0.24",
        others.without_number_of_features,
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
        (1, 0),
        ("sklearn.naive_bayes.GaussianNB",),
        "sigma_ is called var_",
        "sklearn/naive_bayes.py, GaussianNB._partial_fit",
        renames("sigma_", "var_"),
    ),
    Change(
        (1, 0),
        ("sklearn.decomposition._kernel_pca.KernelPCA",),
        "lambdas_ is called eigenvalues_",
        "sklearn/decomposition/_kernel_pca.py, _fit_transform",
        renames("lambdas_", "eigenvalues_"),
    ),
    Change(
        (1, 0),
        ("sklearn.decomposition._kernel_pca.KernelPCA",),
        "alphas_ is called eigenvectors_",
        "sklearn/decomposition/_kernel_pca.py, _fit_transform",
        renames("alphas_", "eigenvectors_"),
    ),
    Change(
        (1, 0),
        ("sklearn.decomposition._nmf._BaseNMF",),
        "alpha is split into alpha_W and alpha_H, which count the features",
        "sklearn/decomposition/_nmf.py, _compute_regularization",
        others.penalty_of_transform,
    ),
    Change(
        (1, 0),
        ("sklearn.preprocessing._polynomial.PolynomialFeatures",),
        "the powers have a lower bound",
        "sklearn/preprocessing/_polynomial.py, PolynomialFeatures.fit",
        preprocessing.powers_of_inputs,
    ),
    Change(
        (1, 0),
        ("sklearn.compose._column_transformer.ColumnTransformer",),
        "columns are noted by position, and by name",
        "sklearn/compose/_column_transformer.py, _validate_column_callables",
        preprocessing.input_columns,
    ),
    Change(
        (1, 0),
        ("sklearn.impute._knn.KNNImputer",),
        "columns without any value are noted",
        "sklearn/impute/_knn.py, fit",
        computes("_valid_mask", preprocessing.columns_with_values, fitted_by="_mask_fit_X"),
    ),
    Change(
        (1, 0),
        ("sklearn.feature_extraction.text.TfidfTransformer",),
        "fitting without use_idf leaves attributes",
        "sklearn/feature_extraction/text.py, TfidfTransformer.fit",
        preprocessing.frequencies_alone,
    ),
    Change(
        (1, 1),
        ("sklearn.linear_model._glm.glm._GeneralizedLinearRegressor",),
        "the losses come from sklearn/_loss",
        "sklearn/linear_model/_glm/glm.py, fit",
        linear.generalized_linear_loss,
    ),
    Change(
        (1, 1),
        ("sklearn.linear_model._ransac.RANSACRegressor",),
        "base_estimator is called estimator",
        "doc/whats_new/v1.1.rst",
        renames("base_estimator", "estimator"),
    ),
    Change(
        (1, 1),
        ("sklearn.impute._base.SimpleImputer",),
        "the type of the rows is an attribute",
        "sklearn/impute/_base.py, SimpleImputer._validate_input",
        computes("_fit_dtype", preprocessing.input_types, fitted_by="statistics_"),
    ),
    Change(
        (1, 1),
        ("sklearn.preprocessing._encoders.OneHotEncoder",),
        "the widths of the columns are noted",
        "sklearn/preprocessing/_encoders.py, OneHotEncoder._compute_n_features_outs",
        computes("_n_features_outs", preprocessing.widths_of_encoded, fitted_by="categories_"),
    ),
    Change(
        (1, 1),
        (_HISTOGRAM,),
        "the first scores of several classes are a row",
        "sklearn/ensemble/_hist_gradient_boosting/gradient_boosting.py, fit",
        ensembles.baseline_of_classes,
    ),
    Change(
        UNKNOWN,
        ("sklearn.pipeline.Pipeline",),
        "imbalanced-learn's pipeline passes its samplers by",
        "imblearn/pipeline.py of 0.14, _iter",
        samplers.pass_samplers_by,
    ),
    Change(
        UNKNOWN,
        ("sklearn.ensemble._forest.RandomForestClassifier", "sklearn.ensemble._bagging.BaggingClassifier"),
        "imbalanced-learn's ensembles sample while they are fitted",
        "imblearn/ensemble of 0.14",
        samplers.forget_samplers,
    ),
    Change(
        (0, 24),
        ("sklearn.base.BaseEstimator",),
        "every estimator tells how many features it takes",
        "sklearn/base.py of 0.24, _check_n_features",
        others.number_of_features,
    ),
    Change(
        (1, 1),
        (_GRADIENT, _HISTOGRAM, "sklearn.linear_model._stochastic_gradient.BaseSGD"),
        "the losses have other names",
        "doc/whats_new/v1.1.rst",
        ensembles.renamed_losses,
    ),
    Change(
        (1, 1),
        (_HISTOGRAM,),
        "the losses come from sklearn/_loss",
        "sklearn/ensemble/_hist_gradient_boosting/gradient_boosting.py, fit",
        ensembles.histogram_boosting_loss,
    ),
    Change(
        (1, 2),
        (
            "sklearn.calibration.CalibratedClassifierCV",
            "sklearn.calibration._CalibratedClassifier",
            "sklearn.ensemble._base.BaseEnsemble",
        ),
        "base_estimator is called estimator",
        "doc/whats_new/v1.2.rst",
        renames("base_estimator", "estimator"),
    ),
    Change(
        (1, 2),
        ("sklearn.ensemble._base.BaseEnsemble",),
        "base_estimator_ is called estimator_",
        "sklearn/ensemble/_base.py",
        renames("base_estimator_", "estimator_"),
    ),
    Change(
        (1, 2),
        ("sklearn.impute._base._BaseImputer", "sklearn.impute._iterative.IterativeImputer"),
        "imputers may keep empty columns",
        "sklearn/impute/_base.py",
        adds("keep_empty_features", False),
    ),
    Change(
        (1, 2),
        ("sklearn.preprocessing._encoders.OneHotEncoder",),
        "sparse is called sparse_output",
        "sklearn/preprocessing/_encoders.py",
        renames("sparse", "sparse_output"),
    ),
    Change(
        (1, 2),
        ("sklearn.preprocessing._encoders.OneHotEncoder",),
        "drops are counted without rare categories",
        "sklearn/preprocessing/_encoders.py, _set_drop_idx",
        computes("_drop_idx_after_grouping", preprocessing.drop_after_grouping, fitted_by="categories_"),
    ),
    Change(
        (1, 1),
        ("sklearn.preprocessing._encoders.OneHotEncoder",),
        "rare categories may be grouped",
        "sklearn/preprocessing/_encoders.py, _check_infrequent_enabled",
        adds("_infrequent_enabled", False),
    ),
    Change(
        (1, 2),
        ("sklearn.neighbors._kde.KernelDensity",),
        "the bandwidth may be estimated",
        "sklearn/neighbors/_kde.py, fit",
        computes("bandwidth_", others.bandwidth, fitted_by="tree_"),
    ),
    Change(
        (1, 2),
        ("sklearn.preprocessing._polynomial.SplineTransformer",),
        "the answer may be sparse",
        "sklearn/preprocessing/_polynomial.py",
        adds("sparse_output", False),
    ),
    Change(
        (1, 2),
        ("sklearn.ensemble._stacking.StackingClassifier",),
        "the labels' encoder has another name",
        "sklearn/ensemble/_stacking.py, fit",
        ensembles.stacking_labels,
    ),
    Change(
        (1, 3),
        ("sklearn.tree._tree.Tree",),
        "a node says where missing values go",
        "sklearn/tree/_tree.pyx, NODE_DTYPE",
        trees.nodes_without_missing_values,
    ),
    Change(
        (1, 3),
        ("sklearn.preprocessing._encoders.OrdinalEncoder",),
        "rare categories may be grouped",
        "sklearn/preprocessing/_encoders.py, OrdinalEncoder.fit",
        adds("_infrequent_enabled", False),
    ),
    Change(
        (1, 3),
        ("sklearn.preprocessing._encoders.OrdinalEncoder",),
        "missing values are found at fit",
        "sklearn/preprocessing/_encoders.py, OrdinalEncoder.fit",
        computes("_missing_indices", preprocessing.indices_of_missing, fitted_by="categories_"),
    ),
    Change(
        (1, 3),
        ("sklearn.decomposition._kernel_pca.KernelPCA",),
        "the kernel's gamma is an attribute",
        "sklearn/decomposition/_kernel_pca.py, fit",
        computes("gamma_", others.kernel_gamma, fitted_by="X_fit_"),
    ),
    Change(
        (1, 3),
        ("sklearn.ensemble._iforest.IsolationForest",),
        "the lengths of paths are kept",
        "sklearn/ensemble/_iforest.py, _fit",
        ensembles.isolation_paths,
    ),
    Change(
        (1, 4),
        ("sklearn.tree._classes.DecisionTreeClassifier",),
        "nodes hold fractions, and counts before",
        "sklearn/tree/_criterion.pyx, ClassificationCriterion.node_value",
        trees.counts_to_fractions,
    ),
    Change(
        (1, 4),
        (_GRADIENT,),
        "the losses come from sklearn/_loss",
        "sklearn/ensemble/_gb.py, fit",
        ensembles.gradient_boosting_loss,
    ),
    Change(
        (1, 4),
        (_HISTOGRAM,),
        "categories are encoded by a transformer inside",
        "sklearn/ensemble/_hist_gradient_boosting/gradient_boosting.py, _preprocess_X",
        adds("_preprocessor", None),
    ),
    Change(
        (1, 4),
        ("sklearn.compose._column_transformer.ColumnTransformer",),
        "passthrough is a fitted transformer",
        "sklearn/compose/_column_transformer.py, _update_fitted_transformers",
        preprocessing.fitted_passthrough,
    ),
    Change(
        (1, 5),
        ("sklearn.feature_extraction.text.TfidfTransformer",),
        "frequencies are a vector, no matrix",
        "sklearn/feature_extraction/text.py, TfidfTransformer.fit",
        preprocessing.inverse_document_frequencies,
    ),
    Change(
        (1, 5),
        ("sklearn.cross_decomposition._pls._PLS",),
        "coefficients are for rows that are not scaled",
        "sklearn/cross_decomposition/_pls.py, fit and predict",
        linear.scaled_coefficients,
    ),
    Change(
        (1, 6),
        ("sklearn.ensemble._weight_boosting.AdaBoostClassifier",),
        "SAMME.R is gone, and SAMME counts otherwise",
        "sklearn/ensemble/_weight_boosting.py, decision_function",
        ensembles.adaptive_scores,
    ),
    Change(
        (1, 6),
        ("sklearn.impute._iterative.IterativeImputer",),
        "empty columns are noted",
        "sklearn/impute/_iterative.py, _initial_imputation",
        computes("_is_empty_feature", preprocessing.empty_features, fitted_by="initial_imputer_"),
    ),
    Change(
        (1, 6),
        ("sklearn.neighbors._nearest_centroid.NearestCentroid",),
        "classes have prior probabilities",
        "sklearn/neighbors/_nearest_centroid.py, predict",
        computes("class_prior_", others.equal_priors, fitted_by="classes_"),
    ),
    Change(
        (1, 6),
        ("sklearn.semi_supervised._self_training.SelfTrainingClassifier",),
        "base_estimator is called estimator",
        "doc/whats_new/v1.6.rst",
        renames("base_estimator", "estimator"),
    ),
    Change(
        (1, 6),
        ("sklearn.semi_supervised._self_training.SelfTrainingClassifier",),
        "base_estimator_ is called estimator_",
        "doc/whats_new/v1.6.rst",
        renames("base_estimator_", "estimator_"),
    ),
    Change(
        (1, 6),
        ("sklearn.preprocessing._function_transformer.FunctionTransformer",),
        "an argument of check_array has another name",
        "sklearn/utils/validation.py",
        preprocessing.renamed_check,
    ),
    Change(
        (1, 7),
        (_CHAINS,),
        "base_estimator is called estimator",
        "doc/whats_new/v1.7.rst",
        renames("base_estimator", "estimator"),
    ),
    Change(
        (1, 8),
        ("sklearn.linear_model._logistic.LogisticRegression",),
        "multi_class is gone",
        "sklearn/linear_model/_logistic.py, predict_proba",
        linear.logistic_probabilities,
    ),
    Change(
        (1, 8),
        ("sklearn.linear_model._ridge._RidgeClassifierMixin",),
        "labels are an attribute",
        "sklearn/linear_model/_ridge.py, fit",
        computes("classes_", linear.classes_of_binarizer, fitted_by="_label_binarizer"),
    ),
    Change(
        (1, 8),
        ("sklearn.svm._base.BaseLibSVM",),
        "probability may be switched off inside",
        "sklearn/svm/_base.py, fit",
        computes("_effective_probability", others.probability, fitted_by="support_"),
    ),
    Change(
        (1, 8),
        ("sklearn.impute._base.SimpleImputer",),
        "the type of the filling values is an attribute",
        "sklearn/impute/_base.py, fit",
        computes("_fill_dtype", preprocessing.imputer_types, fitted_by="statistics_"),
    ),
    Change(
        (1, 8),
        ("sklearn.preprocessing._data.MaxAbsScaler",),
        "values may be clipped",
        "sklearn/preprocessing/_data.py",
        adds("clip", False),
    ),
    Change(
        (1, 8),
        ("sklearn.preprocessing._polynomial.SplineTransformer",),
        "missing values may be taken",
        "sklearn/preprocessing/_polynomial.py",
        adds("handle_missing", "error"),
    ),
    Change(
        NEWEST,
        ("sklearn.base.BaseEstimator",),
        "parameters that came later have their defaults",
        "the signature of each class in the installed scikit-learn",
        others.later_parameters,
    ),
    # scipy's own.
    Change(
        (1, 1),
        ("scipy.interpolate._bsplines.BSpline",),
        "scipy 1.16 made the arrays private",
        "scipy/interpolate/_bsplines.py",
        others.private_spline,
    ),
)


def changes_of(cls: type) -> tuple[Change, ...]:
    """Return the changes of a class, those of its bases included, the oldest first."""
    return _changes_of_names(tuple(f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__))


@cache
def _changes_of_names(bases: tuple[str, ...]) -> tuple[Change, ...]:
    names = {*bases}
    return tuple(sorted((one for one in CHANGES if names & {*one.classes}), key=lambda one: one.version))


def migrate(target: Any, state: Any) -> Any:
    """Return the state that the installed libraries expect of `target`, whose state is about to be set.

    A class that computes otherwise today is changed to one that computes as before. Raises BrokenArtifact where a
    state can be served by nothing that is installed.
    """
    changes = changes_of(type(target)) if type(state) is dict else ()
    if not changes:
        return state
    written = Written(target, dict(state), str(state.get("_sklearn_version", "")))
    for change in changes:
        change.apply(written)
    return written.state
