"""What other processes of this machine are at."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def has_open(path: Path, pid: int) -> bool:
    """Return whether a process has a file open."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        # Any of them may be closed meanwhile.
        with suppress(FileNotFoundError):
            if descriptor.readlink() == path:
                return True
    return False
