"""Columns and matrices of numbers on their way to a model."""

from __future__ import annotations

import numpy as np
import pytest

from models_registry.artifacts.features import Feature
from models_registry.artifacts.schema import Schema
from models_registry.errors import InputError

FLOATS = Schema((Feature("a"), Feature("b", nullable=True)))
MIXED = Schema(
    (
        Feature("n", "integer"),
        Feature("x", nullable=True),
        Feature("s", "string", ("u", "v"), closed=True),
        Feature("t", "boolean"),
        Feature("o", "any", nullable=True),
    ),
    container="frame",
    named=True,
)
TOO_LARGE = "a number that is too large (the largest is 3.403e+38)"


def mixed(**changes):
    columns = {"n": [1, 2], "x": [1.5, 2], "s": ["u", "v"], "t": [True, False], "o": ["a", "b"]}
    return MIXED.from_columns({**columns, **changes})


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<f2", "<i8", "<u1", "<i2"])
def test_a_matrix_of_any_numbers_becomes_float64(dtype):
    given = np.array([[1, 2], [3, 4]], dtype=dtype)
    parsed = FLOATS.from_array(given)
    assert parsed.dtype == np.float64
    assert parsed.tolist() == [[1, 2], [3, 4]]


def test_matrix_that_views_a_request_is_copied():
    raw = b"odd" + np.arange(4.0).tobytes()
    looking = np.frombuffer(raw, "<f8", offset=3).reshape(2, 2)
    assert not looking.flags.aligned
    parsed = FLOATS.from_array(looking)
    assert parsed.flags.aligned
    assert parsed.flags.writeable
    assert parsed.flags.c_contiguous
    assert parsed.tolist() == [[0, 1], [2, 3]]


REFUSED = {
    "NaN": ([[0, 0], [np.nan, 0]], 1, "a", "not a number"),
    "infinite": ([[0, 0], [0, -np.inf]], 1, "b", TOO_LARGE),
    "beyond float32": ([[0, 1e39], [np.inf, 0]], 0, "b", TOO_LARGE),
    "the first row, then the first feature": ([[0, 0], [np.nan, np.inf]], 1, "a", "not a number"),
}


@pytest.mark.parametrize(("rows", "row", "feature", "found"), REFUSED.values(), ids=REFUSED.keys())
def test_the_first_refused_number_is_named(rows, row, feature, found):
    with pytest.raises(InputError) as error:
        FLOATS.from_array(np.array(rows))
    assert error.value.details | {"row": row, "feature": feature, "found": found} == error.value.details


def test_nan_is_a_missing_value_where_one_is_taken():
    assert np.isnan(FLOATS.from_array(np.array([[1, np.nan]]))[0, 1])
    assert np.isnan(FLOATS.from_columns({"b": np.array([np.nan]), "a": [1]})[0, 1])
    assert np.isnan(FLOATS.from_columns({"b": [None], "a": [1]})[0, 1])


@pytest.mark.parametrize("shape", [(2,), (2, 3), (1, 2, 2), (2, 0)])
def test_another_shape_is_refused(shape):
    with pytest.raises(InputError, match=r"Expected numbers of shape \[rows, 2\]"):
        FLOATS.from_array(np.zeros(shape))


def test_booleans_are_no_numbers():
    with pytest.raises(InputError, match="expected a number, found true"):
        FLOATS.from_array(np.array([[True, False]]))


def test_closed_and_whole_numbers_are_checked_at_once():
    schema = Schema((Feature("c", "float", (1.0, 2.0), closed=True), Feature("n", "integer")))
    assert schema.from_array(np.array([[1.0, 3.0], [2.0, -1.0]])).tolist() == [[1, 3], [2, -1]]
    with pytest.raises(InputError, match=r"Row 1, feature 'c': expected one of 1.0, 2.0, found 3.0"):
        schema.from_array(np.array([[1.0, 3.0], [3.0, 0.5]]))
    with pytest.raises(InputError, match=r"Row 0, feature 'n': expected a whole number, found 0.5"):
        schema.from_array(np.array([[1.0, 0.5]]))


def test_categories_of_several_kinds_take_each_of_them():
    schema = Schema((Feature("c", "any", (1, "a", True), closed=True),), container="objects")
    assert schema.from_columns({"c": np.array([1, 1])}).tolist() == [[1], [1]]
    assert schema.from_columns({"c": ["a", 1]}).tolist() == [["a"], [1]]
    with pytest.raises(InputError, match="Row 1, feature 'c'"):
        schema.from_columns({"c": np.array([1, 2])})


@pytest.mark.parametrize(
    "values", [[1, 0], [1.0, False], np.array([1, 0]), np.array([1.0, 0]), np.array([True, False])]
)
def test_a_boolean_may_be_said_by_0_and_1(values):
    frame = mixed(t=values)
    assert (frame["t"].tolist(), str(frame["t"].dtype)) == ([True, False], "bool")


def test_a_missing_boolean_leaves_the_others_booleans():
    schema = Schema((Feature("t", "boolean", nullable=True),), container="frame")
    for values in (np.array([1.0, np.nan, 0.0]), [1, None, False]):
        column = schema.from_columns({"t": values})["t"].tolist()
        assert (column[0], column[2], np.isnan(column[1])) == (True, False, True)


def test_columns_keep_the_dtypes_of_training():
    frame = mixed(n=np.array([1.0, 2.0]), t=np.array([True, False]), o=np.array([1, 2]))
    assert frame.dtypes.to_dict() == mixed(o=[1, 2]).dtypes.to_dict()
    assert [str(frame[name].dtype) for name in "nxt"] == ["int64", "float64", "bool"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": np.array([1.5, 2])}, "Row 0, feature 'n': expected a whole number, found 1.5"),
        ({"n": np.array([1, 2**63], dtype=np.uint64)}, "Row 1, feature 'n'"),
        ({"n": [1, "2"]}, "Row 1, feature 'n'"),
        ({"x": [1, 10**400]}, "Row 1, feature 'x'"),
        ({"s": ["u", "w"]}, "Row 1, feature 's': expected one of 'u', 'v'"),
        ({"s": np.array([1, 2])}, "Row 0, feature 's'"),
        ({"t": np.array([1, 2])}, "Row 1, feature 't': expected true or false (or 1 or 0), found 2"),
        ({"t": np.array([1, np.nan])}, "Row 1, feature 't'"),
        ({"t": [True, "true"]}, "Row 1, feature 't'"),
        ({"z": [1, 2]}, "Unknown feature 'z'"),
    ],
)
def test_refused_columns_are_named(changes, message):
    with pytest.raises(InputError) as error:
        mixed(**changes)
    assert str(error.value).startswith(message)


def test_missing_columns_are_all_named():
    with pytest.raises(InputError, match="Features 's', 't', 'o' are missing"):
        MIXED.from_columns({"n": [1], "x": [1.0]})


def test_columns_and_rows_give_the_same():
    rows = [{"n": 1, "x": None, "s": "u", "t": True, "o": "a"}, {"n": 2, "x": 2.5, "s": "v", "t": False, "o": None}]
    by_columns = MIXED.from_columns({name: [row[name] for row in rows] for name in rows[0]})
    assert by_columns.equals(MIXED.parse(rows))
    objects = MIXED.without_frames()
    again = objects.as_frame(objects.parse(rows))
    assert again.equals(MIXED.parse(rows))


def test_records_take_columns_and_no_matrix():
    records = Schema((), container="records", named=True)
    assert records.from_columns({"a": np.array([1, 2]), "b": ["x", "y"]}) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    with pytest.raises(InputError, match="name each column"):
        records.from_array(np.zeros((1, 1)))
