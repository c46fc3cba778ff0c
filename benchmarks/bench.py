"""Shared code of all parts of a benchmark: the models, the registry, the rounds."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.artifacts import ROWS_SENT, Models
from benchmarks.load import bodies_file
from benchmarks.servers import Registry, Server, fastapi, litserve, mlserver


@dataclass(frozen=True, slots=True)
class Bench:
    """One run."""

    directory: Path
    models: Models
    registry: Registry
    rounds: int

    def ours(self, **environment: str) -> Server:
        """Return mlapi as it comes, or as `environment` says."""
        return self.registry.server("mlapi", **environment)

    def native(self) -> Server:
        """Return mlapi with acceleration off."""
        return self.registry.server("mlapi, acceleration off", MODELS_ACCELERATION="off")

    def fastapi(self, form: str, runtime: str) -> Server:
        """Return FastAPI."""
        return fastapi(self.models, form=form, runtime=runtime, directory=self.directory)

    def peers_with_joblib(self) -> list[Server]:
        """Return everybody who serves the same joblib file as it is."""
        return [
            self.fastapi("def", "joblib"),
            self.fastapi("async", "joblib"),
            mlserver(self.models, directory=self.directory),
            litserve(self.models, directory=self.directory),
        ]

    def batching_peer(self) -> Server:
        """Return LitServe with its batching on, which is off by default and needs a timeout to be chosen."""
        return litserve(self.models, directory=self.directory, batch=16)

    def bodies(self, server: Server) -> Path:
        """Return the file of the single rows as `server` is sent them."""
        rows = [json.dumps(server.body(self.models.named(index))).encode() for index in range(ROWS_SENT)]
        return bodies_file(self.directory, f"rows-{server.port}", rows)


@contextmanager
def only(server: Server, servers: list[Server]) -> Iterator[Server]:
    """Stop all other servers as long as the block lasts: some are busy when idle."""
    others = [other.process.pid for other in servers if other is not server and other.process is not None]
    for pid in others:
        os.killpg(pid, signal.SIGSTOP)
    try:
        yield server
    finally:
        for pid in others:
            os.killpg(pid, signal.SIGCONT)
