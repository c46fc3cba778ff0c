"""Limits the sandboxed tasks that run on a machine at the same time.

Validations: one in each worker, and only one if little memory is free. Shadows: one per machine.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models_registry.inference import memory

# Memory of a small model's validation, including the libraries. The sandbox's own limit refuses large models.
NEEDED_BYTES = 400_000_000


@contextmanager
def check_slot(path: Path) -> Iterator[bool]:
    """Hold a slot at the lock file `path`; yield False if another validation leaves too little memory."""
    is_alone = memory.available_bytes() < NEEDED_BYTES
    with _lock(path, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH) as is_held:
        yield is_held


@contextmanager
def shadow_slot(path: Path) -> Iterator[bool]:
    """Hold this machine's only slot for a shadow at the lock file `path`.

    Yields False if another worker has it, or if little memory is free.
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
