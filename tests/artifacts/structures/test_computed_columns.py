"""The columns that a step computes are within its declared columns; otherwise the artifact is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomTreesEmbedding,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.feature_selection import RFE, SelectKBest, VarianceThreshold
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.manifold import LocallyLinearEmbedding
from sklearn.multioutput import ClassifierChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MultiLabelBinarizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    TargetEncoder,
)

from models_registry.artifacts.formats.read_only import make_read_only
from models_registry.artifacts.object_graph import walk
from models_registry.artifacts.structure import validate_structure
from models_registry.errors import UnsafeStructure

RANDOM = np.random.RandomState(0)
X = RANDOM.rand(60, 4)
Y = (X[:, 0] > 0.5).astype(int)
WORDS = np.array([["a"]] * 30 + [["b"]] * 24 + [[f"rare {number}"] for number in range(6)], dtype=object)
MIXED = np.c_[X, RANDOM.randint(0, 3, (60, 2))]


def _set(model: Any, **attributes: Any) -> Any:
    for name, content in attributes.items():
        setattr(model, name, content)
    return model


def _one_hot(**settings: Any) -> OneHotEncoder:
    return OneHotEncoder(min_frequency=10, handle_unknown="infrequent_if_exist", **settings).fit(WORDS)


def _table(encoder: Any, content: Any) -> Any:
    table = encoder._default_to_infrequent_mappings[0].copy()
    table[-1] = content
    encoder._default_to_infrequent_mappings = [table]
    return encoder


def _ordinal() -> OrdinalEncoder:
    return OrdinalEncoder(min_frequency=10, handle_unknown="use_encoded_value", unknown_value=-1).fit(WORDS)


def _numbers(categories: list[float]) -> Any:
    return _set(OneHotEncoder().fit([[1.0], [2.0], [3.0]]), categories_=[np.array(categories)])


def _boosting(change: Callable[[Any], None]) -> Any:
    model = HistGradientBoostingRegressor(categorical_features=[4, 5], max_iter=2).fit(MIXED, X[:, 1])
    change(model)
    return model


def _fewer_columns(model: Any) -> None:
    inner = model._preprocessor
    inner.transformers_ = [
        (name, step, [1] if name == "numerical" else columns) for name, step, columns in inner.transformers_
    ]


def _other_step(step: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        inner = model._preprocessor
        inner.transformers_ = [(name, step, columns) for name, _, columns in inner.transformers_]

    return change


def _targets(**attributes: Any) -> Any:
    encoder = TargetEncoder(cv=2).fit(np.repeat(WORDS, 2, axis=1), np.arange(60) % 3)
    return _set(encoder, **attributes)


def _columns(columns: Any) -> Any:
    transformer = ColumnTransformer([("kept", "passthrough", [0, 1])]).fit(X)
    transformer.transformers_ = [(name, step, columns) for name, step, _ in transformer.transformers_]
    return transformer


def _imputer(feature: int, neighbour: int) -> Any:
    imputer = IterativeImputer(max_iter=1).fit(np.where(X > 0.9, np.nan, X))
    first = imputer.imputation_sequence_[0]
    imputer.imputation_sequence_[0] = first._replace(feat_idx=feature, neighbor_feat_idx=np.array([neighbour]))
    return imputer


class OneRow:
    """Answers one row, however many it is asked for."""

    def predict(self, rows: Any) -> Any:
        return np.ones(1)


def _boosting_from(init: Any) -> Any:
    return _set(GradientBoostingRegressor(n_estimators=2).fit(X, X[:, 0]), init_=init)


CRAFTED: dict[str, Callable[[], Any]] = {
    "one-hot rare category far outside": lambda: _table(_one_hot(), 2_000_000_000),
    "one-hot rare category just outside": lambda: _table(_one_hot(), 3),
    "one-hot rare category below zero": lambda: _table(_one_hot(), -1),
    "one-hot rare category between columns": lambda: _set(
        _one_hot(), _default_to_infrequent_mappings=[np.full(8, 0.5)]
    ),
    "one-hot dense": lambda: _table(_one_hot(sparse_output=False), 3),
    "one-hot with a short table": lambda: _set(_one_hot(), _default_to_infrequent_mappings=[np.array([0])]),
    "one-hot with too few tables": lambda: _set(_one_hot(), _default_to_infrequent_mappings=[]),
    "one-hot with a strange rare one": lambda: _set(_one_hot(), _infrequent_indices=[np.array([99])]),
    "one-hot of narrower features": lambda: _set(_one_hot(), _n_features_outs=[1]),
    "one-hot of a negative width": lambda: _set(_numbers([1.0, 2.0, 3.0]), _n_features_outs=[-5]),
    "one-hot of fewer widths": lambda: _set(OneHotEncoder().fit(np.c_[WORDS, WORDS]), _n_features_outs=[8]),
    "one-hot of more categories": lambda: _set(
        OneHotEncoder().fit(WORDS), categories_=[np.arange(200).astype(str).astype(object)]
    ),
    "one-hot that drops below zero": lambda: _set(
        OneHotEncoder(drop="first").fit(WORDS), _drop_idx_after_grouping=np.array([-1], dtype=object)
    ),
    "one-hot that drops nothing after all": lambda: _set(
        OneHotEncoder(drop="first").fit(WORDS), _drop_idx_after_grouping=None
    ),
    "one-hot of numbers in no order": lambda: _numbers([3.0, 1.0, 2.0]),
    "one-hot with a missing value in the middle": lambda: _numbers([1.0, np.nan, 3.0]),
    "one-hot of categories in a square": lambda: _numbers([[1.0, 2.0, 3.0]]),  # type: ignore[list-item]
    "ordinal rare category outside": lambda: _table(_ordinal(), 9_000_000),
    "ordinal categories in no order": lambda: _set(OrdinalEncoder().fit([[1], [2]]), categories_=[np.array([2, 1])]),
    "target encodings of fewer columns": lambda: _targets(encodings_=[np.zeros(8)]),
    "target encodings of fewer categories": lambda: _targets(encodings_=[np.zeros(1)] * 6),
    "target encodings of more classes": lambda: _targets(classes_=np.arange(5)),
    "bins whose encoder is wider": lambda: _set(
        KBinsDiscretizer(3).fit(X), _encoder=OneHotEncoder().fit(np.c_[X, X].round())
    ),
    "bins of fewer features": lambda: _set(KBinsDiscretizer(3).fit(X), bin_edges_=np.array([], dtype=object)),
    "embedding whose leaves are outside": lambda: _set(
        RandomTreesEmbedding(2).fit(X), one_hot_encoder_=_numbers([3.0, 1.0, 2.0])
    ),
    "polynomials of more columns": lambda: _set(PolynomialFeatures(2).fit(X), _n_out_full=5_000),
    "polynomials that end elsewhere": lambda: _set(PolynomialFeatures((2, 3)).fit(X), n_output_features_=1),
    "polynomials of another degree": lambda: _set(PolynomialFeatures(2).fit(X), _max_degree=1),
    "labels of columns outside": lambda: _set(MultiLabelBinarizer().fit([["a"]]), _cached_dict={"a": 9_000_000}),
    "records of fewer columns": lambda: _set(DictVectorizer().fit([{"a": 1}]), vocabulary_={"a": 3}),
    "hashes of no column": lambda: HashingVectorizer(n_features=0),
    "hashes of columns below zero": lambda: FeatureHasher(n_features=-4),
    "chain without one of its estimators": lambda: _set(
        ClassifierChain(LogisticRegression()).fit(X, np.c_[Y, 1 - Y]), order_=[0, 0]
    ),
    "embedding of more columns": lambda: _set(
        LocallyLinearEmbedding(n_neighbors=5, n_components=2).fit(X), n_components=7
    ),
    "column far outside": lambda: _columns([99]),
    "mask of fewer columns": lambda: _columns(np.array([True])),
    "column of an unknown name": lambda: _set(_columns(["x"]), feature_names_in_=np.array(list("abcd"), dtype=object)),
    "selector of fewer features": lambda: _set(SelectKBest(k=2).fit(X, Y), scores_=np.zeros(2)),
    "mask of a selector": lambda: _set(RFE(LinearRegression()).fit(X, Y), support_=np.ones(9, dtype=bool)),
    "variances of fewer features": lambda: _set(VarianceThreshold().fit(X), variances_=np.ones(1)),
    "bag of features outside": lambda: _set(
        BaggingClassifier(n_estimators=2).fit(X, Y), estimators_features_=[np.array([0, 77])] * 2
    ),
    "imputed feature outside": lambda: _imputer(77, 0),
    "imputed from a feature outside": lambda: _imputer(0, 77),
    "missing feature outside": lambda: _set(
        SimpleImputer(add_indicator=True).fit(np.where(X > 0.9, np.nan, X)).indicator_, features_=np.array([99])
    ),
    "boosting with fewer columns": lambda: _boosting(_fewer_columns),
    "boosting with a step of its own": lambda: _boosting(_other_step(PolynomialFeatures(1).fit(X))),
    "boosting that drops columns": lambda: _boosting(_other_step("drop")),
    "boosting with a function of its own": lambda: _boosting(_other_step(FunctionTransformer(np.ravel))),
    "boosting with another preprocessor": lambda: _boosting(
        lambda model: setattr(model, "_preprocessor", FunctionTransformer())
    ),
    "boosting in its training": lambda: _boosting(lambda model: setattr(model, "_in_fit", True)),
    "boosting that starts from one row": lambda: _boosting_from(OneRow()),
    "features that are no number": lambda: _set(LinearRegression().fit(X, Y), n_features_in_=np.array([4, 4])),
}  # fmt: skip


@pytest.mark.parametrize("key", CRAFTED)
def test_crafted_columns_are_refused(key: str) -> None:
    with pytest.raises(UnsafeStructure):
        validate_structure(make_pipeline(CRAFTED[key](), LinearRegression()))


def test_boosting_stops_where_its_start_has_too_few_rows() -> None:
    model = _boosting_from(OneRow())
    make_read_only(list(walk(model)))

    with pytest.raises(ValueError, match="starts with predictions of shape"):
        model.predict(X)


HONEST: dict[str, Callable[[], Any]] = {
    **{
        f"one-hot, drop={drop}, unknown={unknown}": (
            lambda drop=drop, unknown=unknown: OneHotEncoder(
                drop=drop, handle_unknown=unknown, min_frequency=10 if "infrequent" in unknown else None
            ).fit(np.c_[WORDS, WORDS[::-1]])
        )
        for drop in (None, "first", "if_binary")
        for unknown in ("error", "ignore", "infrequent_if_exist")
    },
    "one-hot of numbers with a missing one": lambda: OneHotEncoder().fit([[1.0], [np.nan], [0.5]]),
    "one-hot of booleans": lambda: OneHotEncoder().fit([[True], [False]]),
    "one-hot of missing words": lambda: OneHotEncoder().fit(np.array([["b"], [None], ["a"]], dtype=object)),
    "ordinal with rare ones": _ordinal,
    "targets of several classes": _targets,
    "polynomials": lambda: PolynomialFeatures((2, 3), interaction_only=True).fit(X),
    "boosting with categories": lambda: _boosting(lambda model: None),
    "boosting of categories alone": lambda: HistGradientBoostingRegressor(
        categorical_features=[0, 1], max_iter=2
    ).fit(MIXED[:, 4:], Y),
    "columns by name": lambda: copy.deepcopy(_columns([0, 1])),
}  # fmt: skip


@pytest.mark.parametrize("key", HONEST)
def test_honest_columns_pass(key: str) -> None:
    validate_structure(HONEST[key]())
