"""The type of a column follows from all steps that use it, through any estimator around a pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RANSACRegressor, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from models_registry.artifacts.features import DeclaredInput
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.manifest import Sample
from models_registry.artifacts.prediction import call
from models_registry.artifacts.schema import Schema
from models_registry.artifacts.trial import try_model
from tests.compilation import catalogue

RNG = np.random.default_rng(3)
N = 96
TABLE = pd.DataFrame(
    {
        "area": RNG.uniform(20, 200, N),
        "district": RNG.choice(["north", "south", "west"], N),
        "age": RNG.uniform(0, 90, N),
    }
)
TABLE.loc[::8, "age"] = np.nan
PRICE = TABLE.area * 3 + (TABLE.district == "west") * 50
DEAR = (PRICE > 330).astype(int)
BOTH = np.c_[DEAR, 1 - DEAR]
ROWS = json.loads(TABLE.head(9).to_json(orient="records", double_precision=15))


def columns() -> Any:
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["area", "age"]),
        (OneHotEncoder(handle_unknown="ignore"), ["district"]),
    )


def classifier(last: Any = None) -> Any:
    return make_pipeline(columns(), LogisticRegression() if last is None else last)


def regressor() -> Any:
    return make_pipeline(columns(), Ridge())


def pair() -> list[tuple[str, Any]]:
    return [("a", classifier()), ("b", classifier(RandomForestClassifier(3, random_state=0)))]


AROUND: dict[str, Callable[[], Any]] = {
    "target": lambda: TransformedTargetRegressor(regressor(), func=np.log1p, inverse_func=np.expm1).fit(TABLE, PRICE),
    "calibrated": lambda: CalibratedClassifierCV(classifier(), cv=2).fit(TABLE, DEAR),
    "calibrated once": lambda: CalibratedClassifierCV(classifier(), cv=2, ensemble=False).fit(TABLE, DEAR),
    "calibrated frozen": lambda: CalibratedClassifierCV(FrozenEstimator(classifier().fit(TABLE, DEAR))).fit(
        TABLE, DEAR
    ),
    "tuned": lambda: TunedThresholdClassifierCV(classifier(), cv=2).fit(TABLE, DEAR),
    "fixed": lambda: FixedThresholdClassifier(classifier(), threshold=0.3).fit(TABLE, DEAR),
    "voting": lambda: VotingClassifier([*pair(), ("c", "drop")], voting="soft").fit(TABLE, DEAR),
    "voting regressor": lambda: VotingRegressor([("a", regressor()), ("b", regressor())]).fit(TABLE, PRICE),
    "stacking": lambda: StackingClassifier(pair(), cv=2).fit(TABLE, DEAR),
    "stacking regressor": lambda: StackingRegressor([("a", regressor())], cv=2).fit(TABLE, PRICE),
    "one against the rest": lambda: OneVsRestClassifier(classifier()).fit(TABLE, TABLE.district),
    "output code": lambda: OutputCodeClassifier(classifier(), random_state=0).fit(TABLE, TABLE.district),
    "several labels": lambda: MultiOutputClassifier(classifier()).fit(TABLE, BOTH),
    "several numbers": lambda: MultiOutputRegressor(regressor()).fit(TABLE, BOTH),
    "grid": lambda: GridSearchCV(TransformedTargetRegressor(regressor()), {"regressor__ridge__alpha": [1]}, cv=2).fit(
        TABLE, PRICE
    ),
    "random search": lambda: RandomizedSearchCV(classifier(), {"logisticregression__C": [1]}, n_iter=1, cv=2).fit(
        TABLE, DEAR
    ),
    "behind an identity": lambda: make_pipeline(FunctionTransformer(), "passthrough", classifier()).fit(TABLE, DEAR),
    "nested": lambda: CalibratedClassifierCV(
        VotingClassifier([("a", OneVsRestClassifier(classifier()))], voting="soft"), cv=2
    ).fit(TABLE, DEAR),
}


def stored(model: Any, instances: Sequence[Any] | None = None) -> Schema:
    return Schema.from_json(json.loads(json.dumps(infer_schema(model, instances=instances).to_json())))


def answered(model: Any, schema: Schema, rows: list[Any]) -> Any:
    """Return the answers to rows, once they were tried without a sample and as one."""
    trial = try_model(model, schema, None, is_declared=False)
    try_model(model, schema, Sample(tuple(rows)), is_declared=False)
    schema.parse([trial.example])
    return call(model, schema.parse(rows)).labels


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", AROUND)
def test_columns_are_read_through_a_wrapping_estimator(key: str) -> None:
    model = AROUND[key]()
    schema = stored(model)
    assert [(item.name, item.type, item.nullable) for item in schema.inputs] == [
        ("area", "float", True),
        ("district", "string", True),
        ("age", "float", True),
    ]
    assert_same(answered(model, schema, ROWS), model.predict(TABLE.head(9)))


def assert_same(found: Any, expected: Any) -> None:
    if np.asarray(expected).dtype.kind == "f":
        np.testing.assert_allclose(found, expected)
    else:
        np.testing.assert_array_equal(found, expected)


NUMBERS = TABLE[["area", "age"]].fillna(1.0).to_numpy()
ON_ARRAYS: dict[str, Callable[[], Any]] = {
    "bagging": lambda: BaggingClassifier(LogisticRegression(), 3, max_features=1, random_state=1).fit(NUMBERS, DEAR),
    "self-training": lambda: SelfTrainingClassifier(LogisticRegression()).fit(NUMBERS, DEAR),
    "one against one": lambda: OneVsOneClassifier(LogisticRegression()).fit(NUMBERS, TABLE.district),
    "chain": lambda: ClassifierChain(LogisticRegression()).fit(NUMBERS, BOTH),
    "chain of regressors": lambda: RegressorChain(Ridge()).fit(NUMBERS, BOTH),
    "consensus": lambda: RANSACRegressor(Ridge(), min_samples=5, random_state=0).fit(NUMBERS, PRICE),
    "elimination": lambda: RFE(LogisticRegression(), n_features_to_select=1).fit(NUMBERS, DEAR),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", ON_ARRAYS)
def test_wrappers_that_look_over_arrays_take_finite_numbers(key: str) -> None:
    model = ON_ARRAYS[key]()
    schema = stored(model)
    assert [(item.type, item.nullable) for item in schema.inputs] == [("float", False)] * 2
    assert_same(answered(model, schema, NUMBERS[:5].tolist()), model.predict(NUMBERS[:5]))


MOOD = [1, 0, 1, 0] * 8
WORDS = ["fast delivery", "broken box", "fast and kind", "late and broken"] * 8


@pytest.mark.parametrize(
    "model",
    [
        CalibratedClassifierCV(make_pipeline(TfidfVectorizer(), LinearSVC()), cv=2).fit(WORDS, MOOD),
        VotingClassifier([("a", make_pipeline(TfidfVectorizer(), LinearSVC()))]).fit(WORDS, MOOD),
        make_pipeline(make_union(TfidfVectorizer(), TfidfVectorizer(analyzer="char")), LinearSVC()).fit(WORDS, MOOD),
        OneVsRestClassifier(make_pipeline(TfidfVectorizer(), LinearSVC())).fit(WORDS, MOOD),
    ],
    ids=lambda model: type(model).__name__,
)
def test_texts_are_found_through_estimators_around_a_vectorizer(model: Any) -> None:
    schema = stored(model)
    assert (schema.container, [item.type for item in schema.inputs]) == ("text", ["string"])
    assert answered(model, schema, WORDS[:4]).tolist() == model.predict(WORDS[:4]).tolist()


ORDINAL = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
WAYS: dict[str, Callable[[], Any]] = {
    "remainder": lambda: make_column_transformer((ORDINAL, ["district"]), remainder="passthrough"),
    "passthrough": lambda: make_column_transformer((ORDINAL, ["district"]), ("passthrough", ["area", "age"])),
    "identity function": lambda: make_column_transformer(
        (ORDINAL, ["district"]), (FunctionTransformer(), ["area", "age"])
    ),
    "ufunc": lambda: make_column_transformer((ORDINAL, ["district"]), (FunctionTransformer(np.tanh), ["area", "age"])),
    "union": lambda: make_column_transformer(
        (ORDINAL, ["district"]), (make_union("passthrough", StandardScaler()), ["area", "age"])
    ),
    "scaled remainder": lambda: make_column_transformer((ORDINAL, ["district"]), remainder=StandardScaler()),
    "chosen twice": lambda: make_pipeline(
        make_column_transformer((ORDINAL, ["district"]), remainder="passthrough"),
        make_column_transformer(("passthrough", [0, 1]), remainder="passthrough"),
    ),
}
TAKE_MISSING = [
    HistGradientBoostingClassifier(max_iter=3),
    RandomForestClassifier(3, random_state=0),
    ExtraTreesClassifier(3, random_state=0),
    DecisionTreeClassifier(random_state=0),
    BaggingClassifier(DecisionTreeClassifier(), 3, random_state=0),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("last", TAKE_MISSING, ids=lambda item: type(item).__name__)
def test_missing_values_pass_through_to_what_takes_them(way: str, last: Any) -> None:
    model = make_pipeline(WAYS[way](), last).fit(TABLE, DEAR)
    schema = stored(model)
    kinds = {item.name: (item.type, item.nullable) for item in schema.inputs}
    assert kinds == {"area": ("float", True), "district": ("string", True), "age": ("float", True)}
    assert answered(model, schema, ROWS).tolist() == model.predict(TABLE.head(9)).tolist()


@pytest.mark.parametrize("way", WAYS)
def test_missing_values_stop_at_what_refuses_them(way: str) -> None:
    whole = TABLE.fillna(1.0)
    model = make_pipeline(WAYS[way](), LogisticRegression(max_iter=2000)).fit(whole, DEAR)
    assert {item.name for item in infer_schema(model).inputs if item.nullable} == {"district"}


def test_shared_column_is_optional_where_both_consumers_allow_it() -> None:
    whole = TABLE.fillna(1.0)
    choice = make_column_transformer((SimpleImputer(), ["area", "age"]), ("passthrough", ["age"]))
    area, _, age = infer_schema(make_pipeline(choice, LogisticRegression()).fit(whole, DEAR)).inputs
    assert (area.nullable, age.nullable) == (True, False)


def test_boolean_samples_mark_a_numeric_column() -> None:
    table = TABLE.fillna(1.0).assign(age=TABLE.area > 100)
    choice = make_column_transformer((ORDINAL, ["district"]), remainder="passthrough")
    model = make_pipeline(choice, LogisticRegression(max_iter=2000)).fit(table, DEAR)
    rows = table.head(4).to_dict("records")
    assert [item.type for item in infer_schema(model, None, rows).inputs] == ["float", "string", "boolean"]
    declared = infer_schema(model, [DeclaredInput("age", "float")], rows)
    assert [item.type for item in declared.inputs] == ["float", "string", "float"]


def test_categories_of_folds_are_shared() -> None:
    table = pd.DataFrame({"size": ["S", "M", "L"] * 8 + ["XL"]})
    folds = [(np.arange(12), np.arange(12, 25)), (np.arange(13, 25), np.arange(13))]
    labels = [0, 1] * 12 + [0]
    strict = CalibratedClassifierCV(make_pipeline(OneHotEncoder(), LogisticRegression()), cv=folds)
    with pytest.raises(ValueError, match="unknown categories"):
        strict.fit(table, labels)
    free = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    size = infer_schema(CalibratedClassifierCV(free, cv=folds).fit(table, labels)).inputs[0]
    assert (set(size.categories or ()), size.closed) == ({"S", "M", "L", "XL"}, False)


SWEEP = catalogue.cases()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", SWEEP, ids=[case.title for case in SWEEP])
def test_every_estimator_of_the_table_answers_its_own_example(case: catalogue.Case) -> None:
    fitted = catalogue.fit(case)
    schema = stored(fitted.estimator)
    trial = try_model(fitted.estimator, schema, None, is_declared=False)
    assert call(fitted.estimator, trial.schema.parse([trial.example] * 2)).is_finite()
    # Only the sample tells that a column of numbers is one of booleans.
    sampled = stored(fitted.estimator, fitted.instances)
    seen = try_model(fitted.estimator, sampled, Sample(fitted.instances), is_declared=False)
    assert len(seen.predictions or ()) == len(fitted.instances)
