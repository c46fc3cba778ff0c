"""A model's response as JSON Schema."""

from __future__ import annotations

from typing import Any

from mlapi.openapi.inputs import MAX_CATEGORIES, JsonSchema, ref
from models_registry.artifacts.prediction_json import label_key
from models_registry.artifacts.schema import TRANSFORMER, Schema
from models_registry.explanations.base import DECISION, LOG_ODDS, PROBABILITY, RAW, VALUE
from models_registry.inference.runtime import LoadedModel

ANY_LABEL: JsonSchema = {"type": ["number", "string", "boolean"]}
KINDS: dict[str, JsonSchema] = {
    "regressor": {"type": "number"},
    "clusterer": {"type": "integer", "description": "The number of the cluster."},
    "outlier_detector": {"enum": [1, -1], "description": "1 for an inlier, -1 for an outlier."},
}


def output_schemas(loaded: LoadedModel) -> dict[str, JsonSchema]:
    """Return a model's schemas: its label, and the response for one row and for many."""
    name, schema = loaded.name, loaded.schema
    label, confidence = ref(f"{name}.Prediction"), _confidence(schema)
    probabilities = _probabilities(schema)
    return {
        f"{name}.Prediction": _prediction(schema),
        f"{name}.Explanation": _explanation(schema),
        f"{name}.Reply": {
            "oneOf": [
                _reply(
                    "Response for one row",
                    name,
                    {"prediction": label, "confidence": confidence},
                    _extra("probabilities", probabilities) | {"explanation": ref(f"{name}.Explanation")},
                ),
                _reply(
                    "Response for many rows",
                    name,
                    {
                        "predictions": {"type": "array", "items": label},
                        "confidences": {"type": "array", "items": confidence}
                        if schema.has("predict_proba")
                        else {"type": "null"},
                    },
                    _extra(
                        "probabilities", None if probabilities is None else {"type": "array", "items": probabilities}
                    )
                    | {"explanations": {"type": "array", "items": ref(f"{name}.Explanation")}},
                ),
            ]
        },
    }


def _extra(name: str, schema: JsonSchema | None) -> dict[str, JsonSchema]:
    return {} if schema is None else {name: schema}


def _explanation(schema: Schema) -> JsonSchema:
    """Return the schema of one row's contributions."""
    number: JsonSchema = {"type": "number"}
    properties: dict[str, JsonSchema] = {
        "output": {
            "enum": [VALUE, LOG_ODDS, DECISION, PROBABILITY, RAW],
            "description": "The sum of base_value and all contributions.",
        },
        "base_value": number,
        "value": {"type": "number", "description": "The output itself: base_value plus all contributions."},
        "contributions": {
            "type": "object",
            "description": "The contribution of each input feature.",
            "additionalProperties": number,
        },
    }
    if schema.classes is not None:
        properties["class"] = ANY_LABEL | {
            "description": "The class of the output: the second of two classes, or the predicted class of more."
        }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _reply(title: str, name: str, answers: dict[str, JsonSchema], extra: dict[str, JsonSchema]) -> JsonSchema:
    common: dict[str, JsonSchema] = {
        "processing_time_ms": {"type": "number", "minimum": 0},
        "model": {"const": name},
        "version": {"type": "integer", "minimum": 1, "description": "The version that answered."},
        "request_id": {"type": "string", "description": "Also in the header X-Request-ID."},
    }
    return {
        "title": title,
        "type": "object",
        "properties": {**answers, **extra, **common},
        "required": [*answers, *common],
        "additionalProperties": False,
    }


def _prediction(schema: Schema) -> JsonSchema:
    classes = schema.classes
    if _is_nested(classes):
        labels = [_label(item) for item in classes or ()]
        return {"type": "array", "prefixItems": labels, "minItems": len(labels), "maxItems": len(labels)}
    if schema.kind == TRANSFORMER:
        return {"type": "array", "items": ANY_LABEL} if schema.outputs > 1 else ANY_LABEL
    label = _label(classes) if classes else KINDS.get(schema.kind, ANY_LABEL)
    if schema.outputs == 1:
        return label
    several = {"type": "array", "items": label if schema.kind == "regressor" else ANY_LABEL}
    # A neural network for many classes counts its output units, but still returns one label.
    return several if schema.kind == "regressor" else {"anyOf": [label, several]}


def _label(classes: Any) -> JsonSchema:
    plain = all(isinstance(item, str | int | float) for item in classes)
    return {"enum": list(classes)} if plain and len(classes) <= MAX_CATEGORIES else ANY_LABEL


def _confidence(schema: Schema) -> JsonSchema:
    if not schema.has("predict_proba"):
        return {"type": "null", "description": "This model has no probabilities."}
    number: JsonSchema = {
        "type": ["number", "null"],
        "description": "The probability of the predicted class; null if the model has none for it.",
    }
    several: JsonSchema = {"type": "array", "items": {"type": ["number", "null"]}}
    if _is_nested(schema.classes):
        return several
    return number if schema.outputs == 1 else {"anyOf": [number, several]}


def _probabilities(schema: Schema) -> JsonSchema | None:
    """Return the schema of one row's probabilities by class label; None if the model has none."""
    if not schema.has("predict_proba"):
        return None
    if _is_nested(schema.classes):
        parts = [_by_label(item) for item in schema.classes or ()]
        return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
    return _by_label(schema.classes or ())


def _by_label(classes: Any) -> JsonSchema:
    keys = [label_key(item) for item in classes]
    if not keys or len(keys) > MAX_CATEGORIES:
        return {"type": "object", "additionalProperties": {"type": "number"}}
    return {
        "type": "object",
        "properties": {key: {"type": "number"} for key in keys},
        "required": keys,
        "additionalProperties": False,
    }


def _is_nested(classes: Any) -> bool:
    return bool(classes) and isinstance(classes[0], tuple)
