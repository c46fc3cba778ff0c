"""Ground truth in the OpenAPI document: a path for each model, since the labels depend on the model."""

from __future__ import annotations

from typing import Any

from mlapi.openapi.inputs import JsonSchema
from mlapi.openapi.refusals import OF_PREDICTION, responses, security
from mlapi.protocols.base import JSON
from mlapi.protocols.ground_truth import MAX_LABEL_CHARACTERS, MAX_LABELS, MAX_ROW, REQUEST_ID
from models_registry.inference.runtime import LoadedModel, ServingSnapshot

SUMMARY = "Labels that became known after the prediction, by request id and row"
DESCRIPTION = (
    "JSON Lines (`application/jsonl`) and CSV (`text/csv`, with a header) are accepted too. "
    f"A request takes up to {MAX_LABELS} labels."
)
NUMBER: JsonSchema = {"type": "number"}
ANY_LABEL: JsonSchema = {
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": MAX_LABEL_CHARACTERS},
        {"type": "number"},
        {"type": "boolean"},
    ]
}


def paths(snapshot: ServingSnapshot, *, is_whole: bool) -> dict[str, Any]:
    """Return the path of each model with one output; one path with a parameter if `snapshot` is not complete."""
    if not is_whole:
        parameter = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
        return {
            "/models/{model}/ground-truth": {"post": _operation(None, "ground-truth") | {"parameters": [parameter]}}
        }
    return {
        f"/models/{name}/ground-truth": {"post": _operation(loaded, f"ground-truth-{name}")}
        for name, loaded in sorted(snapshot.models.items())
        if loaded.schema.has_one_label
    }


def _operation(loaded: LoadedModel | None, name: str) -> dict[str, Any]:
    label = NUMBER if loaded is not None and loaded.schema.kind == "regressor" else ANY_LABEL
    entry = {
        "type": "object",
        "properties": {
            "request_id": {"type": "string", "pattern": f"^{REQUEST_ID.pattern}$"},
            "row": {"type": "integer", "minimum": 0, "maximum": MAX_ROW, "default": 0},
            "label": label,
        },
        "required": ["request_id", "label"],
        "additionalProperties": False,
    }
    body = {"anyOf": [entry, {"type": "array", "items": entry, "minItems": 1}]}
    answer = {
        "type": "object",
        "properties": {
            "accepted": {"type": "integer"},
            "model": {"type": "string"},
            "request_id": {"type": "string"},
        },
        "required": ["accepted", "model", "request_id"],
    }
    return {
        "operationId": name,
        "tags": ["Catalogue"],
        "summary": SUMMARY,
        "description": DESCRIPTION,
        "requestBody": {"required": True, "content": {JSON: {"schema": body}}},
        "responses": {
            "202": {"description": "The labels are queued for writing.", "content": {JSON: {"schema": answer}}},
            **responses(OF_PREDICTION),
        },
        **security(),
    }
