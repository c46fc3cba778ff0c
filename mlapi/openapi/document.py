"""The OpenAPI document: a path for each served model, then the paths that do not depend on models."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.conf import settings

from mlapi.endpoint import Endpoint
from mlapi.openapi import registry, service
from mlapi.openapi.inputs import SHARED, input_schemas, ref, request_examples
from mlapi.openapi.outputs import output_schemas
from mlapi.openapi.refusals import ERROR, OF_PREDICTION, components, responses, security, security_schemes
from mlapi.protocols.base import JSON
from models_registry.inference.runtime import LoadedModel, ServingSnapshot

ABOUT = """\
Predictions from trained models. Each model in service has its own path here, with the names, types and allowed \
values of its features and a working example. The document changes when another version is activated.

A row is sent by name (`{"features": {"age": 34, "city": "Oslo"}}`) or in the order of the schema \
(`{"features": [34, "Oslo"]}`); many rows go in one request as `instances`. Numbers are finite and within \
±3.4 × 10³⁸. Errors are JSON: `error` is a sentence with the next step, `code` is stable.
"""
HEADERS: dict[str, Any] = {
    "RequestId": {"schema": {"type": "string"}, "description": "The client's id if it is well formed."},
    "ModelName": {"schema": {"type": "string"}, "description": "The model that answered."},
    "ModelVersion": {"schema": {"type": "string"}, "description": "The version that answered, as in the body."},
}
# People and client generators read the document: more models make it slow for both.
MAX_DESCRIBED = 50
REQUEST_ID: dict[str, Any] = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Returned in the response and logged.",
}


def document(snapshot: ServingSnapshot, endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the document of the models in `snapshot` at the `endpoints`."""
    api = registry.document()
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Error": ERROR, **SHARED}
    total = len(snapshot.models)
    snapshot = replace(snapshot, models=_described(snapshot))
    for loaded in snapshot.models.values():
        schemas |= input_schemas(loaded) | output_schemas(loaded)
        paths |= _model_paths(loaded, is_default=loaded.name == snapshot.default)
    is_whole = len(snapshot.models) == total
    fixed_paths, fixed_schemas, fixed_tags = service.describe(snapshot, endpoints, is_whole=is_whole)
    return {
        "openapi": "3.1.0",
        "info": {"title": "mlapi", "version": "1", "description": ABOUT + _omission_note(snapshot, total)},
        "tags": [*(_tag(loaded) for loaded in snapshot.models.values()), *fixed_tags, *api.tags],
        "paths": paths | fixed_paths | api.paths,
        "components": {
            "schemas": {**api.schemas, **fixed_schemas, **schemas},
            "headers": HEADERS,
            "parameters": {"RequestId": REQUEST_ID},
            "responses": components(),
            "securitySchemes": {**security_schemes(), **api.security_schemes},
        },
    }


def _described(snapshot: ServingSnapshot) -> dict[str, LoadedModel]:
    """Return the models that the document describes: the default model, then others by name, at most MAX_DESCRIBED."""
    first = heapq.nsmallest(
        MAX_DESCRIBED, snapshot.models.values(), key=lambda item: (item.name != snapshot.default, item.name)
    )
    return {loaded.name: loaded for loaded in first}


def _omission_note(shown: ServingSnapshot, total: int) -> str:
    if len(shown.models) == total:
        return ""
    return (
        f"\nOf {total} models in service, {len(shown.models)} are described here. Each one has a document of its own "
        "at `/models/{model}/openapi.json`, and `/models` lists all.\n"
    )


def _tag(loaded: LoadedModel) -> dict[str, Any]:
    served = f"Version {loaded.number}, sha256 `{loaded.digest[:12]}…`."
    return {"name": _tag_name(loaded), "description": " ".join(filter(None, [_sentence(loaded.description), served]))}


def _sentence(text: str) -> str:
    """Return `text`, with a full stop if it ends without punctuation."""
    sentence = text.rstrip()
    is_ended = sentence.rstrip("\"')]”’»*_`").endswith((".", "!", "?", "…", ":", ";", "。", "！", "？"))
    return sentence if is_ended or not sentence else f"{sentence}."


def _tag_name(loaded: LoadedModel) -> str:
    return f"Model {loaded.name}"


def _model_paths(loaded: LoadedModel, *, is_default: bool) -> dict[str, Any]:
    name = loaded.name
    paths = {
        f"/models/{name}/predict": {
            "post": _operation(loaded, f"predict_{name}", f"Predict with {name}, its active version")
        },
        f"/models/{name}/versions/{{version}}/predict": {
            "parameters": [
                {
                    "name": "version",
                    "in": "path",
                    "required": True,
                    "schema": {"type": "integer", "enum": [loaded.number]},
                    "description": "A loaded version; otherwise 404 with the loaded versions.",
                }
            ],
            "post": _operation(loaded, f"predict_version_{name}", f"Predict with {name}, only in this version"),
        },
    }
    if is_default:
        operation = _operation(loaded, "predict_default", f"Predict with the default model, {name}")
        paths = {"/predict": {"post": operation}, **paths}
    return paths


def _operation(loaded: LoadedModel, operation_id: str, summary: str) -> dict[str, Any]:
    name, limit = loaded.name, int(settings.MLAPI_MAX_BODY_MB * 1_000_000)
    return {
        "operationId": operation_id,
        "tags": [_tag_name(loaded)],
        "summary": summary,
        "description": _about(loaded, limit),
        "x-max-body-bytes": limit,
        "parameters": [{"$ref": "#/components/parameters/RequestId"}],
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": ref(f"{name}.Request"), "examples": request_examples(loaded)}},
        },
        "responses": {
            "200": {
                "description": "The prediction, and the version that computed it.",
                "headers": {
                    "X-Request-ID": {"$ref": "#/components/headers/RequestId"},
                    "X-Model-Name": {"$ref": "#/components/headers/ModelName"},
                    "X-Model-Version": {"$ref": "#/components/headers/ModelVersion"},
                },
                "content": {JSON: {"schema": ref(f"{name}.Reply")}},
            },
            **responses(OF_PREDICTION),
        },
        **security(),
    }


def _about(loaded: LoadedModel, limit: int) -> str:
    schema = loaded.schema
    count = len(schema.inputs)
    takes = f"{count} feature{'s' if count > 1 else ''}" if count else "an object of features of your choice"
    sentences = [
        _sentence(loaded.description),
        f"A {schema.kind.replace('_', ' ')} that takes {takes}; version {loaded.number} is active.",
        f"The body has at most {limit:,} bytes; `Content-Encoding: gzip` and `deflate` are accepted.",
    ]
    return " ".join(filter(None, sentences))
