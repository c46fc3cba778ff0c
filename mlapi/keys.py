"""The key check of the gate: who may ask which model, and how often."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mlapi.protocols.base import HttpError
from models_registry.serving.keyring import HeldKey
from models_registry.serving.runtime import Runtime

HOW = "Send it as 'Authorization: Bearer KEY' or as 'X-API-Key: KEY'."


def require_key(environ: Mapping[str, Any], runtime: Runtime, model: str | None) -> HeldKey:
    """Return the caller's key where it is good for `model` (None: the default one) now, and count this use.

    HttpError 401: no key, or none that is in use; 403: a key for other models; 429: used too often.
    """
    given = given_key(environ)
    if not given:
        raise _unauthorized("missing_api_key", f"An API key is needed here. {HOW}")
    ring = runtime.keys
    if ring is None:
        raise HttpError(
            503, "keys_not_read", "This worker has not read the API keys yet; its database may be away."
        ).with_header("Retry-After", "2")
    key = ring.find(given)
    if key is None:
        raise _unauthorized(
            "invalid_api_key",
            "This API key is not in use: it was mistyped or revoked. Ask the operator for another.",
        )
    if key.is_expired():
        raise _unauthorized("invalid_api_key", "This API key has expired. Ask the operator for another.")
    if key.models is not None:
        _require_scope(key, key.models, model if model is not None else runtime.board.default)
    runtime.key_uses.note(key)
    if key.bucket is not None:
        wait = key.bucket.take()
        if wait:
            raise HttpError(
                429, "rate_limited", f"This API key may be used {_rate(key)} times a minute here, and was. Slow down."
            ).with_header("Retry-After", str(math.ceil(wait)))
    return key


def given_key(environ: Mapping[str, Any]) -> str:
    """Return the key that a request bears; empty where it bears none."""
    key: str | None = environ.get("HTTP_X_API_KEY")
    if key:
        return key
    return bearer(environ.get("HTTP_AUTHORIZATION", ""))


def bearer(authorization: str) -> str:
    """Return what stands after `Bearer` in an Authorization header; empty where it is of another kind."""
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _require_scope(key: HeldKey, allowed: frozenset[str], model: str | None) -> None:
    if model not in allowed:
        raise HttpError(
            403,
            "key_not_for_model",
            f"This API key is not good for {model!r}; it is good for {', '.join(sorted(allowed))}.",
            model=model,
            expected=sorted(allowed),
        )


def _rate(key: HeldKey) -> str:
    return f"{key.bucket.per_minute:g}" if key.bucket else "any number of"


def _unauthorized(code: str, message: str) -> HttpError:
    return HttpError(401, code, message).with_header("WWW-Authenticate", "Bearer")
