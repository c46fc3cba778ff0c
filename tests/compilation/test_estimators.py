"""The table of docs/acceleration.md is true for every estimator."""

from __future__ import annotations

import numpy as np
import pytest

from models_registry.artifacts.prediction import call
from models_registry.compilation import sampling
from models_registry.compilation.compiler import verified_candidate
from models_registry.compilation.verification import verify
from tests.compilation import catalogue

CASES = catalogue.cases()
SECOND_SEED = 7


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_compiled_form_is_documented_and_answers_unseen_rows(case: catalogue.Case) -> None:
    fitted = catalogue.fit(case)
    verified = verified_candidate(fitted.estimator, fitted.schema, fitted.instances)

    documented = {(row[0], row[1]): row[2] for row in catalogue.table_rows()}
    assert documented[case.name, case.data] == catalogue.what_runs(verified)
    if isinstance(verified, str):
        return
    sample = sampling.ordered(fitted.schema, fitted.instances)
    candidate = verified.candidate
    fresh = sampling.sample_rows(
        fitted.schema, sample, candidate.thresholds, vocabulary=candidate.vocabulary, seed=SECOND_SEED
    )[len(sample) : 150]
    taken = verify(fitted.estimator, verified.compiled, fitted.schema, fresh).rows
    assert len(taken) >= 40
    parsed = fitted.schema.parse(taken)
    expected, found = call(fitted.estimator, parsed), call(verified.compiled, parsed)
    tolerance = verified.verification.tolerance
    if expected.labels.dtype.kind == "f":
        np.testing.assert_allclose(found.labels, expected.labels, rtol=tolerance)
    else:
        assert found.labels.tolist() == expected.labels.tolist()
        assert found.labels.dtype == expected.labels.dtype
        # An outlier detector has two answers and does not call them classes.
        assert verified.compiled.classes_.tolist() == list(getattr(fitted.estimator, "classes_", [-1, 1]))
    assert hasattr(verified.compiled, "predict_proba") == hasattr(fitted.estimator, "predict_proba")
    if expected.probabilities is not None:
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=tolerance)


def test_table_has_exactly_one_row_for_each_case() -> None:
    assert [row[:2] for row in catalogue.table_rows()] == [(case.name, case.data) for case in CASES]


def test_table_trees_are_exact_to_the_last_bits() -> None:
    trees = [row for row in catalogue.table_rows() if row[0].startswith(("RandomForest", "ExtraTree", "DecisionTree"))]
    assert len(trees) >= 10
    assert {row[3] for row in trees} == {"equal"}
