"""Error responses by status: one shared schema, and one example each."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from mlapi.openapi.inputs import JsonSchema, ref
from mlapi.protocols.base import JSON

ERROR: JsonSchema = {
    "description": "A sentence with the next step, a stable code for programs, and details.",
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "The found value, the expected value, and the next step."},
        "code": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$", "description": "Stable; for programs."},
        "request_id": {"type": "string", "description": "Also in the header X-Request-ID and in the log."},
        "row": {"type": "integer", "minimum": 0, "description": "The index of the row in the request, from 0."},
        "feature": {"type": "string", "description": "The name of the feature."},
    },
    "required": ["error", "code", "request_id"],
    "additionalProperties": True,
}

# Status: the response's name, its description, the code and the message of its example.
REFUSALS: dict[int, tuple[str, str, str, str]] = {
    400: (
        "BadRequest",
        "The body is not valid JSON, or does not fit the model; the error names row and feature. Also a Host that is "
        "not served here.",
        "invalid_feature",
        "Row 0, feature 'age': expected a number, found the string 'thirty'.",
    ),
    401: (
        "KeyNeeded",
        "No API key, or one that is not valid.",
        "missing_api_key",
        "An API key is required. Send it as 'Authorization: Bearer KEY' or as 'X-API-Key: KEY'.",
    ),
    403: (
        "NotForThisModel",
        "The key is for other models.",
        "key_not_for_model",
        "This API key is not valid for 'churn'; it is valid for digits.",
    ),
    404: (
        "NotServed",
        "The model, or this version of it, is not served here.",
        "unknown_model",
        "No model called 'chrun' is served. Did you mean 'churn'?",
    ),
    405: ("MethodNotAllowed", "See the header Allow.", "method_not_allowed", "GET is not allowed here; use POST."),
    408: (
        "TooSlow",
        "The request did not arrive in time.",
        "request_timeout",
        "The request arrived too slowly: send at least 20000 bytes a second, on a new connection.",
    ),
    413: (
        "TooLarge",
        "The body is larger than the limit, as sent or when decompressed.",
        "body_too_large",
        "The body has 40000000 bytes; at most 32000000 are accepted. Send fewer rows at a time.",
    ),
    415: (
        "UnsupportedMediaType",
        "An unsupported Content-Type or Content-Encoding.",
        "unsupported_media_type",
        "The Content-Type is 'text/plain'; send application/json.",
    ),
    429: (
        "TooMany",
        "More requests than the key allows.",
        "rate_limited",
        "This API key is limited to 60 requests a minute. Send fewer requests.",
    ),
    503: (
        "NotNow",
        "The model is not loaded here, or the service is overloaded.",
        "not_loaded",
        "The model 'churn' is not loaded here: it is loading.",
    ),
}
RETRIED = {429, 503}
OF_PREDICTION = (400, 401, 403, 404, 405, 408, 413, 415, 429, 503)


def components() -> dict[str, Any]:
    """Return the shared error responses."""
    return {name: _response(status) for status, (name, *_) in REFUSALS.items()}


def responses(statuses: tuple[int, ...]) -> dict[str, Any]:
    """Return references to the error responses of these statuses."""
    if not settings.MLAPI_REQUIRE_API_KEY:
        statuses = tuple(status for status in statuses if status not in {401, 403})
    return {str(status): {"$ref": f"#/components/responses/{REFUSALS[status][0]}"} for status in statuses}


SCHEMES: dict[str, Any] = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "ApiKeyAsBearer": {"type": "http", "scheme": "bearer"},
}


def security_schemes() -> dict[str, Any]:
    """Return the security schemes for API keys; empty if keys are not required."""
    return SCHEMES if settings.MLAPI_REQUIRE_API_KEY else {}


def security() -> dict[str, Any]:
    """Return the security requirement of a prediction operation."""
    return {"security": [{scheme: []} for scheme in SCHEMES]} if settings.MLAPI_REQUIRE_API_KEY else {}


def _response(status: int) -> dict[str, Any]:
    _, description, code, sentence = REFUSALS[status]
    response: dict[str, Any] = {
        "description": description,
        "headers": {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}},
        "content": {
            JSON: {
                "schema": ref("Error"),
                "example": {"error": sentence, "code": code, "request_id": "0d6f2c4b9a3e4c5f8b7a6d5e4f3c2b1a"},
            }
        },
    }
    if status == 401:
        response["headers"]["WWW-Authenticate"] = {"schema": {"type": "string"}}
    if status in RETRIED:
        response["headers"]["Retry-After"] = {"schema": {"type": "string"}, "description": "Seconds to wait."}
    if status == 405:
        response["headers"]["Allow"] = {"schema": {"type": "string"}}
    return response
