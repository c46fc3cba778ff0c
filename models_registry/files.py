"""Files that the processes of a machine share: locks, and atomic writes."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LOCK_POLL_SECONDS = 0.05


@contextmanager
def whole_file(path: Path, *, mode: int = 0o644, is_durable: bool = True) -> Iterator[IO[bytes]]:
    """Yield a new file to write, and move it to `path` at the end; an exception leaves the old file.

    With `is_durable`, the bytes are flushed to the disk before the rename.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}-")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as target:
            yield target
            target.flush()
            os.fchmod(target.fileno(), mode)
            if is_durable:
                os.fsync(target.fileno())
        # The rename is atomic: another process sees the whole new file or the old one.
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def acquire(descriptor: int, kind: int, *, deadline: float, poll_seconds: float = LOCK_POLL_SECONDS) -> bool:
    """Lock an open file; return whether the lock was acquired before `deadline`.

    Args:
        descriptor: the open file. The kernel releases the lock when the file is closed or the process ends.
        kind: `fcntl.LOCK_EX` or `fcntl.LOCK_SH`.
        deadline: in seconds of `time.monotonic`; 0 tries once.
        poll_seconds: the pause between two attempts.
    """
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(poll_seconds)
        else:
            return True
