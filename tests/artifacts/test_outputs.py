"""Whatever a model returns ends as right JSON, or as a refusal."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from models_registry.artifacts.outputs import as_array, as_labels, as_probabilities
from models_registry.artifacts.prediction import Prediction
from models_registry.errors import NoPrediction

FLAGS = [[0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (sp.csr_matrix(FLAGS), FLAGS),
        (sp.coo_array(FLAGS), FLAGS),
        (pd.DataFrame(FLAGS, columns=["a", "b", "c"], index=[7, 9]), FLAGS),
        (pd.DataFrame({"size": ["S", "L"], "count": [1, 2]}), [["S", 1], ["L", 2]]),
        (pd.Series(["S", "L"], index=[3, 1]), ["S", "L"]),
        (pd.Series([1, 2], dtype="Int64"), [1, 2]),
        (pd.Series(["S", "L"], dtype="category"), ["S", "L"]),
        (pd.Series(["S", "L"], dtype="string"), ["S", "L"]),
        (np.array([["S"], ["L"]]), ["S", "L"]),
        (np.array([np.str_("S"), np.int64(3)], dtype=object), ["S", 3]),
        (np.array([True, False]), [True, False]),
        (np.array([1, 2**64 - 1], dtype=np.uint64), [1, 2**64 - 1]),
        (np.array([0.5, 2.0], dtype=np.longdouble), [0.5, 2.0]),
        (np.ma.masked_array([1, 2], mask=[False, False]), [1, 2]),
        (np.array(["S", "long"], dtype=np.dtypes.StringDType()), ["S", "long"]),
        ([1.5, 2.5], [1.5, 2.5]),
    ],
    ids=lambda value: f"{type(value).__name__}" if not isinstance(value, list) else "",
)
def test_numbers_strings_and_booleans_come_out_plain(value: Any, expected: Any) -> None:
    found = as_labels(value, [[0], [1]]).tolist()
    assert found == expected
    assert {type(item) for item in np.array(found, dtype=object).ravel()} <= {int, float, str, bool}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (np.array(["2020-01-01", "2021-01-01"], dtype="datetime64[ns]"), "datetime64"),
        (np.array([1, 2], dtype="timedelta64[s]"), "timedelta64"),
        (np.array([b"a", b"b"]), "S1"),
        (np.array([1j, 2j]), "complex128"),
        (np.array([(1, 2.0), (3, 4.0)], dtype=[("a", "i4"), ("b", "f8")]), "'a'"),
        (np.array([b"a", b"b"], dtype=object), "bytes"),
        (np.array([datetime(2020, 1, 1)] * 2, dtype=object), "datetime"),
        (np.array([Decimal("1.5")] * 2, dtype=object), "Decimal"),
        (np.array(["a", None], dtype=object), "NoneType"),
        (np.array([1, 2**70], dtype=object), "more than 64 bits"),
        ([[1, 2], [3]], "different lengths"),
        ([{"a": 1}, {"a": 2}], "dict"),
        (np.ma.masked_array([1, 2], mask=[False, True]), "masked"),
        (sp.csr_matrix(np.array(FLAGS, dtype=complex)), "complex"),
        (object(), "object"),
    ],
    ids=lambda value: "",
)
def test_what_no_json_holds_is_refused_by_its_type(value: Any, found: str) -> None:
    with pytest.raises(NoPrediction, match=f"The model returns predictions .*{found}.*; expected numbers, strings"):
        as_labels(value, [[0], [1]])


@pytest.mark.parametrize("value", [pd.Series([1, None], dtype="Int64"), np.array([0.5, np.nan], dtype=object)])
def test_missing_numbers_are_not_finite(value: Any) -> None:
    assert not Prediction(as_labels(value, [[0], [1]])).is_finite()


def test_number_of_answers_is_the_number_of_rows() -> None:
    with pytest.raises(NoPrediction, match="3 predictions for 1 row; expected one for each row"):
        as_labels(np.array([0, 1, 0]), [[0.0]])
    with pytest.raises(NoPrediction, match="1 predictions for 2 rows"):
        as_labels(np.float64(3.5), [[0.0], [1.0]])
    assert as_labels(np.float64(3.5), [[0.0]]).tolist() == [3.5]


def test_probabilities_have_a_column_for_each_class() -> None:
    rows = [[0.0], [1.0]]
    assert np.array_equal(as_probabilities(sp.csr_matrix([[0.25, 0.75], [1, 0]]), rows), [[0.25, 0.75], [1, 0]])
    assert len(as_probabilities([np.ones((2, 2)), np.ones((2, 3))], rows) or ()) == 2
    with pytest.raises(NoPrediction, match=r"probabilities of the type float64 and the shape \(2,\)"):
        as_probabilities(np.array([0.5, 0.5]), rows)


def test_other_values_are_called_by_their_name() -> None:
    with pytest.raises(NoPrediction, match="returns values of 'transform' of the type complex128"):
        as_array(np.array([[1j]]), "values of 'transform'")
