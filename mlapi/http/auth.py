"""Access control: API keys for predictions, networks for the admin and the metrics."""

from __future__ import annotations

import hmac
import math

from django.conf import settings

from mlapi.http.clients import client_address, is_within
from mlapi.http.request import Headers
from mlapi.protocols.base import HttpError
from models_registry.inference.api_key_cache import HeldKey
from models_registry.inference.runtime import Runtime

HOW = "Send it as 'Authorization: Bearer KEY' or as 'X-API-Key: KEY'."


def require_key(headers: Headers, runtime: Runtime, model: str | None) -> HeldKey:
    """Return the API key if it is valid for `model` (None: the default model), and count this use.

    Raises HttpError 401 for a missing, unknown or expired key, 403 for a key of other models, 429 for too many
    requests, and 503 if this worker has not read the keys yet.
    """
    given = given_key(headers)
    if not given:
        raise _unauthorized("missing_api_key", f"An API key is required. {HOW}")
    keys = runtime.keys
    if keys is None:
        raise HttpError(
            503, "keys_not_read", "This worker has not loaded the API keys yet; its database may be unavailable."
        ).with_header("Retry-After", "2")
    key = keys.find(given)
    if key is None:
        raise _unauthorized(
            "invalid_api_key",
            "This API key is not valid: it was mistyped or revoked. Ask the operator for a new one.",
        )
    if key.is_expired():
        raise _unauthorized("invalid_api_key", "This API key has expired. Ask the operator for a new one.")
    if key.models is not None:
        _require_scope(key, key.models, model if model is not None else runtime.snapshot.default)
    runtime.key_uses.note(key)
    if key.bucket is not None:
        wait = key.bucket.take()
        if wait:
            raise HttpError(
                429, "rate_limited", f"This API key is limited to {_rate(key)} a minute. Send fewer requests."
            ).with_header("Retry-After", str(math.ceil(wait)))
    return key


def given_key(headers: Headers) -> str:
    """Return the API key of a request; empty if the request has none."""
    return headers.raw(b"x-api-key") or bearer(headers.raw(b"authorization"))


def require_network(peer: str, forwarded_for: str) -> None:
    """Raise HttpError 403 if MLAPI_ADMIN_CIDR is set and does not contain the client's address."""
    networks = settings.MLAPI_ADMIN_CIDR
    if not networks:
        return
    address = client_address(peer, forwarded_for, trusted_proxies=settings.TRUSTED_PROXIES)
    if not is_within(address, networks):
        raise HttpError(
            403,
            "network_not_allowed",
            f"Clients at {address or 'an unknown address'} may not open this page. The operator lists the allowed "
            "networks in MLAPI_ADMIN_CIDR.",
        )


def require_metrics_token(headers: Headers) -> None:
    """Raise HttpError 401 if MLAPI_METRICS_TOKEN is set and the request has another token."""
    expected = settings.MLAPI_METRICS_TOKEN
    given = bearer(headers.raw(b"authorization"))
    if expected and not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode()):
        raise HttpError(
            401, "metrics_token_needed", "Send the token of MLAPI_METRICS_TOKEN as 'Authorization: Bearer TOKEN'."
        ).with_header("WWW-Authenticate", "Bearer")


def bearer(authorization: str) -> str:
    """Return the bearer token of an Authorization header; empty for any other scheme."""
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _require_scope(key: HeldKey, allowed: frozenset[str], model: str | None) -> None:
    if model not in allowed:
        raise HttpError(
            403,
            "key_not_for_model",
            f"This API key is not valid for {model!r}; it is valid for {', '.join(sorted(allowed))}.",
            model=model,
            expected=sorted(allowed),
        )


def _rate(key: HeldKey) -> str:
    if key.bucket is None:
        return "any number of requests"
    return f"{key.bucket.per_minute:g} request{'s' if key.bucket.per_minute != 1 else ''}"


def _unauthorized(code: str, message: str) -> HttpError:
    return HttpError(401, code, message).with_header("WWW-Authenticate", "Bearer")
