"""Responses that the handlers of this protocol share: errors, JSON, health, unknown paths."""

from __future__ import annotations

from typing import Any

import orjson

from mlapi.protocols.base import Call, Handler, HttpError, Reply
from models_registry.inference.runtime import Runtime


def error_reply(error: HttpError, request_id: str) -> Reply:
    """Return the error in this protocol's form: exactly one string, under `error`."""
    return Reply(error.status, orjson.dumps({"error": str(error)}), headers=list(error.headers), code=error.code)


def json_reply(content: Any, **given: Any) -> Reply:
    """Return 200 with `content`; clients accept no other status as success."""
    return Reply(200, orjson.dumps(content, default=str), **given)


def health_handler(check: Handler, name: str) -> Handler:
    """Return a handler that answers `{name: true}` if `check` passes, and otherwise raises the check's error."""

    def answer(call: Call, runtime: Runtime) -> Reply:
        check(call, runtime)
        return json_reply({name: True})

    return answer


def unknown_address(call: Call, runtime: Runtime) -> Reply:
    """Raise HttpError 404 for a path below /v2 that is not served; suggest a path without its last slash."""
    address = f"/v2/{call.params.get('rest', '')[:200]}"
    if address.endswith("/"):
        raise HttpError(
            404, "not_found", f"There is nothing at {address}. Try {address.rstrip('/')}, without the slash."
        )
    raise HttpError(
        404,
        "not_found",
        f"There is nothing at {address}. Versions are whole numbers; 'GET /v2' names the "
        "extensions that are served. Shared memory, tracing and logging are not among them.",
    )
