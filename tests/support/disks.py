"""A small disk of its own, which a test may fill or make read-only."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

CAP_SYS_ADMIN = 21


def may_mount() -> bool:
    """Return whether this process may mount a file system."""
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff"))
    return bool(int(effective, 16) >> CAP_SYS_ADMIN & 1)


needs_mount = pytest.mark.skipif(not may_mount(), reason="only root may mount a small disk")


class SmallDisk:
    """A mounted directory of a few megabytes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.path / "filling").open("ab", buffering=0) as filling, suppress(OSError):
            while filling.write(bytes(4096)):
                pass

    def free(self) -> None:
        """Give the space back."""
        (self.path / "filling").unlink()

    def make_read_only(self) -> None:
        """Let nobody write, whoever has a file open for it."""
        subprocess.run(["mount", "-o", "remount,bind,ro", str(self.path)], check=True)

    def make_writable(self) -> None:
        """Let everybody write again."""
        subprocess.run(["mount", "-o", "remount,bind,rw", str(self.path)], check=True)


@contextmanager
def small_disk(path: Path, *, megabytes: int = 8) -> Iterator[SmallDisk]:
    """Mount an empty disk at `path` as long as the block lasts."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)], check=True)
    try:
        yield SmallDisk(path)
    finally:
        # Lazily: a process that ends may still have a file open.
        ctypes.CDLL(None).umount2(os.fsencode(path), 2)


def lose(directory: Path) -> None:
    """Take a directory away at once, though a service writes into it."""
    gone = directory.with_name(f"{directory.name}-gone")
    directory.rename(gone)
    # What is still open there may write a last file.
    shutil.rmtree(gone, ignore_errors=True)
