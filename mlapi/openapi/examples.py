"""Example requests for the other protocols, one for each model; they work unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlapi import catalogue
from mlapi.protocols.openinference.metadata import datatype_of
from models_registry.artifacts.features import Feature
from models_registry.inference.runtime import LoadedModel, ServingSnapshot


def of(endpoint: str, snapshot: ServingSnapshot) -> dict[str, Any]:
    """Return an example body for each model at the named endpoint; at `/invocations`, for the default model only."""
    make = MAKERS.get(endpoint)
    if make is None:
        return {}
    return {
        name: {"summary": name, "value": make(loaded, catalogue.example_request(loaded)["features"])}
        for name, loaded in sorted(snapshot.models.items(), key=lambda item: (item[0] != snapshot.default, item[0]))
        if loaded.schema.inputs and (endpoint != "invocations" or name == snapshot.default)
    }


def _tensors(loaded: LoadedModel, row: Any) -> dict[str, Any]:
    """Return a request of the Open Inference Protocol: one tensor, or one column per feature."""
    inputs = loaded.schema.inputs
    values = _values(loaded, row)
    if all(item.type == "float" for item in inputs) and None not in values:
        return {"inputs": [{"name": "x", "shape": [1, len(values)], "datatype": "FP64", "data": values}]}
    columns = [
        {"name": item.name, "shape": [1], "datatype": _datatype(item, value), "data": [value]}
        for item, value in zip(inputs, values, strict=True)
        if value is not None or not item.optional
    ]
    return {"inputs": columns}


def _datatype(feature: Feature, value: Any) -> str:
    """Return the datatype of a feature's column; for a feature of any type, by its value."""
    if feature.type != "any" or isinstance(value, str):
        return datatype_of(feature)
    return "BOOL" if isinstance(value, bool) else "FP64"


def _records(loaded: LoadedModel, row: Any) -> dict[str, Any]:
    return {
        "dataframe_records": [
            {
                item.name: value
                for item, value in zip(loaded.schema.inputs, _values(loaded, row), strict=True)
                if value is not None or not item.optional
            }
        ]
    }


def _instances(loaded: LoadedModel, row: Any) -> dict[str, Any]:
    return {"instances": [row]}


def _values(loaded: LoadedModel, row: Any) -> list[Any]:
    """Return a row in the schema's order, with None for omitted features."""
    if isinstance(row, dict):
        return [row.get(name) for name in loaded.schema.names]
    return row if isinstance(row, list) else [row]


MAKERS: dict[str, Callable[[LoadedModel, Any], dict[str, Any]]] = {
    "v1-predict": _instances,
    "v2-infer": _tensors,
    "invocations": _records,
    "invocations-model": _records,
    "invocations-version": _records,
}
