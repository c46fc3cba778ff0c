"""Says that a replica lives, also while its reconciler is busy with a long load."""

from __future__ import annotations

from models_registry import services
from models_registry.agent.database_thread import DatabaseThread


def heartbeat(replica_id: str, *, seconds: float) -> DatabaseThread:
    """Return a thread that does nothing else, every `seconds`. The reconciler logs that the database is away."""
    return DatabaseThread("heartbeat", lambda: services.beat(replica_id), seconds=seconds)
