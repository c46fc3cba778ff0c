"""Marks the server as draining, by a file that the container's command writes and the gRPC health checks read.

A draining server still answers requests. The file is in MLAPI_VAR, so each server needs its own directory.
"""

from __future__ import annotations

import os
from pathlib import Path


def begin() -> None:
    """Mark the server as draining; OSError if the file cannot be written."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def clear() -> None:
    """Remove the mark of an earlier server."""
    _path().unlink(missing_ok=True)


def is_draining() -> bool:
    """Return whether the mark exists."""
    return _path().exists()


def _path() -> Path:
    var = os.environ.get("MLAPI_VAR") or Path(__file__).parent.parent / "var"
    return Path(var).resolve() / "draining"
