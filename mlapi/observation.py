"""What is noted of every request: a log line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from mlapi.gate import Endpoint
    from mlapi.protocols.base import Reply

log = structlog.get_logger("mlapi.access")


def observe(endpoint: Endpoint, environ: Mapping[str, Any], reply: Reply, request_id: str, seconds: float) -> None:
    """Write the request's line."""
    facts = reply.facts
    log.info(
        "request",
        id=request_id,
        route=endpoint.name,
        protocol=endpoint.protocol,
        model=facts.model,
        version=facts.version,
        status=reply.status,
        ms=round(seconds * 1000, 3),
        rows=facts.rows,
    )


def observe_api(
    environ: Mapping[str, Any],
    *,
    request_id: str,
    route: str,
    method: str,
    status: int,
    model: str,
    user: str,
    seconds: float,
) -> None:
    """Write the line of a request to the registry's API."""
    log.info(
        "request",
        id=request_id,
        route=route,
        protocol="registry",
        method=method,
        model=model,
        user=user,
        status=status,
        ms=round(seconds * 1000, 3),
    )
