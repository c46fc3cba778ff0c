"""Says that a replica lives, also while its reconciler is busy with a long load."""

from __future__ import annotations

import threading

import structlog
from django.db import DatabaseError, close_old_connections, connection

from models_registry import services

log = structlog.get_logger(__name__)


class Heartbeat:
    """A thread that does nothing else."""

    def __init__(self, replica_id: str, *, seconds: float) -> None:
        """Beat every `seconds`."""
        self._replica_id = replica_id
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                close_old_connections()
                services.beat(self._replica_id)
            except DatabaseError as error:
                # The reconciler tells that the database is away, once.
                log.debug("heartbeat_failed", replica=self._replica_id, error=str(error))
                connection.close()
        connection.close()
