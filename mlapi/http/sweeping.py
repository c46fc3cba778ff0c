"""Enforces the timeouts of all connections of a worker."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import structlog

log = structlog.get_logger(__name__)

# Above this number, the connections that linger longest are closed.
MAX_LINGERING = 128


async def sweep_connections(connections: set[Any], *, seconds: float = 0.5) -> None:
    """Enforce the timeouts until the task is cancelled; one task per worker."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(seconds)
        now = loop.time()
        for connection in list(connections):
            try:
                connection.sweep(now)
            except Exception:
                log.exception("connection_not_swept")
                connections.discard(connection)
        lingering = sorted(connection.lingers_until for connection in connections if connection.lingers_until)
        if len(lingering) > MAX_LINGERING:
            for connection in list(connections):
                if connection.lingers_until and connection.lingers_until <= lingering[-MAX_LINGERING - 1]:
                    connection.sweep(math.inf)
