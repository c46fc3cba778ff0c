"""An MLmodel file is read within limits, and its paths stay inside its directory."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from models_registry.artifacts.features import DeclaredInput
from models_registry.artifacts.mlflow_model import MAX_BYTES, parse_mlmodel, read_example
from models_registry.errors import ManifestError

SKLEARN = {"pickled_model": "model.pkl", "serialization_format": "cloudpickle", "sklearn_version": "1.9.1"}
PYTHON = {"loader_module": "mlflow.sklearn", "model_path": "model.pkl", "env": {"conda": "conda.yaml"}}
COLUMNS = [
    {"type": "double", "name": "age", "required": True},
    {"type": "long", "name": "visits", "required": True},
    {"type": "string", "name": "city", "required": False},
    {"type": "boolean", "name": "is_new"},
    {"type": "datetime", "name": "at"},
    {"type": "binary", "name": "raw"},
]


def mlmodel(flavors: Any = None, **others: Any) -> bytes:
    """Return the bytes of an MLmodel as MLflow writes it."""
    flavors = {"python_function": PYTHON, "sklearn": SKLEARN} if flavors is None else flavors
    return yaml.safe_dump({"flavors": flavors, "run_id": "abc", "mlflow_version": "3.17.2", **others}).encode()


def test_signature_example_and_run_are_read() -> None:
    model = parse_mlmodel(
        mlmodel(
            signature={"inputs": json.dumps(COLUMNS), "outputs": "[]"},
            saved_input_example_info={"artifact_path": "input_example.json", "type": "dataframe"},
        )
    )
    assert (model.file, model.format, model.flavor) == ("model.pkl", "joblib", "sklearn")
    assert (model.run_id, model.example_file) == ("abc", "input_example.json")
    assert model.inputs == (
        DeclaredInput("age", "float"),
        DeclaredInput("visits", "integer"),
        DeclaredInput("city", "string", True),
        DeclaredInput("is_new", "boolean"),
        DeclaredInput("at", "datetime"),
        DeclaredInput("raw"),
    )


@pytest.mark.parametrize(
    ("flavors", "expected"),
    [
        ({"sklearn": {"pickled_model": "model.skops", "serialization_format": "skops"}}, ("model.skops", "skops")),
        ({"sklearn": {"pickled_model": "model.pkl"}}, ("model.pkl", "joblib")),
        ({"sklearn": {"pickled_model": "data/m.bin", "serialization_format": "pickle"}}, ("data/m.bin", "joblib")),
        ({"onnx": {"data": "model.onnx"}, "python_function": {"data": "model.onnx"}}, ("model.onnx", "onnx")),
        ({"lightgbm": {"data": "model.pkl"}}, ("model.pkl", "joblib")),
        ({"lightgbm": {"data": "model.lgb"}}, ("model.lgb", "lightgbm")),
        ({"xgboost": {"data": "model.ubj"}}, ("model.ubj", "xgboost")),
        ({"xgboost": {"data": "model.json"}}, ("model.json", "xgboost")),
        ({"xgboost": {"data": "model.xgb"}}, ("model.xgb", "xgboost")),
    ],
)
def test_flavor_names_the_file_and_its_format(flavors: Any, expected: tuple[str, str]) -> None:
    model = parse_mlmodel(mlmodel(flavors))
    assert (model.file, model.format) == expected


@pytest.mark.parametrize(
    "path",
    ["../model.pkl", "/etc/passwd", "a/../../model.pkl", "..", ".", "", "~/model.pkl", "s3://bucket/model.pkl",
     "file:///etc/passwd", "C:\\model.pkl", "..\\model.pkl", "a//model.pkl", "./model.pkl", "a/./model.pkl",
     ".hidden/model.pkl", "mlflow-artifacts:/1/model.pkl", "models:/other@champion", "model.pkl\0"],
)  # fmt: skip
@pytest.mark.parametrize(
    "place", ["pickled_model", "code", "model_path", "env", "conda", "example", "serving", "artifact"]
)
def test_path_that_leads_outside_is_refused_wherever_it_stands(path: str, place: str) -> None:
    flavors: dict[str, Any] = {"python_function": dict(PYTHON), "sklearn": dict(SKLEARN)}
    others: dict[str, Any] = {}
    if place in {"pickled_model", "code"}:
        flavors["sklearn"][place] = path
    elif place == "conda":
        flavors["python_function"]["env"] = {"conda": path}
    elif place == "artifact":
        flavors["python_function"]["artifacts"] = {"x": {"path": path, "uri": "anything"}}
    elif place in {"env", "model_path"}:
        flavors["python_function"][place] = path
    else:
        field = "artifact_path" if place == "example" else "serving_input_path"
        others["saved_input_example_info"] = {field: path}
    with pytest.raises(ManifestError):
        parse_mlmodel(mlmodel(flavors, **others))


DEEP = b"flavors: " + b"[" * 5_000 + b"]" * 5_000
BOMB = b"a: &a [x,x]\nb: &b [*a,*a]\nflavors: {sklearn: {pickled_model: model.pkl, code: *b}}\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a mapping of fields"),
        (b"just text", "not a mapping of fields"),
        (b"flavors: [", "not valid YAML"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"flavors: {}\n", "names no flavors"),
        (b"flavors: sklearn\n", "names no flavors"),
        (b"flavors: !!python/object/apply:os.system ['touch /tmp/x']\n", "aliases, tags"),
        (b"flavors: !!map {sklearn: {pickled_model: model.pkl}}\n", "aliases, tags"),
        (BOMB, "aliases, tags"),
        (DEEP, "aliases, tags"),
        (b"x: [" + b"a, " * 30_000 + b"a]\n", "aliases, tags"),
        (b" " * (MAX_BYTES + 1), "at most"),
        (mlmodel({"sklearn": {"pickled_model": ["model.pkl"]}}), "has no 'pickled_model'"),
        (mlmodel({"sklearn": None}), "has the flavors sklearn"),
        (mlmodel({"keras": {"data": "data"}, "python_function": PYTHON}), "has the flavors keras, python_function"),
        (mlmodel({"python_function": {"python_model": "python_model.pkl"}}), "a Python class of your own"),
        (mlmodel({"xgboost": {"data": "model.exe"}}), "whose ending .exe is not served"),
        (mlmodel({"lightgbm": {"data": "model.txt"}}), "whose ending .txt is not served"),
        (mlmodel(signature={"inputs": "[{"}), "signature cannot be read"),
    ],
)
def test_mlmodel_that_is_none_is_refused_in_words(content: bytes, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_mlmodel(content)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        ({"columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]}, [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        ({"columns": ["a"], "index": [0], "data": [[1]]}, [{"a": 1}]),
        ({"columns": [0, 1], "data": [[1, 2]]}, [[1, 2]]),
        ({"data": [[1, 2]]}, [[1, 2]]),
        ({"inputs": [[1, 2], [3, 4]]}, [[1, 2], [3, 4]]),
        ([[1.0, 2.0]], [[1.0, 2.0]]),
        ([1.0, 2.0], [[1.0, 2.0]]),
        (["good film"], ["good film"]),
        ([{"a": 1}], [{"a": 1}]),
    ],
)
def test_example_becomes_rows(example: Any, expected: list[Any]) -> None:
    sample = read_example(json.dumps(example).encode())
    assert sample is not None
    assert list(sample.instances) == expected


@pytest.mark.parametrize("example", [{"inputs": {"a": 1}}, {}, [], "text", 3])
def test_example_of_another_form_is_left_out(example: Any) -> None:
    assert read_example(json.dumps(example).encode()) is None
