"""Cross-origin requests (CORS) to predictions, from the origins in MLAPI_CORS_ORIGINS."""

from __future__ import annotations

from mlapi.endpoint import Endpoint
from mlapi.http.request import Request
from mlapi.protocols.base import Reply
from mlapi.request_settings import request_settings

REQUEST_HEADERS = (
    "Accept, Authorization, Content-Encoding, Content-Type, Inference-Header-Content-Length, traceparent, X-API-Key, "
    "X-Model-Version, X-Request-ID, X-Routing-Key"
)
RESPONSE_HEADERS = "Inference-Header-Content-Length, Retry-After, X-Model-Name, X-Model-Version, X-Request-ID"
MAX_AGE_SECONDS = 7200


def is_preflight(request: Request) -> bool:
    """Return whether this is a CORS preflight request."""
    headers = request.headers
    return (
        request.method == "OPTIONS"
        and headers.has(b"access-control-request-method")
        and bool(_allowed_origin(headers.raw(b"origin")))
    )


def answer_preflight(endpoint: Endpoint) -> Reply:
    """Return the answer to a preflight request: the allowed methods and headers."""
    return Reply(
        204,
        b"",
        headers=[
            ("Access-Control-Allow-Methods", ", ".join(endpoint.methods)),
            ("Access-Control-Allow-Headers", REQUEST_HEADERS),
            ("Access-Control-Max-Age", str(MAX_AGE_SECONDS)),
        ],
    )


def allow(endpoint: Endpoint, request: Request, reply: Reply) -> None:
    """Add the headers that let a page of an allowed origin read the reply or the error."""
    if not request_settings().cors_origins or endpoint.is_internal:
        return
    origin = _allowed_origin(request.headers.raw(b"origin"))
    if origin:
        reply.headers.append(("Access-Control-Allow-Origin", origin))
        reply.headers.append(("Access-Control-Expose-Headers", RESPONSE_HEADERS))
    if origin != "*":
        reply.headers.append(("Vary", "Origin"))


def _allowed_origin(origin: str) -> str:
    """Return Access-Control-Allow-Origin: the origin, or * if all are allowed; empty for other origins."""
    allowed = request_settings().cors_origins
    if not origin:
        return ""
    return "*" if "*" in allowed else origin if origin.lower() in allowed else ""
