"""Arrays that compiled code would follow out of bounds, or round in a circle, are found before it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse
from sklearn.cluster import Birch, BisectingKMeans, KMeans
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import BallTree, KDTree, KernelDensity, KNeighborsClassifier, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import Tree

from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.structure import validate_structure
from models_registry.artifacts.structures.neighbours import check_distance
from models_registry.errors import UnsafeStructure

X = np.random.RandomState(0).rand(120, 4)
Y = (X[:, 0] > 0.5).astype(int)


def with_nodes(tree: Any, change: Callable[[Any], None]) -> Any:
    """Return a copy of a compiled tree whose nodes were changed."""
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    change(state["nodes"])
    made = Tree(tree.n_features, np.asarray(tree.n_classes), tree.n_outputs)
    made.__setstate__(state)
    return made


def set_field(field: str, content: int) -> Callable[[Any], None]:
    def change(nodes: Any) -> None:
        nodes[field][0] = content

    return change


NODE_CHANGES = {
    "left child outside": set_field("left_child", 10_000),
    "right child outside": set_field("right_child", 10_000),
    "child far below zero": set_field("left_child", -9),
    "right child of a leaf's kind": set_field("right_child", -1),
    "circle to the root": set_field("left_child", 0),
    "feature outside": set_field("feature", 4),
    "feature below zero": set_field("feature", -3),
}


def spoil_tree(estimator: Any, change: Callable[[Any], None]) -> Any:
    estimator.tree_ = with_nodes(estimator.tree_, change)
    return estimator


@pytest.mark.parametrize("change", NODE_CHANGES)
@pytest.mark.parametrize("owner", ["tree", "forest", "boosting", "pipeline", "search", "stack", "bagging", "isolation"])
def test_crafted_tree_is_found_wherever_it_hides(owner: str, change: str) -> None:
    spoil = NODE_CHANGES[change]
    if owner == "tree":
        model = spoil_tree(DecisionTreeClassifier().fit(X, Y), spoil)
    elif owner == "boosting":
        model = GradientBoostingClassifier(n_estimators=2).fit(X, np.arange(120) % 3)
        spoil_tree(model.estimators_[1, 2], spoil)
    elif owner == "isolation":
        model = IsolationForest(n_estimators=3).fit(X)
        spoil_tree(model.estimators_[2], spoil)
    else:
        forest = RandomForestClassifier(3, random_state=0)
        model = {
            "forest": forest,
            "pipeline": make_pipeline(StandardScaler(), forest),
            "search": GridSearchCV(forest, {"max_depth": [2]}, cv=2),
            "stack": StackingClassifier([("forest", forest)], cv=2),
            "bagging": BaggingClassifier(forest, n_estimators=2),
        }[owner].fit(X, Y)
        inner = {
            "forest": lambda: model,
            "pipeline": lambda: model[-1],
            "search": lambda: model.best_estimator_,
            "stack": lambda: model.estimators_[0],
            "bagging": lambda: model.estimators_[1],
        }[owner]()
        spoil_tree(inner.estimators_[-1], spoil)

    with pytest.raises(UnsafeStructure):
        validate_structure(model)


def test_crafted_tree_is_found_in_a_file(tmp_path: Path) -> None:
    model = spoil_tree(DecisionTreeClassifier().fit(X, Y), NODE_CHANGES["circle to the root"])
    path = tmp_path / "model.joblib"
    joblib.dump(model, path)

    with pytest.raises(UnsafeStructure, match="in a circle"):
        validate_structure(open_artifact(path, "joblib"))


def _forest() -> Any:
    return RandomForestClassifier(3).fit(X, Y)


def _tree_of_other_features() -> Any:
    model = _forest()
    model.estimators_[1] = DecisionTreeClassifier().fit(np.c_[X, X], Y)
    return model


def _tree_believes_its_owner() -> Any:
    model = DecisionTreeClassifier().fit(np.c_[X, X], Y)
    model.n_features_in_ = 4
    return model


def _isolation_of_other_features() -> Any:
    model = IsolationForest(n_estimators=2, max_features=0.5).fit(X)
    model.estimators_features_[0] = np.array([0])
    return model


def _boosting_with_more_trees_than_outputs() -> Any:
    model = GradientBoostingClassifier(n_estimators=2).fit(X, Y)
    model.estimators_ = np.repeat(model.estimators_, 3, axis=1)
    return model


def _boosting_with_a_wrong_start() -> Any:
    model = GradientBoostingClassifier(n_estimators=2).fit(X, np.arange(120) % 3)
    model.init_.n_classes_, model.init_.classes_, model.init_.class_prior_ = 1, np.array([0]), np.array([1.0])
    return model


def _histogram(change: Callable[[Any, Any], None]) -> Any:
    data = X.copy()
    data[:, 3] = np.arange(120) % 5
    labels = (np.arange(120) % 5 > 2).astype(int)
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features=[3]).fit(data, labels)
    predictor = model._predictors[0][0]
    predictor.nodes = predictor.nodes.copy()
    change(model, predictor)
    return model


def _set_node(field: str, content: Any) -> Callable[[Any, Any], None]:
    def change(model: Any, predictor: Any) -> None:
        predictor.nodes[field][0] = content
        predictor.nodes["is_categorical"][0] = field == "bitset_idx"

    return change


def _set_mapper(model: Any, predictor: Any) -> None:
    (categorical,) = np.flatnonzero(model._bin_mapper.is_categorical_)
    model._bin_mapper.bin_thresholds_[categorical] = np.array([0.0, 4_000_000.0])


def _number_as_category(model: Any, predictor: Any) -> None:
    predictor.nodes["feature_idx"][0] = np.flatnonzero(model._bin_mapper.is_categorical_ == 0)[0]
    predictor.nodes["is_categorical"][0] = 1


def _fewer_features(model: Any, predictor: Any) -> None:
    model._bin_mapper.is_categorical_ = model._bin_mapper.is_categorical_[:2]


def _neighbour_tree(cls: Any, position: int, change: Callable[[Any], Any]) -> Any:
    tree = cls(X, leaf_size=5)
    state = list(tree.__getstate__())
    state[position] = change(np.array(state[position])) if isinstance(state[position], np.ndarray) else change(0)
    tree.__setstate__(tuple(state))
    density = KernelDensity().fit(X)
    density.tree_ = tree
    return density


def _index(content: int) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[0] = content
        return array

    return change


def _node(field: str, content: int, at: int = 0) -> Callable[[Any], Any]:
    def change(nodes: Any) -> Any:
        nodes[field][at] = content
        return nodes

    return change


def _set(model: Any, **attributes: Any) -> Any:
    for name, content in attributes.items():
        setattr(model, name, content)
    return model


def _knn(**attributes: Any) -> Any:
    return _set(KNeighborsClassifier(3, algorithm="brute").fit(X, Y), **attributes)


def _svc(**attributes: Any) -> Any:
    return _set(SVC().fit(X, Y), **attributes)


def _counted_below_zero() -> Any:
    model = SVC().fit(X, Y)
    model._n_support = np.array([-1, len(model.support_) + 1], dtype=np.int32)
    return model


def _splines(**attributes: Any) -> Any:
    model = SplineTransformer().fit(X)
    _set(model.bsplines_[0], **attributes)
    return model


def _sparse_coefficients() -> Any:
    model = SGDClassifier(penalty="l1").fit(X, Y).sparsify()
    model.coef_.indices[:] = 10_000_000
    return model


def _vocabulary(model: Any, numbers: dict[str, Any]) -> Any:
    model.vocabulary_ = numbers
    return make_pipeline(model, LogisticRegression())


def _random_state() -> Any:
    generator = np.random.RandomState(0)
    state = generator.get_state(legacy=False)
    state["state"]["pos"] = 100_000
    generator._bit_generator.state = state
    return _set(LogisticRegression().fit(X, Y), random_state=generator)


def _clusters_in_a_circle() -> Any:
    model = BisectingKMeans(3).fit(X)
    model._bisecting_tree.left.left = model._bisecting_tree
    return model


CRAFTED: dict[str, Callable[[], Any]] = {
    "tree of other features in a forest": _tree_of_other_features,
    "tree larger than its owner checks": _tree_believes_its_owner,
    "isolation tree of other features": _isolation_of_other_features,
    "boosting with more trees than outputs": _boosting_with_more_trees_than_outputs,
    "boosting with a wrong start": _boosting_with_a_wrong_start,
    "histogram child outside": lambda: _histogram(_set_node("left", 4_000_000_000)),
    "histogram circle": lambda: _histogram(_set_node("right", 0)),
    "histogram feature outside": lambda: _histogram(_set_node("feature_idx", 99)),
    "histogram feature below zero": lambda: _histogram(_set_node("feature_idx", -1)),
    "histogram bit set outside": lambda: _histogram(_set_node("bitset_idx", 99)),
    "histogram category outside": lambda: _histogram(_set_mapper),
    "histogram number as category": lambda: _histogram(_number_as_category),
    "histogram of fewer features": lambda: _histogram(_fewer_features),
    "histogram without nodes": lambda: _histogram(lambda model, one: setattr(one, "nodes", one.nodes[:0])),
    **{
        f"{cls.__name__} {what}": (lambda cls=cls, at=at, change=change: _neighbour_tree(cls, at, change))
        for cls in (KDTree, BallTree)
        for what, at, change in (
            ("index outside", 1, _index(5_000)),
            ("index below zero", 1, _index(-1)),
            ("fewer indices", 1, lambda array: array[:-1]),
            ("node ends outside", 2, _node("idx_end", 5_000)),
            ("node starts below zero", 2, _node("idx_start", -5)),
            ("last node goes on", 2, _node("is_leaf", 0, at=-1)),
            ("fewer bounds", 3, lambda array: np.ascontiguousarray(array[:, :-1])),
            ("more nodes than it has", 6, lambda _: 1_000_000),
            ("empty leaves", 4, lambda _: 0),
        )
    },
    "neighbours with a label outside": lambda: _knn(_y=np.full(120, 7)),
    "neighbours with too few labels": lambda: _knn(_y=np.zeros(3, dtype=np.intp)),
    "neighbours of other features": lambda: _knn(_fit_X=np.ascontiguousarray(X[:, :1])),
    "fewer neighbours than it says": lambda: _knn(n_samples_fit_=9_999),
    "outliers among fewer neighbours": lambda: _set(
        LocalOutlierFactor(novelty=True).fit(X), _fit_X=np.ascontiguousarray(X[:, :2])
    ),
    "centres of other features": lambda: _set(KMeans(2).fit(X), cluster_centers_=np.zeros((2, 1))),
    "fewer lengths than centres": lambda: _set(Birch().fit(X), _subcluster_norms=np.zeros(1)),
    "clusters in a circle": _clusters_in_a_circle,
    "support vectors of other features": lambda: _svc(support_vectors_=np.zeros((3, 1))),
    "fewer coefficients than vectors": lambda: _svc(_dual_coef_=np.zeros((1, 1))),
    "more vectors than counted": lambda: _svc(_n_support=np.array([1, 1], dtype=np.int32)),
    "vectors counted below zero": _counted_below_zero,
    "more classes than intercepts": lambda: _svc(_intercept_=np.zeros(0)),
    "too few probabilities": lambda: _svc(_probA=np.zeros(9)),
    "regression with fewer coefficients": lambda: _set(SVR().fit(X, Y), _dual_coef_=np.zeros((1, 2))),
    "spline with too few coefficients": lambda: _splines(c=np.zeros((1, 1))),
    "spline of a huge degree": lambda: _splines(k=1_000),
    "spline of a negative degree": lambda: _splines(k=-1),
    "spline with knots in no order": lambda: _splines(t=np.linspace(1, 0, 20)),
    "sparse coefficient outside": _sparse_coefficients,
    "sparse matrix of another length": lambda: _set(
        LogisticRegression().fit(X, Y), coef_=_set(scipy.sparse.csr_matrix(np.eye(4)), indptr=np.array([0, 9]))
    ),
    "word of a column outside": lambda: _vocabulary(CountVectorizer(), {"a": 0, "b": 9_000_000}),
    "word of no column": lambda: _vocabulary(CountVectorizer(), {"a": -1, "b": 0}),
    "word of a fraction of a column": lambda: _vocabulary(CountVectorizer(), {"a": 0.5}),
    "record of a column outside": lambda: _vocabulary(DictVectorizer(), {"a": 7}),
    "texts that name files": lambda: make_pipeline(HashingVectorizer(input="filename"), LogisticRegression()),
    "random state outside": _random_state,
    "name of Python itself": lambda: _set(LogisticRegression().fit(X, Y), __array_interface__={}),
    "array where a tree belongs": lambda: _set(DecisionTreeClassifier().fit(X, Y), tree_=np.zeros(3)),
}  # fmt: skip


@pytest.mark.parametrize("key", CRAFTED)
def test_crafted_state_is_refused(key: str) -> None:
    with pytest.raises(UnsafeStructure):
        validate_structure(CRAFTED[key]())


@pytest.mark.parametrize(
    ("name", "settings", "features"),
    [("seuclidean", {"V": np.ones(3)}, 4), ("mahalanobis", {"V": np.eye(3)}, 4), ("haversine", {}, 4),
     ("minkowski", {"p": 3, "w": np.ones(3)}, 4)],
)  # fmt: skip
def test_distance_that_does_not_fit_is_refused(name: str, settings: dict[str, Any], features: int) -> None:
    from sklearn.metrics import DistanceMetric

    with pytest.raises(UnsafeStructure):
        check_distance(DistanceMetric.get_metric(name, **settings), features)


def test_estimator_in_a_circle_is_walked_once() -> None:
    model = LogisticRegression().fit(X, Y)
    model.itself = [model, {"again": model}]
    validate_structure(model)


def test_deeply_nested_estimator_costs_no_recursion() -> None:
    held: Any = LogisticRegression()
    for _ in range(50_000):
        held = [held]
    model = LogisticRegression().fit(X, Y)
    model.held = held
    validate_structure(model)
