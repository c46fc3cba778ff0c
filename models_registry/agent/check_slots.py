"""How many sandboxed tasks run on a machine at once.

Validations: one in each worker, and one alone where little memory is free. Shadows: one in all.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models_registry.inference import memory

# A validation of a small model takes about that with its libraries. A large one is refused by its own limit.
NEEDED_BYTES = 400_000_000


@contextmanager
def check_slot(path: Path) -> Iterator[bool]:
    """Hold a slot at the lock file `path`; gives False if another validation leaves no memory for this one."""
    is_alone = memory.available_bytes() < NEEDED_BYTES
    with _lock(path, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH) as is_held:
        yield is_held


@contextmanager
def shadow_slot(path: Path) -> Iterator[bool]:
    """Hold this machine's only slot for a shadow at the lock file `path`.

    Gives False if another worker has it, or where little memory is free.
    """
    with _lock(path, fcntl.LOCK_EX) as is_held:
        yield is_held and memory.available_bytes() >= NEEDED_BYTES


@contextmanager
def _lock(path: Path, kind: int) -> Iterator[bool]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield _take(descriptor, kind)
    finally:
        os.close(descriptor)


def _take(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
