"""Whether this server is about to end: the container's command says so in a file, and serves on meanwhile."""

from __future__ import annotations

import os
from pathlib import Path


def begin() -> None:
    """Say that the server drains; OSError where the disk takes no file."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def clear() -> None:
    """Say that it does not: what an earlier server left is not about this one."""
    _path().unlink(missing_ok=True)


def is_draining() -> bool:
    """Return whether the server drains."""
    return _path().exists()


def _path() -> Path:
    var = os.environ.get("MLAPI_VAR") or Path(__file__).parent.parent / "var"
    return Path(var).resolve() / "draining"
