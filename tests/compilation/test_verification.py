"""A compiled form that answers otherwise is found out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from models_registry.artifacts.features import Feature
from models_registry.artifacts.inference import infer_schema
from models_registry.compilation import sampling
from models_registry.compilation.compiled import CompiledModel
from models_registry.compilation.compiler import candidate_of, compile_estimator, verified_candidate
from models_registry.compilation.verification import Disagreement, verify

ROWS, LABELS = load_iris(return_X_y=True)


class LinearRegression(Ridge):
    """A class of one's own under a name of scikit-learn's, whose coefficients do not tell its prediction."""

    def predict(self, X: Any) -> Any:
        return super().predict(X) + 1


def compiled(estimator: Any) -> CompiledModel:
    candidate = candidate_of(estimator, infer_schema(estimator), [])
    return CompiledModel(candidate.model, candidate.plan)


def checked(native: Any, other: Any) -> Any:
    schema = infer_schema(native)
    rows = sampling.sample_rows(schema, ROWS[:50].tolist(), {})
    return verify(native, compiled(other), schema, rows)


def test_form_of_another_forest_is_refused_by_its_labels() -> None:
    first = RandomForestClassifier(5, max_depth=2, random_state=0).fit(ROWS, LABELS)
    second = RandomForestClassifier(5, max_depth=2, random_state=1).fit(ROWS, LABELS)
    with pytest.raises(Disagreement, match=r"labels differ: row \d+ is \d by scikit-learn and \d by the compiled form"):
        checked(first, second)


def test_drifting_scores_are_refused_despite_equal_labels() -> None:
    first = LogisticRegression(max_iter=500).fit(ROWS, LABELS)
    second = LogisticRegression(max_iter=500).fit(ROWS, LABELS)
    second.coef_ = first.coef_ * (1 + 1e-5)
    second.intercept_ = first.intercept_ * (1 + 1e-5)
    with pytest.raises(Disagreement, match="differ by"):
        checked(first, second)


def test_values_that_drift_are_refused() -> None:
    first, second = Ridge().fit(ROWS, LABELS), Ridge().fit(ROWS, LABELS)
    second.intercept_ = first.intercept_ + 1e-4
    with pytest.raises(Disagreement, match="values differ"):
        checked(first, second)


def test_labels_of_another_type_are_refused() -> None:
    first = LogisticRegression(max_iter=500).fit(ROWS, LABELS)
    second = LogisticRegression(max_iter=500).fit(ROWS, LABELS.astype(str))
    with pytest.raises(Disagreement, match="answers are int64"):
        checked(first, second)


def test_row_that_only_the_native_model_refuses_is_found() -> None:
    nullable = tuple(Feature(f"x{index}", nullable=True) for index in range(4))
    estimator = Ridge().fit(ROWS, LABELS)
    schema = replace(infer_schema(estimator), inputs=nullable)
    with pytest.raises(Disagreement, match="scikit-learn refuses the row"):
        verify(estimator, compiled(estimator), schema, [[1.0, 2.0, 3.0, 4.0], [None, 2.0, 3.0, 4.0]])


def test_compiled_model_refuses_what_the_native_one_refuses() -> None:
    nullable = tuple(Feature(f"x{index}", nullable=True) for index in range(4))
    estimator = Ridge().fit(ROWS, LABELS)
    verified = verified_candidate(estimator, replace(infer_schema(estimator), inputs=nullable), ROWS[:5].tolist())
    assert not isinstance(verified, str)
    with pytest.raises(ValueError, match="NaN"):
        verified.compiled.predict(np.array([[1.0, np.nan, 3.0, 4.0]]))


@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value) encountered in log:RuntimeWarning")
def test_values_outside_a_functions_domain_are_refused_as_natively() -> None:
    estimator = make_pipeline(FunctionTransformer(np.log), Ridge()).fit(ROWS, LABELS)
    verified = verified_candidate(estimator, infer_schema(estimator), ROWS[:5].tolist())
    assert not isinstance(verified, str)
    for value in (0.0, -1.0):
        row = np.array([[1.0, 2.0, value, 4.0]])
        with pytest.raises(ValueError):
            estimator.predict(row)
        with pytest.raises(ValueError, match="not defined"):
            verified.compiled.predict(row)


def test_subclass_with_its_own_method_stays_native() -> None:
    estimator = LinearRegression().fit(ROWS, LABELS)
    verdict = compile_estimator(estimator, infer_schema(estimator), ROWS[:5].tolist())
    assert verdict.report.kind == "native"
    assert str(verdict.report.reason).startswith("LinearRegression has no compiled form here")
    assert verdict.model == b""


def test_labels_that_rest_on_scores_are_not_compared_alone() -> None:
    estimator = LocalOutlierFactor(novelty=True).fit(ROWS)
    verified = verified_candidate(estimator, infer_schema(estimator), ROWS[:20].tolist())
    assert isinstance(verified, str)
    assert "no decision function, from which scikit-learn's labels come" in verified


def test_every_road_that_disagrees_is_named_in_the_reason() -> None:
    rows = np.random.default_rng(0).integers(0, 2, size=(200, 3)).astype(float)
    from sklearn.neighbors import KNeighborsClassifier

    estimator = KNeighborsClassifier(3).fit(rows, np.random.default_rng(1).integers(0, 3, 200))
    verified = verified_candidate(estimator, infer_schema(estimator), rows[:20].tolist())
    # Equal distances everywhere: which neighbours count is chance, and no second form can promise the same.
    assert isinstance(verified, str)
    assert "differ" in verified or "apart" in verified
    assert "skl2onnx: " in verified
