"""This machine's cache of artifacts, by digest, shared by its workers.

An artifact is either present, whole and verified, or absent. A process holds a shared lock on each artifact that it
uses. The kernel releases the lock when the process ends, so eviction never removes an artifact in use.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from models_registry.errors import (
    DigestMismatch,
    DiskUnavailable,
    ObjectMissing,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)
from models_registry.files import acquire

Copy = Callable[[IO[bytes]], None]
ATTEMPTS = 3
LOCK_POLL_SECONDS = 0.05
FETCHING = ".fetching-"
FULL = {errno.ENOSPC, errno.EDQUOT}
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
TOO_LATE = "The storage did not deliver the artifact within the deadline. It is retried."


@dataclass(slots=True)
class CachedArtifact:
    """A verified file; it is not evicted before `release` or the end of a `with` block."""

    path: Path
    digest: str
    size_bytes: int
    _lock: int

    def __enter__(self) -> Self:
        """Return the handle itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the file."""
        self.release()

    def release(self) -> None:
        """Allow the eviction of the file; a second call does nothing."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class ArtifactCache:
    """Artifacts in `directory`, at most `max_bytes` in addition to those in use.

    The directory is created on demand, and may be deleted at any time.
    """

    def __init__(self, directory: Path, *, max_bytes: int) -> None:
        """Store the settings; a worker must start even if the cache's disk fails."""
        self.directory = directory
        self.max_bytes = max_bytes

    def fetch(
        self,
        copy: Copy,
        *,
        suffix: str,
        digest: str = "",
        size_bytes: int | None = None,
        deadline_seconds: float,
        memory_bytes: int = 0,
    ) -> CachedArtifact:
        """Return the artifact with `digest`; if it is not cached, `copy` downloads it.

        Without a digest (for a version that was never read) the artifact is copied, and the result has its digest. On a
        full disk, unused artifacts are removed first. If the disk still cannot store an artifact of at most
        `memory_bytes` with a digest, it is kept in memory.

        Raises:
            DigestMismatch: the bytes differ from the registered ones.
            StorageUnavailable: the artifact is not here after `deadline_seconds`, for all attempts together.
            DiskUnavailable: this disk cannot store it.
        """
        deadline = time.monotonic() + deadline_seconds
        with self._as_disk_error():
            try:
                return self._fetch_to_disk(copy, suffix, digest, size_bytes, deadline)
            except OSError:
                if not digest or size_bytes is None or size_bytes > memory_bytes:
                    raise
            return self._fetch_to_memory(copy, suffix, digest, size_bytes, deadline)

    def _fetch_to_disk(
        self, copy: Copy, suffix: str, digest: str, size_bytes: int | None, deadline: float
    ) -> CachedArtifact:
        try:
            return self._fetch(copy, suffix, digest, size_bytes, deadline)
        except OSError as error:
            if error.errno not in FULL:
                raise
        self._evict_beyond(0)
        return self._fetch(copy, suffix, digest, size_bytes, deadline)

    def _fetch_to_memory(
        self, copy: Copy, suffix: str, digest: str, size_bytes: int, deadline: float
    ) -> CachedArtifact:
        """Return the artifact as an anonymous file of this process; its release frees the memory."""
        descriptor = os.memfd_create(f"{digest}{suffix}", os.MFD_CLOEXEC)
        with _closed_on_failure(descriptor):
            # Not /proc/self: another process may open the path, too.
            path = Path(f"/proc/{os.getpid()}/fd/{descriptor}")
            self._attempt_until(copy, path, digest, size_bytes, deadline)
            return CachedArtifact(path, digest, size_bytes, descriptor)

    def _fetch(self, copy: Copy, suffix: str, digest: str, size_bytes: int | None, deadline: float) -> CachedArtifact:
        self.directory.mkdir(parents=True, exist_ok=True)
        if not digest:
            return self._fetch_new(copy, suffix, size_bytes, deadline)
        lock = self._lock(digest, fcntl.LOCK_EX, deadline)
        with _closed_on_failure(lock):
            path = self._path(digest, suffix)
            is_new = not _is_intact(path, digest)
            if is_new:
                path.unlink(missing_ok=True)
                self._download(copy, path, digest, size_bytes, deadline)
            with suppress(OSError):  # on a read-only disk nothing is evicted, so the order of use does not matter
                os.utime(path)
            return self._held(path, digest, lock, is_new=is_new)

    def has(self, digest: str, *, suffix: str) -> bool:
        """Return whether the artifact is cached, without a check of its bytes."""
        return self._path(digest, suffix).is_file()

    def digests(self) -> set[str]:
        """Return the digests of the cached artifacts."""
        return {path.stem for path in self._artifacts()}

    def evict(self) -> None:
        """Remove unused artifacts, least recently used first, until at most `max_bytes` remain.

        Unfinished downloads of dead processes are removed first.
        """
        self._evict_beyond(self.max_bytes)

    def _evict_beyond(self, max_bytes: int) -> None:
        self._remove_abandoned()
        files = sorted(self._artifacts(), key=_used_at)
        total = sum(_size(path) for path in files)
        for path in files:
            if total <= max_bytes:
                return
            size = _size(path)
            if self._remove_unused(path):
                total -= size

    def _artifacts(self) -> list[Path]:
        try:
            return [path for path in self.directory.iterdir() if _is_artifact(path)]
        except OSError:  # missing, or not a directory any more
            return []

    @contextmanager
    def _as_disk_error(self) -> Iterator[None]:
        """Raise DiskUnavailable for an OSError of the block, with the directory and the next step."""
        try:
            yield
        except OSError as error:
            raise DiskUnavailable(f"{self._complaint(error)} It is retried.") from error

    def _complaint(self, error: OSError) -> str:
        if error.errno in FULL:
            return (
                f"The disk of the cache {self.directory} is full, and nothing is left in it to evict. Free some space "
                "there, or set MODELS_CACHE to a directory on a larger disk."
            )
        what = f"The cache {self.directory} cannot be written to: {error.strerror or error}."
        if error.errno in READ_ONLY:
            return f"{what} Give the service's user the right to write there, or set MODELS_CACHE to another directory."
        return what

    def _fetch_new(self, copy: Copy, suffix: str, size_bytes: int | None, deadline: float) -> CachedArtifact:
        with self._temporary(suffix) as temporary:
            digest = self._attempt_until(copy, temporary, "", size_bytes, deadline)
            lock = self._lock(digest, fcntl.LOCK_EX, deadline)
            with _closed_on_failure(lock):
                path = self._path(digest, suffix)
                temporary.replace(path)
                return self._held(path, digest, lock, is_new=True)

    def _held(self, path: Path, digest: str, lock: int, *, is_new: bool) -> CachedArtifact:
        """Return the artifact at `path` with a shared lock; a new one may evict others.

        Eviction lists the directory, so it is skipped when an artifact was already on the disk.
        """
        fcntl.flock(lock, fcntl.LOCK_SH)
        if is_new:
            with suppress(OSError):  # a failed removal is repeated after a later download
                self.evict()
        return CachedArtifact(path, digest, path.stat().st_size, lock)

    def _download(self, copy: Copy, path: Path, digest: str, size_bytes: int | None, deadline: float) -> None:
        with self._temporary(path.suffix) as temporary:
            self._attempt_until(copy, temporary, digest, size_bytes, deadline)
            # An atomic rename: other workers see the whole artifact or none.
            temporary.replace(path)

    def _attempt_until(self, copy: Copy, path: Path, digest: str, size_bytes: int | None, deadline: float) -> str:
        """Copy until the digest is right, at most ATTEMPTS times; return the digest."""
        error: Exception = StorageUnavailable("The artifact was not copied.")
        for attempt in range(ATTEMPTS):
            if attempt and time.monotonic() + attempt >= deadline:
                break
            if attempt:
                time.sleep(attempt * 0.5)
            try:
                _copy_within(copy, path, deadline)
                return _verified(path, digest, size_bytes)
            except (StorageDenied, ObjectMissing):
                raise
            except (StorageError, DigestMismatch) as caught:
                error = caught
        raise error

    def _path(self, digest: str, suffix: str) -> Path:
        return self.directory / f"{digest}{suffix}"

    def _lock(self, digest: str, kind: int, deadline: float) -> int:
        """Return the locked descriptor of the digest's lock file; LOCK_EX waits only for another worker's download."""
        descriptor = _opened_lock(self.directory / f"{digest}.lock")
        while not acquire(descriptor, kind, deadline=0):
            # A worker that uses the artifact holds a shared lock: the artifact is then complete.
            if acquire(descriptor, fcntl.LOCK_SH, deadline=0) and any(self.directory.glob(f"{digest}.[!l]*")):
                return descriptor
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise StorageUnavailable(
                    f"Another worker is still downloading {digest[:12]}, and the deadline has passed. It is retried."
                )
            time.sleep(LOCK_POLL_SECONDS)
        return descriptor

    def _remove_unused(self, path: Path) -> bool:
        descriptor = os.open(self.directory / f"{path.stem}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            is_unused = acquire(descriptor, fcntl.LOCK_EX, deadline=0)
            if is_unused:
                path.unlink(missing_ok=True)
            return is_unused
        finally:
            os.close(descriptor)

    @contextmanager
    def _temporary(self, suffix: str) -> Iterator[Path]:
        path = self.directory / f"{FETCHING}{os.getpid()}-{threading.get_ident()}{suffix}"
        lock = _locked_file(path)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
            os.close(lock)

    def _remove_abandoned(self) -> None:
        """Remove unfinished downloads whose process has ended."""
        for path in self.directory.glob(f"{FETCHING}*"):
            # A lock is more reliable than a process id, which another container of this machine may also have.
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # another worker removed it since the listing
            try:
                if acquire(descriptor, fcntl.LOCK_EX, deadline=0):
                    path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


class _UntilDeadline(io.BufferedWriter):
    """A file that refuses writes after the deadline, so that an abandoned copy ends."""

    def __init__(self, path: Path, deadline: float) -> None:
        super().__init__(io.FileIO(path, "w"))
        self._deadline = deadline

    def write(self, data: Any, /) -> int:
        """Write `data`; StorageUnavailable after the deadline."""
        if time.monotonic() >= self._deadline:
            raise StorageUnavailable(TOO_LATE)
        return super().write(data)


@contextmanager
def _closed_on_failure(descriptor: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(descriptor)
        raise


def _opened_lock(path: Path) -> int:
    """Return the descriptor of a lock file; a file on a read-only disk can be locked too."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _locked_file(path: Path) -> int:
    """Return the descriptor of the new file at `path`, locked while this process has it open."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        # Between the two calls another worker removed the file as an abandoned one.
        os.close(descriptor)


def _copy_within(copy: Copy, path: Path, deadline: float) -> None:
    """Run `copy` into a new file; StorageUnavailable after the deadline.

    A separate thread runs the copy: a server that sends single bytes never reaches a socket timeout.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with _UntilDeadline(path, deadline) as target:
                copy(target)
                target.flush()
                os.fsync(target.fileno())
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread below
            failures.append(error)

    thread = threading.Thread(target=run, name="artifact-copy", daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
    if thread.is_alive():
        raise StorageUnavailable(TOO_LATE)
    if failures:
        raise failures[0]


def _verified(path: Path, digest: str, size_bytes: int | None) -> str:
    size = path.stat().st_size
    if size_bytes is not None and size != size_bytes:
        raise StorageUnavailable(f"The storage delivered {size} of {size_bytes} bytes. It is retried.")
    found = digest_of(path)
    if digest and found != digest:
        raise DigestMismatch(
            f"sha256 is {found[:12]}…, registered as {digest[:12]}…: the stored bytes have changed. "
            "Publish the artifact again."
        )
    return found


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _is_intact(path: Path, digest: str) -> bool:
    # Hashed at every fetch: the cache's disk can have bit errors too.
    return path.is_file() and digest_of(path) == digest


def _is_artifact(path: Path) -> bool:
    return path.is_file() and path.suffix != ".lock" and not path.name.startswith(".")


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
