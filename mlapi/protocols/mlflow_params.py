"""Parameters of `/invocations`: probabilities, ignored extra columns, other methods of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from mlapi.protocols.base import Call, HttpError
from mlapi.protocols.mlflow_rows import invalid
from mlapi.protocols.native import FLAGS, read_flag
from models_registry.artifacts.features import describe_value
from models_registry.artifacts.prediction import offers
from models_registry.artifacts.schema import NATIVE_METHODS
from models_registry.inference.runtime import LoadedModel

METHODS = ("decision_function", *NATIVE_METHODS)
KNOWN = (*FLAGS, *METHODS)
# SageMaker passes this header to the container, and no other header of the client.
CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
WORDS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Params:
    """The requested options: probabilities, ignored extra columns, other methods."""

    probabilities: bool = False
    ignore_extra: bool = False
    methods: tuple[str, ...] = ()
    # MLflow parameters that have no effect here.
    unknown: tuple[str, ...] = ()


def read_params(call: Call, body: Mapping[str, Any] | None = None) -> Params:
    """Return the options from the body, its `params`, the URL and SageMaker's custom attributes.

    A flag that is false has the same effect as a missing flag.
    """
    given = (body or {}).get("params")
    if given is not None and type(given) is not dict:
        raise invalid("params", f"'params' must be an object, found {describe_value(given)}.")
    beside = {name: value for name, value in (body or {}).items() if name in FLAGS and value is not False}
    values = {**dict(_from_text(call)), **(given or {}), **beside}
    flags = {name: read_flag(values, name) for name in KNOWN}
    return Params(
        flags["probabilities"],
        flags["ignore_extra"],
        tuple(name for name in METHODS if flags[name]),
        tuple(name for name in given or () if name not in KNOWN),
    )


def require_offered(loaded: LoadedModel, params: Params) -> None:
    """Raise HttpError 400 for a method that the model does not have."""
    for name in params.methods:
        if not (loaded.schema.has(name) and offers(loaded.estimator, name)):
            has_probabilities = ["probabilities"] if loaded.schema.has("predict_proba") else []
            offered = has_probabilities + [method for method in METHODS if loaded.schema.has(method)]
            advice = f"Ask for {', '.join(offered)}." if offered else "It only has predictions."
            raise HttpError(
                400,
                "unknown_output",
                f"{loaded.name} version {loaded.number} has no {name!r}. {advice}",
                field=name,
                expected=offered,
            )


def _from_text(call: Call) -> Iterator[tuple[str, Any]]:
    """Yield the known names, with values, of the query string and of the custom attributes."""
    attributes = call.headers.get(CUSTOM_ATTRIBUTES, "").replace(",", "&").replace(" ", "")
    for name, value in parse_qsl(f"{call.query}&{attributes}", keep_blank_values=True, max_num_fields=100):
        if name in KNOWN:
            yield name, WORDS.get(value.lower(), value)
