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
