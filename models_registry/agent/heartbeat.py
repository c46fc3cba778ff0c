"""Says that a replica lives, also while its reconciler is busy with a long load."""

from __future__ import annotations

from collections.abc import Callable

from models_registry import services
from models_registry.agent.database_thread import DatabaseThread


def heartbeat(replica_id: str, *, seconds: float, on_unknown: Callable[[], None]) -> DatabaseThread:
    """Return a thread that does nothing else, every `seconds`. The reconciler logs that the database is unavailable.

    It calls `on_unknown` where the registry knows no such replica, or no longer.
    """

    def beat() -> None:
        if not services.beat(replica_id):
            on_unknown()

    return DatabaseThread("heartbeat", beat, seconds=seconds)
