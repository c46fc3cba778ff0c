"""Runs a command with DATABASE_URL set to a real PostgreSQL of its own: `python -m tests.on_postgresql pytest …`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tests.support.postgresql import postgresql_server


def main(command: list[str]) -> int:
    """Start the server, run the command, stop the server; also after SIGTERM, which the command gets, too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with (
        postgresql_server() as server,
        subprocess.Popen(command, env={**os.environ, "DATABASE_URL": server.get_uri()}) as process,
    ):
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        # Ctrl-C reaches the command, too: it ends by itself, with a report.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
