"""Whatever inputs a graph has: its columns tell their types, and no value reaches it as another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from models_registry.artifacts.features import DeclaredInput, Feature
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.prediction import call
from models_registry.errors import InputError, NoPrediction
from tests.artifacts.formats.test_onnx_outputs import graph, info, opened

KINDS = {
    "float16": TensorProto.FLOAT16, "float": TensorProto.FLOAT, "double": TensorProto.DOUBLE,
    "int8": TensorProto.INT8, "int32": TensorProto.INT32, "int64": TensorProto.INT64, "uint8": TensorProto.UINT8,
    "uint64": TensorProto.UINT64, "bool": TensorProto.BOOL, "string": TensorProto.STRING,
}  # fmt: skip


def copying(kind: str, shape: list[Any] | None = None) -> bytes:
    """Return a graph that answers its one column."""
    shape = [None, 1] if shape is None else shape
    return graph([helper.make_node("Identity", ["x"], ["y"])], [info("x", KINDS[kind], shape)],
                 [info("y", KINDS[kind], shape)])  # fmt: skip


TAKEN = {
    "float16": ("float", [1.5, 65504.0]),
    "float": ("float", [1.5, -2.0]),
    "double": ("float", [0.1, 1e30]),
    "int8": ("integer", [-128, 127]),
    "int32": ("integer", [1, -(2**31)]),
    "int64": ("integer", [2**53 + 1, -(2**63) + 1]),
    "uint8": ("integer", [0, 255]),
    "uint64": ("integer", [0, 2**63 - 1]),
    "bool": ("boolean", [True, False]),
    "string": ("string", ["a", "Ä b"]),
}


@pytest.mark.parametrize("shape", [[None, 1], [None], [1, 1]], ids=str)
@pytest.mark.parametrize("kind", TAKEN)
def test_values_of_each_type_reach_the_graph_exactly(kind: str, shape: list[Any], tmp_path: Path) -> None:
    feature, values = TAKEN[kind]
    model = opened(tmp_path, copying(kind, shape))
    schema = infer_schema(model)
    assert schema.inputs == (Feature("x0", feature),)
    for rows in (schema.parse([[value] for value in values]), schema.from_columns({"x0": np.array(values)})
                 if feature != "string" else schema.from_columns({"x0": values})):  # fmt: skip
        found = call(model, rows).predictions()
        assert found == values
        assert [type(value) for value in found] == [type(value) for value in values]


LOST = {
    "a fraction": ("int64", 1.5, "expected a whole number"),
    "beyond int8": ("int8", 128, "expected a whole number from -128 to 127"),
    "beyond int32": ("int32", 2**31, "expected a whole number from -2147483648 to 2147483647"),
    "below zero": ("uint8", -1, "expected a whole number from 0 to 255"),
    "beyond float16": ("float16", 70000.0, "expected a number up to 65504"),
    "no boolean": ("bool", 2, "expected true or false"),
    "a number for a text": ("string", 5, "expected a string"),
    "a text for a number": ("float", "5", "expected a number"),
}


@pytest.mark.parametrize(("kind", "value", "sentence"), LOST.values(), ids=LOST)
def test_a_value_that_the_graph_would_change_is_refused(kind: str, value: Any, sentence: str, tmp_path: Path) -> None:
    model = opened(tmp_path, copying(kind))
    schema = infer_schema(model)
    with pytest.raises(InputError, match=f"Row 1, feature 'x0': {sentence}"):
        call(model, schema.parse([[{"string": "a"}.get(kind, 0)], [value]]))


def test_integer_array_with_too_large_value_is_refused(tmp_path: Path) -> None:
    model = opened(tmp_path, copying("int8"))
    assert model.predict(np.array([[1], [-128]])).tolist() == [1, -128]
    with pytest.raises(InputError, match="Row 1, feature 'x0': expected a whole number from -128 to 127"):
        model.predict(np.array([[1], [300]]))


def test_fraction_is_refused_for_integers_declared_float(tmp_path: Path) -> None:
    model = opened(tmp_path, copying("int64"))
    schema = infer_schema(model, [DeclaredInput("x0", "float")])
    assert call(model, schema.parse([[2.0], [2**53 + 1]])).predictions() == [2, 2**53 + 1]
    with pytest.raises(InputError, match="expected a whole number"):
        call(model, schema.parse([[1.5]]))


def test_missing_values_are_taken_where_they_are_declared(tmp_path: Path) -> None:
    for kind, missing in (("float", np.nan), ("double", np.nan), ("string", "nan")):
        model = opened(tmp_path, copying(kind))
        with pytest.raises(InputError, match="found null"):
            infer_schema(model).parse([[None]])
        schema = infer_schema(model, [DeclaredInput("x0", nullable=True)])
        found = call(model, schema.parse([[None]])).predictions()
        np.testing.assert_array_equal(found, [missing])


DECLARED = {
    "a missing whole number": ("int64", DeclaredInput("x0", nullable=True), "has no missing value"),
    "a missing boolean": ("bool", DeclaredInput("x0", nullable=True), "has no missing value"),
    "a text for a number": ("float", DeclaredInput("x0", "string"), "as string, the graph takes it as float"),
    "a number for a text": ("string", DeclaredInput("x0", "float"), "as float, the graph takes it as string"),
    "a time": ("string", DeclaredInput("x0", "datetime"), "as datetime, the graph takes it as string"),
}


@pytest.mark.parametrize(("kind", "declared", "sentence"), DECLARED.values(), ids=DECLARED)
def test_a_manifest_that_contradicts_the_graph_is_refused(
    kind: str, declared: DeclaredInput, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(NoPrediction, match=sentence):
        infer_schema(opened(tmp_path, copying(kind)), [declared])


FRAME = pd.DataFrame({"age": [20.0, 30, 40, 50], "size": [1.0, 0, 2, 1], "city": ["a", "b", "a", "c"]})


def test_inputs_of_several_columns_are_columns_of_one_table(tmp_path: Path) -> None:
    prepare = ColumnTransformer([("n", StandardScaler(), ["age", "size"]), ("c", OneHotEncoder(), ["city"])])
    estimator = make_pipeline(prepare, LogisticRegression()).fit(FRAME, [0, 1, 0, 1])
    values = ColumnTransformer([("n", StandardScaler(), [0, 1]), ("c", OneHotEncoder(), [2])])
    nameless = make_pipeline(values, LogisticRegression()).fit(FRAME.to_numpy(), [0, 1, 0, 1])
    types = [("numbers", FloatTensorType([None, 2])), ("city", StringTensorType([None, 1]))]
    model = opened(tmp_path, to_onnx(nameless, initial_types=types, options={"zipmap": False}))
    schema = infer_schema(model, [DeclaredInput("city", nullable=False)])
    assert [(item.name, item.type) for item in schema.inputs] == [
        ("numbers_0", "float"), ("numbers_1", "float"), ("city", "string"),
    ]  # fmt: skip
    answer = call(model, schema.parse(FRAME.to_numpy().tolist()))
    assert answer.predictions() == estimator.predict(FRAME).tolist()
    np.testing.assert_allclose(answer.probabilities, estimator.predict_proba(FRAME), atol=1e-5)


def test_input_of_open_width_takes_the_manifests_columns(tmp_path: Path) -> None:
    content = graph(
        [helper.make_node("ReduceMax", ["x"], ["y"], axes=[1], keepdims=1)],
        [info("x", TensorProto.FLOAT, [None, None])],
        [info("y", TensorProto.FLOAT, [None, 1])],
        opset=17,
    )
    model = opened(tmp_path, content)
    schema = infer_schema(model, [DeclaredInput("a"), DeclaredInput("b", nullable=True)])
    assert [(item.name, item.type, item.nullable) for item in schema.inputs] == [
        ("a", "float", False), ("b", "float", True),
    ]  # fmt: skip
    assert call(model, schema.parse([{"a": 1, "b": 3}])).predictions() == [3.0]
    with pytest.raises(NoPrediction, match="how many features"):
        infer_schema(model)
