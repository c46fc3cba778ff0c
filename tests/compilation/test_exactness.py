"""Where compiled models are usually wrong, these are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from sklearn import svm
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from models_registry.artifacts.inference import infer_schema
from models_registry.compilation.compiled import CompiledModel
from models_registry.compilation.compiler import candidate_of, verified_candidate


def compiled(estimator: Any) -> CompiledModel:
    candidate = candidate_of(estimator, infer_schema(estimator), [])
    return CompiledModel(candidate.model, candidate.plan)


def beside_thresholds(values: np.ndarray) -> np.ndarray:
    """Return values, their neighbours in float64, and numbers that float32 cannot tell from them."""
    narrow = values.astype(np.float32)
    return np.concatenate(
        [
            values,
            np.nextafter(values, np.inf),
            np.nextafter(values, -np.inf),
            np.nextafter(narrow, np.float32(np.inf)).astype(float),
            values * (1 + 1e-9),
            values * (1 - 1e-9),
        ]
    )


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(500, 1)) * 1000
    return rows, np.sin(rows[:, 0] / 100)


@pytest.mark.parametrize(
    "estimator",
    [DecisionTreeRegressor(), GradientBoostingRegressor(n_estimators=20)],
    ids=lambda item: type(item).__name__,
)
def test_inputs_are_rounded_to_float32_as_scikit_learn_does(estimator: Any, data: Any) -> None:
    rows, target = data
    estimator.fit(rows, target)
    member = estimator if isinstance(estimator, DecisionTreeRegressor) else estimator.estimators_[0, 0]
    edges = beside_thresholds(member.tree_.threshold[member.tree_.children_left >= 0])[:, None]

    np.testing.assert_array_equal(compiled(estimator).predict(edges), estimator.predict(edges))


def test_histogram_boosting_compares_float64_without_rounding(data: Any) -> None:
    rows, target = data
    estimator = HistGradientBoostingRegressor(max_iter=20).fit(rows, target)
    nodes = estimator._predictors[0][0].nodes
    edges = beside_thresholds(nodes["num_threshold"][nodes["is_leaf"] == 0])[:, None]

    np.testing.assert_array_equal(compiled(estimator).predict(edges), estimator.predict(edges))


def test_votes_that_tie_go_to_the_same_class() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 3, size=(300, 4)).astype(float)
    labels = rng.integers(0, 3, size=300)
    estimator = RandomForestClassifier(n_estimators=6, max_depth=2, random_state=0).fit(rows, labels)
    asked = rng.integers(0, 3, size=(2000, 4)).astype(float)
    model = compiled(estimator)

    assert (model.predict(asked) == estimator.predict(asked)).all()
    np.testing.assert_array_equal(model.predict_proba(asked), estimator.predict_proba(asked))


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(random_state=0),
        RandomForestClassifier(n_estimators=8, random_state=0),
        HistGradientBoostingClassifier(max_iter=8, random_state=0),
    ],
    ids=lambda item: type(item).__name__,
)
def test_missing_values_take_the_branch_they_were_trained_for(estimator: Any) -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(400, 3))
    labels = (rows[:, 0] > 0).astype(int) + np.isnan(rows[:, 1])
    rows[rng.random((400, 3)) < 0.3] = np.nan
    estimator.fit(rows, labels)

    np.testing.assert_array_equal(compiled(estimator).predict(rows), estimator.predict(rows))


@pytest.mark.parametrize("missing_is_like", [0, 1])
def test_categories_of_histogram_boosting_known_unknown_negative_and_missing(missing_is_like: int) -> None:
    rng = np.random.default_rng(2)
    rows = np.column_stack([rng.integers(0, 12, 600), rng.normal(size=600)]).astype(float)
    target = np.isin(rows[:, 0], [1, 4, 7, 11]) * 3.0 + rows[:, 1]
    # What is missing looks once like a low category and once like a high one, and so goes left or right.
    rows[rows[:, 0] == missing_is_like, 0] = np.nan
    estimator = HistGradientBoostingRegressor(max_iter=15, categorical_features=[0]).fit(rows, target)
    codes = [*range(12), 12, 60, 300, 0.5, 3.7, -1, np.nan]
    asked = np.array([[code, number] for code in codes for number in (-1.0, 0.0, 1.0)])

    np.testing.assert_array_equal(compiled(estimator).predict(asked), estimator.predict(asked))


def test_tree_without_a_split_answers_its_leaf() -> None:
    estimator = DecisionTreeRegressor().fit([[1.0], [2.0]], [5.0, 5.0])
    assert compiled(estimator).predict(np.array([[0.0], [9.0]])).tolist() == [5.0, 5.0]


def _far_from_zero() -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    rows = np.column_stack([rng.normal(2e7, 300.0, 800), rng.normal(size=(800, 3))])
    return rows, (rows[:, 1] + (rows[:, 0] - 2e7) / 300.0 > 0).astype(int)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("with_sample", [False, True])
@pytest.mark.parametrize(
    "estimator",
    [
        svm.OneClassSVM(nu=0.1, gamma=1e-3),
        svm.SVC(gamma=1e-3),
        svm.SVC(gamma=1e-3, probability=True, random_state=0),
        make_pipeline(StandardScaler(), svm.OneClassSVM(nu=0.1)),
        make_pipeline(StandardScaler(), svm.SVC(probability=True, random_state=0)),
    ],
    ids=repr,
)
def test_no_label_differs_for_large_close_numbers(estimator: Any, with_sample: bool) -> None:
    rows, labels = _far_from_zero()
    estimator.fit(rows, labels)
    schema = infer_schema(estimator)
    verified = verified_candidate(estimator, schema, rows[:20].tolist() if with_sample else ())
    is_iterated = "probability=True" in repr(estimator)
    assert isinstance(verified, str) == is_iterated, verified
    if not isinstance(verified, str):
        assert verified.compiled.predict(rows).tolist() == estimator.predict(rows).tolist()
        assert np.allclose(
            verified.compiled.decision_function(rows), estimator.decision_function(rows), rtol=0, atol=1e-7
        )


def test_many_trees_have_a_node_for_each_class(data: Any) -> None:
    rows, target = data
    model = HistGradientBoostingClassifier(max_iter=40, max_depth=3).fit(rows, np.digitize(target, [-0.5, 0.5]))
    schema = infer_schema(model)
    candidate = candidate_of(model, schema, [])
    kinds = [node.op_type for node in onnx.load_from_string(candidate.model).graph.node]
    assert kinds.count("TreeEnsemble") == 3
    assert CompiledModel(candidate.model, candidate.plan).predict_proba(rows) == pytest.approx(
        model.predict_proba(rows), rel=1e-12
    )
