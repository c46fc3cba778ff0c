"""Rows outside the sample find faults that the checks of the stored state miss."""

from __future__ import annotations

import ctypes
import time
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from models_registry.artifacts import adversarial
from models_registry.artifacts.adversarial import exercise
from models_registry.artifacts.inference import infer_schema
from models_registry.errors import InputError, UnsafeStructure

X = np.random.RandomState(0).rand(60, 3)
Y = (X[:, 0] > 0.5).astype(int)


class _Own:
    """The base of an operator's own steps."""

    n_features_in_ = 3
    _estimator_type = "regressor"

    def predict(self, rows: Any) -> Any:
        return np.asarray(rows)[:, 0]


class Uncleared(_Own):
    """Answers memory as it was found."""

    def predict(self, rows: Any) -> Any:
        size = len(rows) * 8
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        address = libc.malloc(size)
        return np.frombuffer(ctypes.string_at(address, size), dtype=np.uint8)[::8].astype(float)


class Outside(_Own):
    """Makes a sparse matrix that points outside of itself for large values alone."""

    def predict(self, rows: Any) -> Any:
        indices = np.where(np.asarray(rows)[:, 1] > 1e30, 9, 0)
        return scipy.sparse.csr_matrix((rows[:, 0], indices, np.arange(len(rows) + 1)), shape=(len(rows), 3)).sum(1)


class Mixing(_Own):
    """Answers how far a row is from the others."""

    def predict(self, rows: Any) -> Any:
        return rows[:, 0] - rows[:, 0].mean()


class Random(_Own):
    """Answers something else each time."""

    def predict(self, rows: Any) -> Any:
        return np.random.default_rng().random(len(rows))


class Waiting(_Own):
    """Waits for what it is told to."""

    def predict(self, rows: Any) -> Any:
        time.sleep(0.05 if np.abs(rows).max() > 1e30 else 0)
        return rows[:, 0]


class Refusing(_Own):
    """Takes no row but small ones."""

    def predict(self, rows: Any) -> Any:
        if np.abs(rows).max() > 1:
            raise InputError("too large")
        return rows[:, 0]


def _exercised(model: Any, instances: Any = ()) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exercise(model, infer_schema(model, None, instances or None), instances)
    return [str(one.message) for one in caught]


def test_memory_that_nobody_cleared_is_found() -> None:
    with pytest.raises(UnsafeStructure, match="uninitialized memory"):
        _exercised(Uncleared())


def test_matrix_that_points_outside_is_found() -> None:
    with pytest.raises(UnsafeStructure, match="sparse matrix that contradicts itself"):
        _exercised(Outside())


def test_encoder_is_tried_with_every_category() -> None:
    words = np.array([["a"], ["b"], ["c"]] * 20, dtype=object)
    encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=21, max_categories=2).fit(words)
    model = make_pipeline(encoder, LinearRegression()).fit(words, np.arange(60))
    encoder._default_to_infrequent_mappings[0] = np.array([0, 0, 7])

    with pytest.raises(UnsafeStructure, match="sparse matrix that contradicts itself"):
        _exercised(model, (["a"],))


def test_answer_that_depends_on_other_rows_is_a_warning() -> None:
    assert any("if the batch has other rows" in text for text in _exercised(Mixing(), X[:4].tolist()))


@pytest.mark.parametrize("model", [LogisticRegression().fit(X, Y), Random()], ids=["honest", "random"])
def test_answers_that_are_right_or_random_are_no_warning(model: Any) -> None:
    assert not [text for text in _exercised(model, X[:4].tolist()) if "other rows" in text]


def test_refused_row_is_the_models_own_affair() -> None:
    assert _exercised(Refusing(), X[:4].tolist()) == []


def test_rows_that_take_too_long_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversarial, "MAX_SECONDS", 0.01)
    assert any("not all of them were tried" in text for text in _exercised(Waiting()))


def test_records_of_unknown_names_are_tried() -> None:
    records = [{"age": 1.0, "city": "Oslo"}, {"age": 2.0, "city": "Rome"}]
    model = make_pipeline(DictVectorizer(), LinearRegression()).fit(records, [1.0, 2.0])
    model.steps[0][1].vocabulary_["city=Oslo"] = 99

    with pytest.raises(UnsafeStructure, match="sparse matrix that contradicts itself"):
        _exercised(model, tuple(records[1:]))
