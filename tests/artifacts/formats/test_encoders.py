"""Transformers of feature_engine with a plain state load in a pipeline; crafted state is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import feature_engine
import joblib
import numpy as np
import pandas as pd
import pytest
from feature_engine import (
    creation,
    discretisation,
    encoding,
    imputation,
    outliers,
    scaling,
    selection,
    transformation,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from models_registry.artifacts import other_packages
from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.policy import judge
from models_registry.artifacts.prediction import call
from models_registry.errors import ArtifactError, BrokenArtifact, UnsafeStructure

RANDOM = np.random.RandomState(0)
TABLE = pd.DataFrame(
    {"size": RANDOM.rand(60) / 2 + 0.1, "age": RANDOM.rand(60) / 2 + 0.2, "city": (["Oslo", "Rome", "Bern"] * 60)[:60]}
)
NUMBERS = TABLE[["size", "age"]]
Y = (TABLE["size"] > TABLE["size"].median()).astype(int)
ON_NUMBERS: list[Any] = [
    imputation.MeanMedianImputer(), imputation.ArbitraryNumberImputer(), imputation.EndTailImputer(),
    imputation.AddMissingIndicator(missing_only=False), outliers.Winsorizer(),
    outliers.ArbitraryOutlierCapper(max_capping_dict={"age": 0.5}), transformation.ArcsinTransformer(),
    transformation.BoxCoxTransformer(), transformation.LogTransformer(), transformation.LogCpTransformer(),
    transformation.PowerTransformer(), transformation.ReciprocalTransformer(), transformation.YeoJohnsonTransformer(),
    discretisation.EqualFrequencyDiscretiser(q=3), discretisation.EqualWidthDiscretiser(bins=3),
    discretisation.ArbitraryDiscretiser(binning_dict={"age": [-np.inf, 0.4, np.inf], "size": [-np.inf, 0.3, np.inf]}),
    discretisation.GeometricWidthDiscretiser(bins=3), selection.DropFeatures(features_to_drop=["age"]),
    selection.DropConstantFeatures(), selection.DropDuplicateFeatures(), selection.DropCorrelatedFeatures(),
    selection.DropHighPSIFeatures(threshold=99.0), selection.SmartCorrelatedSelection(), creation.CyclicalFeatures(),
    scaling.MeanNormalizationScaler(),
]  # fmt: skip
ON_TEXTS: list[Any] = [
    encoding.CountFrequencyEncoder(), encoding.MeanEncoder(), encoding.OneHotEncoder(), encoding.OrdinalEncoder(),
    encoding.WoEEncoder(), make_pipeline(encoding.RareLabelEncoder(n_categories=1), encoding.OrdinalEncoder()),
    make_pipeline(imputation.CategoricalImputer(), encoding.OrdinalEncoder()),
]  # fmt: skip


def _name(value: Any) -> str:
    return type(value.steps[0][1] if isinstance(value, Pipeline) else value).__name__


def _saved(model: Any, path: Path) -> Path:
    joblib.dump(model, path / "m.joblib")
    return path / "m.joblib"


@pytest.mark.parametrize(
    ("step", "table"), [*((step, NUMBERS) for step in ON_NUMBERS), *((step, TABLE) for step in ON_TEXTS)],
    ids=[_name(step) for step in ON_NUMBERS + ON_TEXTS],
)  # fmt: skip
def test_transformer_answers_as_it_did(step: Any, table: pd.DataFrame, tmp_path: Path) -> None:
    model = make_pipeline(step, LogisticRegression()).fit(table, Y)
    path = _saved(model, tmp_path)
    assert judge(inspect_artifact(path, "joblib", max_claimed_bytes=10**9)) == ()
    opened = open_artifact(path, "joblib")
    schema = infer_schema(opened, None, table.head(5).to_dict("records"))
    found = call(opened, schema.parse(table.to_dict("records")))
    np.testing.assert_array_equal(found.probabilities, model.predict_proba(table))


def test_list_has_a_case_for_every_name() -> None:
    cases = [step for given in ON_TEXTS + ON_NUMBERS for step in getattr(given, "_final_steps", [given])]
    flat = [part for case in cases for part in ([s for _, s in case.steps] if isinstance(case, Pipeline) else [case])]
    assert {f"{type(part).__module__}.{type(part).__name__}" for part in flat} == set(other_packages.ENCODERS)
    assert feature_engine.__name__ in other_packages.PACKAGES


def _crafted(model: Any, **state: Any) -> Any:
    for name, value in state.items():
        setattr(model, name, value)
    return make_pipeline(model, LogisticRegression())


FITTED = TABLE.assign(city=TABLE["city"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: _crafted(encoding.MeanEncoder().fit(TABLE, Y), encoder_dict_={"city": np.ndarray}),
        lambda: _crafted(encoding.MeanEncoder().fit(TABLE, Y), encoder_dict_={"city": {"Oslo": np.log}}),
        lambda: _crafted(encoding.MeanEncoder().fit(TABLE, Y), transform=np.log),
        lambda: _crafted(imputation.MeanMedianImputer().fit(NUMBERS), imputer_dict_={"age": LogisticRegression()}),
        lambda: _crafted(imputation.MeanMedianImputer().fit(NUMBERS), imputer_dict_=[[[[[[[1]]]]]]]),
        lambda: _crafted(discretisation.EqualWidthDiscretiser().fit(NUMBERS), binner_dict_={"age": 10**12}),
        lambda: _crafted(discretisation.EqualWidthDiscretiser().fit(NUMBERS), binner_dict_=10**12),
    ],
)
def test_crafted_state_is_refused(make: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsafeStructure):
        open_artifact(_saved(make(), tmp_path), "joblib")


@pytest.mark.parametrize(
    "step",
    [
        imputation.RandomSampleImputer(),
        creation.MathFeatures(variables=["size", "age"], func="sum"),
        outliers.OutlierTrimmer(),
    ],
    ids=_name,
)
def test_other_transformers_are_refused_by_name(step: Any, tmp_path: Path) -> None:
    path = _saved(make_pipeline(step.fit(NUMBERS), LogisticRegression()), tmp_path)
    assert f"trusted names: feature_engine.{type(step).__module__.partition('.')[2]}" in " ".join(
        judge(inspect_artifact(path, "joblib", max_claimed_bytes=10**9))
    )
    with pytest.raises(ArtifactError):
        open_artifact(path, "joblib")


def test_missing_package_is_named_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _saved(make_pipeline(scaling.MeanNormalizationScaler(), LogisticRegression()).fit(NUMBERS, Y), tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "feature_engine"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        BrokenArtifact, match=r"needs feature-engine, which is not installed.*requirements/encoders\.txt"
    ):
        open_artifact(path, "joblib")
