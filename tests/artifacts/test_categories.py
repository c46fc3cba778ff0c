"""Categories are met in the dtype of the training: 64-bit ids, float32 numbers, booleans, texts of digits."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, OrdinalEncoder, TargetEncoder
from sklearn.tree import DecisionTreeClassifier

from models_registry.artifacts.features import DeclaredInput, Feature
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.prediction import call
from models_registry.artifacts.schema import Schema
from models_registry.compilation import sampling
from models_registry.compilation.compiled import CompiledModel
from models_registry.compilation.compiler import candidate_of, verified_candidate
from models_registry.errors import InputError
from models_registry.inference.batching import join

RNG = np.random.default_rng(2)
IDS = [2**60 + step for step in range(6)]
UNSIGNED = [2**63 + step for step in range(6)]
TREE = DecisionTreeClassifier(random_state=0)
OPEN = OneHotEncoder(handle_unknown="ignore")


def accounts(values: list[int], dtype: Any) -> tuple[pd.DataFrame, Any]:
    codes = np.arange(240) % 6
    column = pd.Series(np.array(values, dtype=object)[codes]).astype(dtype)
    return pd.DataFrame({"account": column, "amount": RNG.random(240)}), codes


def chosen(encoder: Any) -> Any:
    return make_pipeline(make_column_transformer((encoder, ["account"]), ("passthrough", ["amount"])), TREE)


def stored(model: Any, declared: Any = None) -> Schema:
    return Schema.from_json(json.loads(json.dumps(infer_schema(model, declared).to_json())))


def every_way(model: Any, schema: Schema, rows: list[Any]) -> list[list[Any]]:
    """Return the answers together, alone, as columns, batched, and compiled."""
    alone = [schema.parse([row]) for row in rows]
    ordered = sampling.ordered(schema, rows)
    columns = dict(zip(schema.names, map(list, zip(*ordered, strict=True)), strict=True))
    # Verifying it takes seconds, and is tested once below.
    candidate = candidate_of(model, schema, ordered)
    compiled = CompiledModel(candidate.model, candidate.plan)
    answers = [
        call(model, schema.parse(rows)),
        call(model, join(alone)),
        call(model, schema.from_columns(columns)),
        call(compiled, schema.without_frames().parse(rows)),
    ]
    return [answer.labels.tolist() for answer in answers] + [[call(model, row).labels.tolist()[0] for row in alone]]


ENCODERS = (OPEN, OneHotEncoder(), OrdinalEncoder())
COLUMNS = ((IDS, "int64"), (UNSIGNED, "uint64"), (IDS, "object"))
DECLARED = (None, "integer", "float")


# A Latin square: each two of the three meet.
@pytest.mark.parametrize(
    ("values", "dtype", "encoder", "declared"),
    [
        (*column, encoder, DECLARED[(row + place) % 3])
        for row, column in enumerate(COLUMNS)
        for place, encoder in enumerate(ENCODERS)
    ],
)
def test_ids_of_64_bits_stay_apart(values: Any, dtype: str, encoder: Any, declared: str | None) -> None:
    table, codes = accounts(values, dtype)
    model = chosen(encoder).fit(table, codes)
    schema = stored(model, declared and [DeclaredInput("account", declared)])
    assert (schema.inputs[0].dtype, schema.inputs[0].type) == (dtype, declared or "integer")
    rows = [{"account": item, "amount": 0.5} for item in values]
    assert every_way(model, schema, rows) == [list(range(6))] * 5


@pytest.mark.parametrize(("values", "dtype"), COLUMNS)
def test_compiled_form_of_ids_is_verified(values: Any, dtype: str) -> None:
    table, codes = accounts(values, dtype)
    model = chosen(OPEN).fit(table, codes)
    verified = verified_candidate(model, stored(model), [{"account": item, "amount": 0.5} for item in values])
    assert not isinstance(verified, str), verified


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(OPEN, TREE),
        make_pipeline(TargetEncoder(target_type="continuous"), TREE),
        make_pipeline(make_column_transformer((OrdinalEncoder(), [0])), TREE),
        CalibratedClassifierCV(make_pipeline(OPEN, TREE), cv=2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_ids_of_an_array_stay_apart(model: Any) -> None:
    table, codes = accounts(IDS, "int64")
    model.fit(table[["account"]].to_numpy(), codes)
    schema = stored(model)
    assert schema.container == "objects"
    assert every_way(model, schema, [[item] for item in IDS]) == [list(range(6))] * 5


def test_ids_of_boosting_stay_apart() -> None:
    table, codes = accounts(IDS, "int64")
    model = HistGradientBoostingClassifier(categorical_features=["account"], max_iter=5, random_state=0)
    model.fit(table, codes)
    rows = [{"account": item, "amount": 0.5} for item in IDS]
    expected = model.predict(pd.DataFrame(rows)).tolist()
    assert every_way(model, stored(model), rows) == [expected] * 5


def test_missing_id_among_others_rounds_none_of_them() -> None:
    table, codes = accounts(IDS, "int64")
    model = chosen(OPEN).fit(table, codes)
    rows = [{"account": item, "amount": 0.5} for item in (*IDS, None, 7)]
    assert [labels[:6] for labels in every_way(model, stored(model), rows)] == [list(range(6))] * 5


def test_what_does_not_hold_an_id_is_refused() -> None:
    account = Feature("account", "integer", tuple(IDS), closed=True, dtype="int64")
    schema = Schema((account,), container="objects")
    for value in (float(2**60), 1.152921504606846976e18):
        with pytest.raises(InputError, match="found the float 1.152921504606847e.18, which is not exact beyond 2..53"):
            schema.parse([[value]])
    for dtype in (np.float64, np.float32):
        with pytest.raises(InputError, match="as INT64 or UINT64 in a tensor"):
            schema.from_array(np.array([[2**60]], dtype=dtype))
    assert schema.from_array(np.array([[IDS[1]]])).tolist() == [[IDS[1]]]
    assert schema.from_array(np.array([[IDS[1]]], dtype=np.uint64)).tolist() == [[IDS[1]]]
    with pytest.raises(InputError, match="one of"):
        schema.from_array(np.array([[IDS[0] + 99]]))
    with pytest.raises(InputError, match="expected"):
        schema.from_array(np.array([[2**63]], dtype=np.uint64))


DOSES = np.array([0.1, 0.2, 0.3], np.float32)


@pytest.mark.parametrize(
    "encoder",
    [
        OPEN,
        OneHotEncoder(),
        OrdinalEncoder(),
        TargetEncoder(target_type="continuous"),
        KBinsDiscretizer(3, strategy="uniform", encode="ordinal"),
    ],
    ids=lambda encoder: type(encoder).__name__,
)
@pytest.mark.parametrize("is_table", [True, False])
def test_numbers_meet_categories_of_float32(encoder: Any, is_table: bool) -> None:
    codes = np.arange(90) % 3
    data = DOSES[codes][:, None]
    model = make_pipeline(encoder, TREE).fit(pd.DataFrame(data, columns=["dose"]) if is_table else data, codes)
    schema = stored(model)
    assert schema.inputs[0].dtype == "float32"
    assert schema.inputs[0].categories in {None, (0.1, 0.2, 0.3)}
    assert every_way(model, schema, [[0.1], [0.2], [0.3]]) == [[0, 1, 2]] * 5
    for dtype in (np.float32, np.float64):
        asked = np.array([[0.1], [0.2], [0.3]], dtype=dtype)
        assert call(model, schema.from_array(asked)).labels.tolist() == [0, 1, 2]


def test_boosting_on_an_array_of_float32_meets_its_categories() -> None:
    codes = np.arange(240) % 3
    model = HistGradientBoostingClassifier(categorical_features=[0], max_iter=9).fit(DOSES[codes][:, None], codes)
    assert every_way(model, stored(model), [[0.1], [0.2], [0.3]]) == [[0, 1, 2]] * 5


@pytest.mark.parametrize(
    ("data", "rows", "kind"),
    [
        (np.array([[True], [False]]), [[True], [False]], "boolean"),
        (np.array([["1"], ["2"]]), [["1"], ["2"]], "string"),
        (np.array([[0.1], [0.25]]), [[0.1], [0.25]], "float"),
        (np.array([[1], [2]], dtype=np.int8), [[1], [2]], "float"),
    ],
    ids=lambda value: getattr(value, "dtype", None) and str(value.dtype),
)
def test_other_categories_need_no_dtype(data: Any, rows: Any, kind: str) -> None:
    model = make_pipeline(OneHotEncoder(), TREE).fit(np.repeat(data, 9, axis=0), np.repeat([0, 1], 9))
    schema = stored(model)
    assert (schema.inputs[0].type, schema.inputs[0].dtype) == (kind, None)
    assert call(model, schema.parse(rows)).labels.tolist() == [0, 1]


def test_drawn_rows_hold_the_categories_as_they_are() -> None:
    schema = Schema((Feature("account", "integer", tuple(IDS), dtype="int64"),), container="objects")
    drawn = {row[0] for row in sampling.sample_rows(schema, [], {})}
    assert set(IDS) <= drawn
    assert {type(item) for item in drawn} == {int}
