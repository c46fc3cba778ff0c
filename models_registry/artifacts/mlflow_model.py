"""Reads the description of an MLflow model directory: the model's file and its metadata.

`MLmodel` is YAML from an untrusted source. PyYAML's safe loader reads it within limits, and no path in it may lead out
of the directory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

from models_registry.artifacts.features import DeclaredInput
from models_registry.artifacts.formats import FORMATS, format_of, is_artifact
from models_registry.artifacts.manifest import Manifest, Sample, read_json
from models_registry.errors import ManifestError

FILE_NAME = "MLmodel"
# The format of the version of a directory without a supported file.
FORMAT = "mlflow"
MAX_BYTES = 1_000_000
MAX_EVENTS = 20_000
MAX_DEPTH = 40
MAX_EXAMPLE_BYTES = 4_000_000
MAX_EXAMPLE_ROWS = 100
# Directories in which MLflow stores a model's other files.
OWN_FOLDERS = frozenset({"code", "data", "metadata", "artifacts", "components"})
# In order of preference, with the field that names the file.
FLAVORS = {"sklearn": "pickled_model", "lightgbm": "data", "xgboost": "data", "onnx": "data"}
# The content determines XGBoost's format: UBJSON or JSON, under either extension or MLflow's own.
_XGBOOST_ENDINGS = frozenset({".ubj", ".json", ".xgb"})
_PATH_FIELDS = ("pickled_model", "data", "model_path", "model_data", "code", "config")
_TYPES = {
    "double": "float",
    "float": "float",
    "integer": "integer",
    "long": "integer",
    "string": "string",
    "boolean": "boolean",
    "datetime": "datetime",
}
_OUTSIDE = re.compile(r"^[/~]|^[A-Za-z][A-Za-z0-9+.-]*:|\\|\0")


@dataclass(frozen=True, slots=True)
class MlflowModel:
    """The content of `MLmodel`: the model's `file`, relative to the directory, and its format.

    `inputs` are those of the signature, or None without named ones; `example_file` has example rows.
    """

    file: str
    format: str
    flavor: str
    run_id: str = ""
    inputs: tuple[DeclaredInput, ...] | None = None
    example_file: str = ""

    def manifest(self, example: bytes | None) -> Manifest:
        """Return the description as a manifest; `example` is the content of the example file."""
        sample = None if example is None else read_example(example)
        inputs = self.inputs
        if inputs is None and sample is not None and isinstance(sample.instances[0], dict):
            inputs = tuple(DeclaredInput(name) for name in sample.instances[0])
        return Manifest(inputs=inputs, sample=sample, run_id=self.run_id)


def parse_mlmodel(content: bytes) -> MlflowModel:
    """Return the description in the content of `MLmodel`.

    Raises ManifestError if it is unreadable, if a path leads out of the directory, or if no flavor is supported.
    """
    value = _read_yaml(content)
    flavors = value.get("flavors")
    if not isinstance(flavors, dict) or not flavors:
        raise ManifestError("The MLmodel names no flavors. Log the model again with MLflow (mlflow.sklearn.log_model).")
    for path in _paths(value, flavors):
        _require_inside(path)
    flavor = next((name for name in FLAVORS if isinstance(flavors.get(name), dict)), None)
    if flavor is None:
        raise ManifestError(_unserved(flavors))
    settings = flavors[flavor]
    file = settings.get(FLAVORS[flavor])
    if not isinstance(file, str) or not file:
        raise ManifestError(f"The MLmodel's flavor {flavor} has no {FLAVORS[flavor]!r}, which names the model's file.")
    example = value.get("saved_input_example_info")
    example = example if isinstance(example, dict) else {}
    return MlflowModel(
        file=str(PurePosixPath(file)),
        format=_format(flavor, settings, file),
        flavor=flavor,
        run_id=_text(value.get("run_id")),
        inputs=_inputs(value.get("signature")),
        example_file=_text(example.get("artifact_path")),
    )


def _read_yaml(content: bytes) -> dict[str, Any]:
    if len(content) > MAX_BYTES:
        raise ManifestError(f"The MLmodel has {len(content)} bytes; at most {MAX_BYTES} are read.")
    try:
        _check_events(content)
        value = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ManifestError(f"The MLmodel is not valid YAML ({first[:200]}). Log the model again.") from error
    if not isinstance(value, dict):
        raise ManifestError("The MLmodel is not a mapping of fields. Log the model again with MLflow.")
    return value


def _check_events(content: bytes) -> None:
    """Refuse YAML that MLflow never writes: aliases (a small file could describe a huge one), tags, depth, length."""
    depth = 0
    for number, event in enumerate(yaml.parse(content, Loader=yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        is_tagged = getattr(event, "tag", None) is not None
        if isinstance(event, yaml.AliasEvent) or is_tagged or depth > MAX_DEPTH or number > MAX_EVENTS:
            raise ManifestError("The MLmodel has aliases, tags, or more in it than MLflow writes. Log the model again.")


def _paths(value: Mapping[str, Any], flavors: Mapping[str, Any]) -> Iterator[str]:
    """Yield every path to a file of the directory."""
    for settings in flavors.values():
        if not isinstance(settings, dict):
            continue
        yield from (settings[name] for name in _PATH_FIELDS if isinstance(settings.get(name), str))
        environment = settings.get("env")
        environments = environment.values() if isinstance(environment, dict) else [environment]
        yield from (path for path in environments if isinstance(path, str))
        artifacts = settings.get("artifacts")
        for artifact in artifacts.values() if isinstance(artifacts, dict) else ():
            if isinstance(artifact, dict) and isinstance(artifact.get("path"), str):
                yield artifact["path"]
    example = value.get("saved_input_example_info")
    if isinstance(example, dict):
        yield from (
            example[name] for name in ("artifact_path", "serving_input_path") if isinstance(example.get(name), str)
        )


def _require_inside(path: str) -> None:
    parts = path.split("/")
    if _OUTSIDE.search(path) or any(part in {"", ".", ".."} or part.startswith(".") for part in parts):
        raise ManifestError(
            f"The MLmodel names {path[:200]!r}, which leads out of its directory, or is not a plain path in it. It is "
            "crafted; do not publish it."
        )


def _unserved(flavors: Mapping[str, Any]) -> str:
    names = ", ".join(sorted(str(name)[:40] for name in flavors)[:10])
    return (
        f"The MLmodel has the flavors {names}; expected one of {', '.join(FLAVORS)}. Log the model itself in one of "
        "them, or as ONNX (mlflow.onnx.log_model). The service does not run a Python class of your own "
        "(python_function)."
    )


def _format(flavor: str, settings: Mapping[str, Any], file: str) -> str:
    if flavor == "sklearn":
        return "skops" if settings.get("serialization_format") == "skops" else "joblib"
    if flavor == "onnx":
        return "onnx"
    ending = PurePosixPath(file).suffix.lower()
    if flavor == "xgboost" and ending in _XGBOOST_ENDINGS:
        return "xgboost"
    if not is_artifact(f"model{ending}"):
        raise ManifestError(
            f"The MLmodel's flavor {flavor} keeps the model as {file!r}, whose ending {ending or '(none)'} is not "
            f"served; expected one of {', '.join(FORMATS)}. Log the scikit-learn form of the model, or ONNX."
        )
    return format_of(f"model{ending}")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _inputs(signature: object) -> tuple[DeclaredInput, ...] | None:
    """Return the inputs of a signature; None if they have no names or are not columns of plain values."""
    if not isinstance(signature, dict) or not isinstance(signature.get("inputs"), str):
        return None
    try:
        columns = read_json(signature["inputs"])
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"The MLmodel's signature cannot be read ({str(error)[:200]}). Log it again.") from error
    if not isinstance(columns, list) or not columns:
        return None
    inputs = []
    for column in columns:
        if not isinstance(column, dict) or not isinstance(column.get("name"), str):
            return None
        kind = _TYPES.get(str(column.get("type")))
        inputs.append(DeclaredInput(column["name"], kind, True if column.get("required") is False else None))
    return tuple(inputs)


def read_example(content: bytes) -> Sample | None:
    """Return the rows of an input example; None for an unsupported form."""
    try:
        value = read_json(content)
    except (ValueError, RecursionError) as error:
        raise ManifestError(
            f"The model's input example is not valid JSON ({str(error)[:200]}). Log it again."
        ) from error
    rows = _rows(value)
    return Sample.from_json({"instances": rows[:MAX_EXAMPLE_ROWS]}) if rows else None


def _rows(value: Any) -> list[Any]:
    """Return the rows of a table, as lists if its columns have no names, or the rows of an array."""
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        names = value.get("columns")
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return [dict(zip(names, row, strict=False)) for row in value["data"] if isinstance(row, list)]
        return list(value["data"])
    if isinstance(value, dict) and isinstance(value.get("inputs"), list):
        value = value["inputs"]
    if not isinstance(value, list):
        return []
    return value if value and isinstance(value[0], list | dict | str) else [value] if value else []
