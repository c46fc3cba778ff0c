"""Crafted states of older versions are refused, and change nothing of this process."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import NMF
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LinearRegression, TweedieRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC

from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.formats.migrations.names import NAMES, REMOVED_FUNCTION, REMOVED_OBJECT, STAND_INS
from models_registry.artifacts.formats.migrations.stand_ins import RemovedObject, restore_function
from models_registry.errors import RegistryError

X = np.abs(np.random.RandomState(0).rand(40, 3)) + 0.1
Y = np.arange(40) % 2
WATCHED = (MissingIndicator, TfidfTransformer, SimpleImputer, LinearRegression, StandardScaler, SVC)


def _crafted(step: Any, change: Callable[[dict[str, Any]], object]) -> Any:
    """Return a fitted pipeline whose first step has a state of another's making."""
    model = make_pipeline(step, LinearRegression()).fit(X, Y)
    change(model.steps[0][1].__dict__)
    return model


def _columns() -> ColumnTransformer:
    return ColumnTransformer([("s", StandardScaler(), [0, 1])], remainder="passthrough")


def _boosting(**state: Any) -> GradientBoostingRegressor:
    model = GradientBoostingRegressor(n_estimators=2).fit(X, Y)
    vars(model).update(state)
    return model


def _histogram(**state: Any) -> HistGradientBoostingRegressor:
    model = HistGradientBoostingRegressor(max_iter=2).fit(X, Y)
    del model._bin_mapper
    vars(model).update(state)
    return model


def _before_one(state: dict[str, Any]) -> dict[str, Any]:
    """Take away what scikit-learn 1.0 and newer note about columns."""
    for name in ("_transformer_to_input_indices", "feature_names_in_", "n_features_in_"):
        state.pop(name, None)
    return state


CRAFTED: dict[str, Callable[[], Any]] = {
    "columns beyond the input": lambda: _crafted(
        _columns(), lambda state: _before_one(state).update(_n_features=3, transformers_=[("s", StandardScaler(), [9])])
    ),
    "columns that are a huge range": lambda: _crafted(
        _columns(),
        lambda state: _before_one(state).update(_n_features=3, transformers_=[("s", StandardScaler(), range(10**7))]),
    ),
    "a count of columns that is none": lambda: _crafted(
        _columns(), lambda state: _before_one(state).update(_n_features="3")
    ),
    "more columns than an array may have": lambda: _crafted(
        _columns(), lambda state: _before_one(state).update(_n_features=10**30)
    ),
    "names of columns that are a class": lambda: _crafted(
        _columns(), lambda state: _before_one(state).update(_df_columns=SVC)
    ),
    "a polynomial with another number of outputs": lambda: _crafted(
        PolynomialFeatures(2),
        lambda state: (
            [state.pop(name) for name in ("_min_degree", "_max_degree", "_n_out_full")]
            + [state.update(n_output_features_=10**6)]
        ),
    ),
    "an encoder whose drops do not fit": lambda: _crafted(
        OneHotEncoder(handle_unknown="ignore"),
        lambda state: (state.pop("_n_features_outs"), state.update(drop_idx_=np.array([0, 0, 0, 0, 0]))),
    ),
    "an encoder of integers by position": lambda: _crafted(
        OneHotEncoder(handle_unknown="ignore"), lambda state: state.update(_legacy_mode=True)
    ),
    "a factorization with a penalty": lambda: _crafted(NMF(2), lambda state: state.update(alpha=0.5)),
    "first scores that are a class": lambda: _boosting(init_=LinearRegression),
    "first scores of another removed class": lambda: _boosting(init_=RemovedObject()),
    "bins that are a class": lambda: _histogram(bin_mapper_=LinearRegression),
    "bins without missing values": lambda: _histogram(bin_mapper_=None),
    "an imputer along its rows": lambda: _crafted(SimpleImputer(), lambda state: state.update(axis=1)),
    "an indicator that is a class": lambda: _crafted(
        SimpleImputer(add_indicator=True), lambda state: state.update(indicator_=MissingIndicator)
    ),
}


def _state_of(classes: tuple[type, ...]) -> list[dict[str, Any]]:
    return [dict(vars(cls)) for cls in classes]


@pytest.mark.parametrize("case", CRAFTED)
def test_crafted_old_state_is_refused_without_effect(case: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    joblib.dump(CRAFTED[case](), path)
    path.write_bytes(re.sub(re.escape(sklearn.__version__).encode(), b"0.229", path.read_bytes()))
    before = _state_of(WATCHED)
    with pytest.raises(RegistryError):
        model = open_artifact(path, "joblib")
        model.predict(X)
        raise AssertionError(f"{model} was opened")
    assert _state_of(WATCHED) == before


def test_what_stands_for_a_removed_function_cannot_be_called(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    model = make_pipeline(FunctionTransformer(np.log1p), LinearRegression()).fit(X, Y)
    joblib.dump(model, path)
    old = b"csklearn.model_selection._search_successive_halving\n_refit_callable\n"
    content = path.read_bytes()
    named = re.search(rb"\x8c\x05numpy\x94\x8c\x05log1p\x94\x93", content)
    assert named is not None
    path.write_bytes(content.replace(named[0], old))
    with pytest.raises(RegistryError):
        open_artifact(path, "joblib")


def test_power_of_a_generalized_model_must_be_a_number(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    model = TweedieRegressor(power=1).fit(X, Y + 0.5)
    del model._base_loss
    model.power = LinearRegression()
    joblib.dump(model, path)
    with pytest.raises(RegistryError, match="its distribution no longer exists"):
        open_artifact(path, "joblib")


def test_names_map_to_present_names_or_inert_stand_ins() -> None:
    assert {REMOVED_FUNCTION, REMOVED_OBJECT} <= STAND_INS
    present = {name for name in NAMES.values() if name not in STAND_INS}
    assert all(name.startswith(("sklearn.", "pandas.", "numpy.ma.", "numpy.random.", "builtins.")) for name in present)


@pytest.mark.parametrize("name", ["load", "frompyfunc", "vectorize", "core", "add.at", "negative.at", "ufunc", 3, None])
def test_name_of_a_function_of_arrays_restores_no_other(name: Any) -> None:
    with pytest.raises(TypeError, match="name no function of numpy"):
        restore_function("numpy", name)
    assert restore_function("numpy.core.umath", "log1p") is np.log1p
