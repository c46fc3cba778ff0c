"""Validates the arrays that compiled code reads without bounds checks, before the first use of an estimator.

Trusted types are not enough, in any file format. A forest with nodes out of range crashes the process, and one with a
cycle of nodes never ends. The checks use only numpy and take a few milliseconds for a forest.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import scipy.sparse

from models_registry.artifacts import codes
from models_registry.artifacts.object_graph import is_definition, walk
from models_registry.artifacts.structures import callables, columns, encoders, neighbours, plain_state, trees, vectors
from models_registry.errors import ArtifactError, UnsafeStructure

_Check = Callable[[Any], None]


def _bisecting(model: Any) -> None:
    neighbours.check_bisecting_tree(model._bisecting_tree, model.n_features_in_)


# By class; each check also applies to subclasses.
_CHECKS: dict[str, tuple[_Check, ...]] = {
    "sklearn.tree._tree.Tree": (trees.check_tree,),
    "sklearn.tree._classes.BaseDecisionTree": (trees.check_tree_owner,),
    "sklearn.ensemble._forest.BaseForest": (trees.check_forest,),
    "sklearn.ensemble._iforest.IsolationForest": (trees.check_forest,),
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting": (
        trees.check_histogram_boosting,
        columns.check_boosting_preprocessor,
    ),
    "sklearn.neighbors._kd_tree.BinaryTree64": (neighbours.check_neighbour_tree,),
    "sklearn.neighbors._kd_tree.BinaryTree32": (neighbours.check_neighbour_tree,),
    "sklearn.neighbors._ball_tree.BinaryTree64": (neighbours.check_neighbour_tree,),
    "sklearn.neighbors._ball_tree.BinaryTree32": (neighbours.check_neighbour_tree,),
    "sklearn.neighbors._base.NeighborsBase": (neighbours.check_neighbours,),
    "sklearn.cluster._bisect_k_means.BisectingKMeans": (_bisecting,),
    "sklearn.svm._base.BaseLibSVM": (vectors.check_support_vectors,),
    "scipy.interpolate._bsplines.BSpline": (vectors.check_spline,),
    "sklearn.feature_extraction.text._VectorizerMixin": (vectors.check_vocabulary,),
    "sklearn.feature_extraction._dict_vectorizer.DictVectorizer": (vectors.check_vocabulary,),
    "sklearn.feature_extraction._hash.FeatureHasher": (vectors.check_hasher,),
    "sklearn.feature_extraction.text.HashingVectorizer": (vectors.check_hasher,),
    "sklearn.preprocessing._encoders._BaseEncoder": (encoders.check_categories,),
    "sklearn.preprocessing._encoders.OneHotEncoder": (encoders.check_one_hot,),
    "sklearn.preprocessing._target_encoder.TargetEncoder": (encoders.check_target_encoder,),
    "sklearn.preprocessing._polynomial.PolynomialFeatures": (encoders.check_polynomial,),
    "sklearn.preprocessing._discretization.KBinsDiscretizer": (encoders.check_bins,),
    "sklearn.preprocessing._label.MultiLabelBinarizer": (encoders.check_label_cache,),
    "sklearn.multioutput._BaseChain": (encoders.check_chain,),
    "sklearn.manifold._locally_linear.LocallyLinearEmbedding": (encoders.check_embedding,),
    "sklearn.compose._column_transformer.ColumnTransformer": (columns.check_column_transformer,),
    "sklearn.feature_selection._base.SelectorMixin": (columns.check_selector,),
    "sklearn.ensemble._bagging.BaseBagging": (columns.check_feature_subsets,),
    "sklearn.impute._iterative.IterativeImputer": (columns.check_iterative_imputer,),
    "sklearn.impute._base.MissingIndicator": (columns.check_missing_indicator,),
    "numpy.random.mtrand.RandomState": (vectors.check_random_state,),
    "numpy.random._generator.Generator": (vectors.check_random_state,),
}
# Last, since these checks call the estimator itself, whose parts the other checks have validated by then.
_LATER_CHECKS: dict[str, tuple[_Check, ...]] = {
    "sklearn.ensemble._gb.BaseGradientBoosting": (trees.check_gradient_boosting,),
}
# An unfitted estimator, such as the template of an ensemble, has none of the arrays.
_FITTED_BY = {
    "sklearn.tree._classes.BaseDecisionTree": "tree_",
    "sklearn.ensemble._forest.BaseForest": "estimators_",
    "sklearn.ensemble._iforest.IsolationForest": "estimators_",
    "sklearn.ensemble._gb.BaseGradientBoosting": "estimators_",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting": "_predictors",
    "sklearn.neighbors._base.NeighborsBase": "_fit_X",
    "sklearn.cluster._bisect_k_means.BisectingKMeans": "_bisecting_tree",
    "sklearn.svm._base.BaseLibSVM": "support_",
    "sklearn.preprocessing._encoders._BaseEncoder": "categories_",
    "sklearn.preprocessing._encoders.OneHotEncoder": "categories_",
    "sklearn.preprocessing._target_encoder.TargetEncoder": "encodings_",
    "sklearn.preprocessing._polynomial.PolynomialFeatures": "n_output_features_",
    "sklearn.preprocessing._discretization.KBinsDiscretizer": "bin_edges_",
    "sklearn.multioutput._BaseChain": "order_",
    "sklearn.manifold._locally_linear.LocallyLinearEmbedding": "embedding_",
    "sklearn.compose._column_transformer.ColumnTransformer": "transformers_",
    "sklearn.feature_selection._base.SelectorMixin": "n_features_in_",
    "sklearn.ensemble._bagging.BaseBagging": "estimators_",
    "sklearn.impute._iterative.IterativeImputer": "imputation_sequence_",
    "sklearn.impute._base.MissingIndicator": "features_",
}


def validate_structure(estimator: Any) -> None:
    """Raise UnsafeStructure if an array inside could crash or hang a prediction.

    Pipelines, ensembles and all other containers of estimators are searched.
    """
    check_objects(list(walk(estimator)))


def check_objects(objects: Sequence[Any], *, vouched: frozenset[str] | None = frozenset()) -> None:
    """Run `validate_structure` for the objects that `walk` yields of an estimator.

    `vouched` are exact names of functions that the operator allows with any arguments; None allows every function.
    """
    try:
        if vouched is not None:
            for value in objects:
                callables.check_object(value, vouched)
        for table in (_CHECKS, _LATER_CHECKS):
            _check_all(objects, table)
    except ArtifactError:
        raise
    except Exception as error:
        # Crafted state can raise any exception in the checks themselves.
        raise UnsafeStructure(
            f"The artifact's state is not that of a fitted estimator ({type(error).__name__}: {error}).",
            advice="Publish it again from its training script.",
            code=codes.UNFITTED,
        ) from error


def _check_all(objects: Iterable[Any], table: dict[str, tuple[_Check, ...]]) -> None:
    known: dict[type, list[tuple[_Check, str | None]]] = {}
    for value in objects:
        cls = type(value)
        if cls not in known:
            known[cls] = _checks_of(cls, table)
        for check, fitted_by in known[cls]:
            if fitted_by is None or hasattr(value, fitted_by):
                check(value)
        if table is _CHECKS:
            _check_any(value)


def _checks_of(cls: type, table: dict[str, tuple[_Check, ...]]) -> list[tuple[_Check, str | None]]:
    names = [f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__]
    return [(check, _FITTED_BY.get(name)) for name in names for check in table.get(name, ())]


def _check_any(value: Any) -> None:
    if scipy.sparse.issparse(value):
        vectors.check_sparse(value)
    state = getattr(value, "__dict__", None)
    if not isinstance(state, dict) or is_definition(value):
        return
    plain_state.check(value)
    dunder = next((name for name in state if isinstance(name, str) and name.startswith("__")), None)
    if dunder is not None:
        raise UnsafeStructure(
            f"The artifact sets {dunder} of a {type(value).__name__}, a name that belongs to Python itself. "
            "It is crafted; do not publish it."
        )
    if "n_features_in_" in state:
        _check_feature_count(value)
        neighbours.check_centres(value)


def _check_feature_count(value: Any) -> None:
    count = value.n_features_in_
    if callables.is_of_a_library(type(value)) and (type(count) is not int and not isinstance(count, np.integer)):
        raise UnsafeStructure(
            f"The artifact's {type(value).__name__} has a {type(count).__name__} as its number of features; expected "
            "a whole number. It is crafted; do not publish it."
        )
