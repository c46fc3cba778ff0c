"""A model's input as JSON Schema: it accepts exactly the rows that the model's own schema accepts."""

from __future__ import annotations

from typing import Any

from mlapi import catalogue
from models_registry.artifacts.features import INTEGER_BOUNDS, MAX_INTEGER, MAX_NUMBER, Feature
from models_registry.inference.runtime import LoadedModel

JsonSchema = dict[str, Any]

# A longer list would be unreadable; `GET /models/{model}` has the whole list.
MAX_CATEGORIES = 1000
BOUNDS = {"minimum": -MAX_NUMBER, "maximum": MAX_NUMBER}
NUMBER: JsonSchema = {"type": "number", **BOUNDS}
SHARED: dict[str, JsonSchema] = {
    "Number": {**NUMBER, "description": "A finite number that float32 can hold.", "examples": [1.5]},
    "NumberOrMissing": {
        **NUMBER,
        "type": ["number", "null"],
        "description": "A finite number that float32 can hold, or null for a missing value.",
        "examples": [1.5],
    },
}
TYPES: dict[str, JsonSchema] = {
    "float": NUMBER,
    "integer": {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
    "string": {"type": "string"},
    "boolean": {"enum": [True, False, 1, 0]},
    "datetime": {
        "type": "string",
        "description": "A time in ISO 8601; with an offset it is converted to UTC.",
        "examples": ["2024-05-01T12:30:00"],
    },
    "any": {"type": ["number", "string", "boolean"], **BOUNDS},
}


def ref(name: str) -> JsonSchema:
    """Return the reference to a shared schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def feature_schema(feature: Feature) -> JsonSchema:
    """Return the JSON Schema of one feature's values."""
    if feature.type == "float" and feature.categories is None:
        return ref("NumberOrMissing" if feature.nullable else "Number")
    categories = list(feature.categories or ())
    if feature.closed and 0 < len(categories) <= MAX_CATEGORIES and feature.type != "datetime":
        if feature.type == "boolean":
            categories += [int(category) for category in categories]
        return {"enum": [*categories, None] if feature.nullable else categories}
    schema = dict(TYPES[feature.type])
    if feature.type == "integer" and feature.dtype in INTEGER_BOUNDS:
        schema["minimum"], schema["maximum"] = INTEGER_BOUNDS[feature.dtype]
    if feature.type == "boolean":
        return {"enum": [*schema["enum"], None]} if feature.nullable else schema
    if feature.nullable:
        kinds = schema["type"]
        schema["type"] = [*(kinds if isinstance(kinds, list) else [kinds]), "null"]
    if categories:
        shown = ", ".join(map(repr, categories[:50]))
        more = f" and {len(categories) - 50} more" if len(categories) > 50 else ""
        verb = "Must be one of" if feature.closed else "Trained with"
        schema["description"] = f"{verb} {shown}{more}."
        schema["examples"] = categories[:50]
    return schema


def input_schemas(loaded: LoadedModel) -> dict[str, JsonSchema]:
    """Return a model's schemas: its row in each form, and the request body."""
    name = loaded.name
    rows = _rows(loaded)
    forms = {f"{name}.{form}": schema for form, schema in rows.items()}
    flags = _flags(loaded)
    one: JsonSchema = {
        "title": "One row",
        "type": "object",
        "properties": {"features": _one_of([ref(form) for form in forms]), **flags},
        "required": ["features"],
        "additionalProperties": False,
    }
    lists = [{"type": "array", "items": ref(form), "minItems": 1} for form in forms]
    many: JsonSchema = {
        "title": "Many rows, all of one form",
        "type": "object",
        "properties": {"instances": _one_of(lists), **flags},
        "required": ["instances"],
        "additionalProperties": False,
    }
    return {**forms, f"{name}.Request": {"oneOf": [one, many]}}


def _flags(loaded: LoadedModel) -> dict[str, JsonSchema]:
    """Return the schemas of the flags next to the rows; a flag that the model cannot fulfil must be false."""
    probabilities: JsonSchema = {
        "type": "boolean",
        "default": False,
        "description": "Add the probability of each class.",
    }
    if not loaded.schema.has("predict_proba"):
        probabilities = {"const": False, "description": "This model has no probabilities."}
    explain: JsonSchema = {
        "type": "boolean",
        "default": False,
        "description": "Add the contribution of each feature; refused if it is not exact.",
    }
    if loaded.explainer.is_refused():
        explain = {"const": False, "description": "The contributions of this model's features are not known exactly."}
    return {
        "probabilities": probabilities,
        "ignore_extra": {
            "type": "boolean",
            "default": False,
            "description": "Ignore features that the model does not have; else they are refused.",
        },
        "explain": explain,
    }


def _rows(loaded: LoadedModel) -> dict[str, JsonSchema]:
    """Return the schema of a row in each form that the model accepts."""
    schema = loaded.schema
    if schema.container == "records":
        return {"NamedRow": {"type": "object", "additionalProperties": TYPES["any"]}}
    schemas = [feature_schema(feature) for feature in schema.inputs]
    count = len(schemas)
    forms: dict[str, JsonSchema] = {
        "NamedRow": {
            "title": "By name",
            "type": "object",
            "properties": dict(zip(schema.names, schemas, strict=True)),
            "required": list(schema.required),
            "additionalProperties": False,
        },
        "PositionalRow": {
            "title": "In the order of the schema",
            "description": f"In this order: {', '.join(schema.names)}.",
            "type": "array",
            "minItems": count,
            "maxItems": count,
            **_items(schemas),
        },
    }
    if count == 1:
        forms["BareValue"] = {"title": "The one feature by itself", **schemas[0]}
    return forms


def _items(schemas: list[JsonSchema]) -> JsonSchema:
    """Return the items of a positional row; one schema if all are alike, as an image's pixels are."""
    if all(schema == schemas[0] for schema in schemas):
        return {"items": schemas[0]}
    return {"prefixItems": schemas, "items": False}


def _one_of(schemas: list[JsonSchema]) -> JsonSchema:
    return {"oneOf": schemas} if len(schemas) > 1 else schemas[0]


def request_examples(loaded: LoadedModel) -> dict[str, Any]:
    """Return example requests by name; each works when pasted."""
    body = catalogue.example_request(loaded)
    row = body["features"]
    examples = {"one": {"summary": "One row", "value": body}}
    names = loaded.schema.names
    if isinstance(row, dict) and names:
        examples["positional"] = {
            "summary": "One row, in the order of the schema",
            # A column that may be omitted by name is null by position.
            "value": {"features": [row.get(name) for name in names]},
        }
    elif isinstance(row, list) and len(row) == len(names):
        examples["named"] = {
            "summary": "One row, by name",
            "value": {"features": dict(zip(names, row, strict=True))},
        }
    examples["many"] = {"summary": "Many rows", "value": {"instances": [row, row]}}
    if loaded.schema.has("predict_proba"):
        examples["probabilities"] = {"summary": "With probabilities", "value": {**body, "probabilities": True}}
    return examples
