"""The paths that do not depend on a model: catalogue, health, other protocols, this document."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

from mlapi.catalogue import DEFAULT_LIMIT, MAX_LIMIT
from mlapi.endpoint import Endpoint
from mlapi.openapi import examples, ground_truth
from mlapi.openapi.inputs import JsonSchema, ref
from mlapi.openapi.refusals import responses, security
from mlapi.protocols.base import JSON
from models_registry.artifacts.features import FEATURE_TYPES
from models_registry.inference.runtime import ServingSnapshot

GROUP = re.compile(r"\(\?P<(\w+)>[^()]*\)")
PARAMETER = re.compile(r"\{(\w+)\}")
CHOICE = re.compile(r"\(\?:([^()]*)\)(\??)")
CATALOGUE = "Catalogue"
HEALTH = "Health"
PROTOCOLS = {"v1": "KServe V1", "v2": "Open Inference Protocol v2", "mlflow": "MLflow and SageMaker"}
SERVICE = "Service"

SCHEMAS: dict[str, JsonSchema] = {
    "Feature": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "type": {"enum": list(FEATURE_TYPES)},
            "categories": {"type": "array", "description": "The values that the model was trained with."},
            "closed": {"type": "boolean", "description": "Any other value is refused."},
            "nullable": {"type": "boolean", "description": "null is a missing value."},
            "range": {
                "type": "array",
                "items": {"type": "number"},
                "minItems": 2,
                "maxItems": 2,
                "description": "The lowest and the highest number in the model's sample; others are accepted too.",
            },
        },
        "required": ["name", "type"],
    },
    "Model": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "active_version": {"type": "integer"},
            "digest": {"type": "string", "description": "SHA-256 of the artifact."},
            "description": {"type": "string"},
            "is_default": {"type": "boolean", "description": "POST /predict uses this model."},
            "activated_at": {"type": ["string", "null"], "format": "date-time"},
            "loaded_at": {"type": "string", "format": "date-time"},
            "signature": {
                "type": "object",
                "properties": {
                    "inputs": {"type": "array", "items": ref("Feature")},
                    "kind": {"type": "string"},
                    "outputs": {"type": "integer"},
                    "classes": {"type": ["array", "null"]},
                    "methods": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["inputs", "kind", "outputs", "classes", "methods"],
            },
            "runs": {"type": "object", "description": "The form that runs: compiled or native, and why."},
            "samples": {"type": "array", "description": "Rows of its sample; empty without a sample."},
            "example": {
                "type": "object",
                "properties": {
                    "url": {"type": "string"},
                    "body": {"type": "object"},
                    "curl": {"type": "string"},
                },
                "required": ["url", "body", "curl"],
            },
        },
        "required": ["name", "active_version", "digest", "is_default", "loaded_at", "signature", "example"],
    },
    "Models": {
        "type": "object",
        "properties": {
            "models": {"type": "array", "items": ref("Model")},
            "missing": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "Models that should be served here but are not, and why.",
            },
            "default": {"type": ["string", "null"]},
            "next": {"type": ["string", "null"], "description": "Send this as `after` for the next page."},
        },
        "required": ["models", "missing", "default", "next"],
    },
    "Ready": {
        "type": "object",
        "properties": {
            "status": {"const": "ready"},
            "loaded": {"type": "integer", "description": "Number of served models."},
            "active": {"type": "integer", "description": "Number of models that should be served."},
            "models": {"type": "object", "additionalProperties": {"type": "integer"}},
            "missing": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["status", "models"],
    },
    "Live": {"type": "object", "properties": {"status": {"const": "live"}}, "required": ["status"]},
}
# By endpoint name: the tag, the summary, the response schema, and the possible errors.
KNOWN: dict[str, tuple[str, str, JsonSchema, tuple[int, ...]]] = {
    "models": (CATALOGUE, "The models in service, by name", ref("Models"), (400, 405)),
    "model": (
        CATALOGUE,
        "One model: version, schema, an example that works",
        ref("Model"),
        (400, 404, 405, 503),
    ),
    "health": (
        HEALTH,
        "Readiness for a load balancer: as /health/ready until its first 200, then always 200",
        ref("Ready"),
        (405, 503),
    ),
    "health-ready": (HEALTH, "Whether every active model is loaded here", ref("Ready"), (405, 503)),
    "health-live": (HEALTH, "Whether the process answers and no prediction hangs", ref("Live"), (405, 503)),
    "openapi": (SERVICE, "This document", {"type": "object"}, (400, 405)),
    "model-openapi": (CATALOGUE, "The document of one model", {"type": "object"}, (400, 404, 405, 503)),
}

QUERIES: dict[str, list[dict[str, Any]]] = {
    "models": [
        {
            "name": "limit",
            "in": "query",
            "description": "Maximum number of models.",
            "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        },
        {
            "name": "after",
            "in": "query",
            "description": "`next` of the previous page: models after this name.",
            "schema": {"type": "string"},
        },
    ],
}

SUMMARIES = {
    "metrics": "Metrics of all workers of this machine, for Prometheus",
    "ping": "Whether every active model is, or once was, loaded here",
    "version": "The service's version, as text",
    "v1-models": "The names of the served models",
    "v1-model": "Whether a model is served here",
    "v1-predict": "Predict: rows under `instances`",
    "v2-live": "Whether the process answers and no prediction hangs",
    "v2-ready": "Whether every active model is loaded here",
    "v2-load": "Refused: the registry decides which version is served",
    "v2-index": "Every model that should be served here, and its state",
    "v2-infer": "Predict: tensors in, tensors out, as JSON or with the binary extension",
    "v2-model": "A model's metadata, from its own schema",
    "v2-model-ready": "Whether a model, or one version of it, is served here",
    "v2-model-config": "A model's configuration in Triton's terms",
    "v2-stats": "Request counts and durations of each model, over all workers",
    "v2-model-stats": "Request counts and durations of a model, over all workers",
    "v2-server": "The server's name, version and extensions",
    "invocations": "Predict with the default model: MLflow's four JSON forms, a list of rows, JSON Lines, CSV or npy",
    "invocations-model": "Predict: MLflow's four JSON forms, a list of rows, JSON Lines, CSV or npy",
    "invocations-version": "Predict in this version: MLflow's four JSON forms, a list of rows, JSON Lines, CSV or npy",
}


def describe(
    snapshot: ServingSnapshot, endpoints: Iterable[Endpoint], *, is_whole: bool
) -> tuple[dict[str, Any], dict[str, JsonSchema], list[dict[str, Any]]]:
    """Return paths, schemas and tags of the `endpoints` that `document` does not list by model.

    If `snapshot` is not complete, any model name is allowed.
    """
    names = sorted(snapshot.models) if is_whole else []
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        is_by_model = endpoint.protocol == "native" and endpoint.is_prediction
        if endpoint.name == "ground-truth":
            paths |= ground_truth.paths(snapshot, is_whole=is_whole)
        elif not is_by_model and ".*" not in endpoint.pattern:
            for path in templates(endpoint.pattern):
                paths.setdefault(path, {}).update(_operations(endpoint, path, snapshot, names))
    used = {operation["tags"][0] for item in paths.values() for operation in item.values()}
    tags = [{"name": tag} for tag in (CATALOGUE, *PROTOCOLS.values(), HEALTH, SERVICE) if tag in used]
    return paths, SCHEMAS, tags


def templates(pattern: str) -> list[str]:
    """Return a route's pattern in OpenAPI syntax, once for each variant: `/v2/models/{model}/infer`."""
    return _expand("/" + GROUP.sub(r"{\1}", pattern).replace("\\", ""))


