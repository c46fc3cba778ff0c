"""Reads available memory and processors from the kernel or the container's limits, and returns freed memory."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """Return the memory in bytes that this process could still allocate: by the machine's or the container's limit."""
    free = int(psutil.virtual_memory().available)
    limit, used = _number(CGROUP / "memory.max"), _number(CGROUP / "memory.current")
    if limit is None or used is None:
        return free
    cached = _inactive_file_bytes()
    return min(free, max(0, limit - used + cached))


def _inactive_file_bytes() -> int:
    """Return the size of the file cache that the kernel frees first; 0 if it is unknown."""
    try:
        lines = (CGROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def cpu_quota() -> int:
    """Return the number of processors that this process may use, at least 1."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else max(1, min(allowed, int(quota) // int(period)))


def give_back() -> None:
    """Free the memory of an unloaded model, and return it to the kernel."""
    gc.collect()
    try:
        # glibc keeps freed arenas: without this, 40 swaps grew a process by a quarter.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except OSError:
        return  # other C libraries keep no such arenas
