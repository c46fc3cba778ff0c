"""What the processes of a machine share on its disk: locks, and files that are there whole or not at all."""

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
    """Give a new file to write, and put it at `path` at the end; an exception leaves what was there.

    With `is_durable`, the bytes are on the disk before the file takes its place.
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
        # The rename is atomic: another process sees the whole file or the previous one.
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def acquire(descriptor: int, kind: int, *, deadline: float, poll_seconds: float = LOCK_POLL_SECONDS) -> bool:
    """Take the lock of an open file; return whether it was had before `deadline`.

    Args:
        descriptor: the open file. The kernel drops the lock when it is closed, also by the death of the process.
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