def _expand(path: str) -> list[str]:
    found = CHOICE.search(path)
    if found is None:
        return [path]
    ways = ["", found[1]] if found[2] else found[1].split("|")
    return [whole for way in ways for whole in _expand(path[: found.start()] + way + path[found.end() :])]


def _operations(endpoint: Endpoint, path: str, snapshot: ServingSnapshot, names: list[str]) -> dict[str, Any]:
    known = KNOWN.get(endpoint.name)
    parameters = {"parameters": _parameters(path, names) + QUERIES.get(endpoint.name, [])}
    return {
        method.lower(): parameters | (_known(endpoint, *known) if known else _other(endpoint, method, path, snapshot))
        for method in endpoint.methods
    }


def _known(endpoint: Endpoint, tag: str, summary: str, schema: JsonSchema, statuses: tuple[int, ...]) -> dict[str, Any]:
    return {
        "operationId": endpoint.name,
        "tags": [tag],
        "summary": summary,
        "responses": {
            "200": {"description": summary, "content": {JSON: {"schema": schema}}},
            **(
                {"304": {"description": "Not modified: the client has the current document."}}
                if endpoint.name == "openapi"
                else {}
            ),
            **responses(statuses),
        },
    }


def _other(endpoint: Endpoint, method: str, path: str, snapshot: ServingSnapshot) -> dict[str, Any]:
    """Return the operation of a route that another specification defines; its schemas are not repeated here."""
    # Without an entry in SUMMARIES, the first line of the handler's docstring is the summary.
    words = (inspect.getdoc(endpoint.handler) or endpoint.name).splitlines()[0]
    operation: dict[str, Any] = {
        "operationId": "-".join([method.lower(), *re.findall(r"\w+", path)]),
        "tags": [PROTOCOLS.get(endpoint.protocol, SERVICE)],
        "summary": SUMMARIES.get(endpoint.name, words).rstrip("."),
        "responses": {"default": {"description": "As the protocol defines."}},
    }
    if endpoint.is_prediction:
        operation |= security()
    if method == "POST":
        bodies = examples.of(endpoint.name, snapshot)
        content: dict[str, Any] = {"schema": {}, **({"examples": bodies} if bodies else {})}
        kinds = endpoint.content_types or (JSON,)
        operation["requestBody"] = {"content": {kind: content if kind == JSON else {"schema": {}} for kind in kinds}}
    return operation


def _parameters(path: str, names: list[str]) -> list[dict[str, Any]]:
    schemas: dict[str, JsonSchema] = {
        "version": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
        "model": {"type": "string"} | ({"enum": names} if names else {}),
    }
    return [
        {"name": name, "in": "path", "required": True, "schema": schemas.get(name, {"type": "string"})}
        for name in PARAMETER.findall(path)
    ]
