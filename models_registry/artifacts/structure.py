"""Validates the arrays that compiled code reads without looking, before an estimator is used for the first time.

Types are not enough: a forest whose nodes point outside, or in a circle, crashes the process or never ends,
whatever format carried it. The checks are plain numpy and cost a few milliseconds for a forest.
"""

from collections.abc import Callable, Iterable
from typing import Any

import scipy.sparse

from models_registry.artifacts.structures import neighbours, trees, vectors
from models_registry.artifacts.walking import is_definition, walk
from models_registry.errors import ArtifactError, UnsafeStructure

_Check = Callable[[Any], None]


def _bisecting(model: Any) -> None:
    neighbours.check_bisecting_tree(model._bisecting_tree, model.n_features_in_)


# By class, for the class itself and everything derived from it.
_CHECKS: dict[str, tuple[_Check, ...]] = {
    "sklearn.tree._tree.Tree": (trees.check_tree,),
    "sklearn.tree._classes.BaseDecisionTree": (trees.check_tree_owner,),
    "sklearn.ensemble._forest.BaseForest": (trees.check_forest,),
    "sklearn.ensemble._iforest.IsolationForest": (trees.check_forest,),
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting": (
        trees.check_histogram_boosting,
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
    "numpy.random.mtrand.RandomState": (vectors.check_random_state,),
    "numpy.random._generator.Generator": (vectors.check_random_state,),
}
# After the others, since these ask the estimator itself, parts of which the others have looked at by then.
_LATER_CHECKS: dict[str, tuple[_Check, ...]] = {
    "sklearn.ensemble._gb.BaseGradientBoosting": (trees.check_gradient_boosting,),
}
# An estimator that was never fitted, such as the template of an ensemble, has none of the arrays.
_FITTED_BY = {
    "sklearn.tree._classes.BaseDecisionTree": "tree_",
    "sklearn.ensemble._forest.BaseForest": "estimators_",
    "sklearn.ensemble._iforest.IsolationForest": "estimators_",
    "sklearn.ensemble._gb.BaseGradientBoosting": "estimators_",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting": "_predictors",
    "sklearn.neighbors._base.NeighborsBase": "_fit_X",
    "sklearn.cluster._bisect_k_means.BisectingKMeans": "_bisecting_tree",
    "sklearn.svm._base.BaseLibSVM": "support_",
}


def validate_structure(estimator: Any) -> None:
    """Return when no array inside would crash or hang a prediction; raise UnsafeStructure otherwise.

    Pipelines, ensembles and everything else that holds estimators are looked through.
    """
    objects = list(walk(estimator))
    try:
        for table in (_CHECKS, _LATER_CHECKS):
            _check_all(objects, table)
    except ArtifactError:
        raise
    except Exception as error:
        # Crafted state fails in the checks themselves in as many ways as there are attributes.
        raise UnsafeStructure(
            f"The artifact's state is not that of a fitted estimator ({type(error).__name__}: {error}). "
            "Publish it again from its training script."
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
    dunder = next((name for name in state if isinstance(name, str) and name.startswith("__")), None)
    if dunder is not None:
        raise UnsafeStructure(
            f"The artifact sets {dunder} of a {type(value).__name__}, a name that belongs to Python itself. "
            "It is crafted; do not publish it."
        )
    if "n_features_in_" in state:
        neighbours.check_centres(value)
