"""Where artifacts live: two storages that keep every version of an object.

`VersionedS3Storage` (storage_s3.py) leaves that to S3 itself. `VersionedFileSystemStorage` keeps a copy of what it has
seen under `.versions/`, since a directory forgets the old bytes when a file is overwritten.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import unquote, urlsplit

from django.core.files.storage import FileSystemStorage

from models_registry.errors import ManifestError, ObjectMissing, StorageDenied, StorageError, StorageUnavailable

CHUNK_BYTES = 1 << 20
SETTLE_SECONDS = 1.0
HIDDEN = ".versions"
MANIFEST_SUFFIX = ".manifest.json"
MAX_BESIDE_BYTES = 32_000_000


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One stored version of one object; `version_id` pins its bytes."""

    key: str
    version_id: str
    size_bytes: int
    modified_at: float


class VersionedStorage(Protocol):
    """What the registry asks of a storage; the errors are StorageUnavailable, StorageDenied and ObjectMissing."""

    def list_versions(self, prefix: str = "") -> list[StoredVersion]:
        """Return every version of every object that is there, oldest first; one listing, no look at each object."""

    def copy_version(self, key: str, version_id: str, target: IO[bytes]) -> None:
        """Write the bytes of that version to `target`."""

    def read_current(self, key: str, *, max_bytes: int = MAX_BESIDE_BYTES) -> bytes | None:
        """Return the bytes that are under `key` now (a small file), or None where there are none.

        Raises ManifestError where there are more than `max_bytes`; no more than one beyond them is read.
        """

    def put(self, key: str, content: IO[bytes]) -> None:
        """Store `content` under `key` as its newest version."""

    def location_of(self, key: str) -> str:
        """Return the address of `key`, for people."""


class VersionedFileSystemStorage(FileSystemStorage):
    """A directory that keeps every version of its files."""

    def list_versions(self, prefix: str = "") -> list[StoredVersion]:
        """Return every version of every file that is there, oldest first."""
        root = Path(self.location)
        if not root.is_dir():
            raise StorageUnavailable(
                f"The storage {root} is not there. Create the directory, or set MODELS_STORAGE to the right one."
            )
        with as_storage_error(str(root)):
            found = [
                version
                for path in sorted(root.rglob("*"))
                if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
                for version in self._versions_of(path, path.relative_to(root).as_posix())
                if version.key.startswith(prefix)
            ]
        return sorted(found, key=lambda version: version.modified_at)

    def copy_version(self, key: str, version_id: str, target: IO[bytes]) -> None:
        """Write the bytes of that version to `target`."""
        path = self._kept(key) / version_id
        is_kept = path.exists()
        if not is_kept:
            # A directory that may not be written to keeps no copies: only the present bytes can be had.
            path = Path(self.path(key))
        hashed = hashlib.sha256()
        with as_storage_error(key), path.open("rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                hashed.update(chunk)
                target.write(chunk)
        if not is_kept and "-" in version_id and not version_id.endswith(f"-{hashed.hexdigest()}"):
            raise ObjectMissing(f"{key} has other bytes by now, and no copy of that version is kept. Publish it again.")

    def read_current(self, key: str, *, max_bytes: int = MAX_BESIDE_BYTES) -> bytes | None:
        """Return the bytes of the file, or None."""
        path = Path(self.path(key))
        with as_storage_error(key):
            if not path.is_file():
                return None
            with path.open("rb") as source:
                return read_small(source, key, path.stat().st_size, max_bytes)

    def put(self, key: str, content: IO[bytes]) -> None:
        """Store `content` whole or not at all."""
        path = Path(self.path(key))
        with as_storage_error(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(path, content)

    def location_of(self, key: str) -> str:
        """Return the file's path."""
        return str(Path(self.location) / key)

    def _kept(self, key: str) -> Path:
        return Path(self.location) / HIDDEN / key

    def _versions_of(self, path: Path, key: str) -> list[StoredVersion]:
        if key.endswith(MANIFEST_SUFFIX):
            stat = path.stat()
            return [StoredVersion(key, "current", stat.st_size, stat.st_mtime)]
        kept = self._kept(key)
        known = sorted(kept.iterdir(), key=_kept_at) if kept.is_dir() else []
        known = [item for item in known if not item.name.startswith(".")]
        stat = _settled(path)
        if not known or (known[-1].stat().st_size, _kept_at(known[-1])) != (stat.st_size, stat.st_mtime_ns):
            known = self._keep(path, stat, known)
            if not known:
                # No copy can be kept: the digest alone is the version, so that a touched file is no new one.
                return [StoredVersion(key, f"digest-{_digest(path)}", stat.st_size, stat.st_mtime)]
        return [StoredVersion(key, item.name, item.stat().st_size, _kept_at(item) / 1e9) for item in known]

    def _keep(self, path: Path, stat: os.stat_result, known: list[Path]) -> list[Path]:
        """Return the kept versions with the file's present bytes among them; empty where none can be kept."""
        digest = _digest(path)
        if known and known[-1].name.endswith(digest):
            return known
        kept = self._kept(path.relative_to(self.location).as_posix())
        try:
            kept.mkdir(parents=True, exist_ok=True)
            target = kept / f"{stat.st_mtime_ns}-{digest}"
            with path.open("rb") as source:
                _write_whole(target, source)
        except PermissionError:
            return []
        except OSError as error:
            if error.errno == 30:  # a read-only file system, as a mounted model directory often is
                return []
            raise
        return [*known, target]


def open_storage(url: str) -> VersionedStorage:
    """Return the storage at `url`: `file:///path` or `s3://bucket/prefix`.

    One for each process: its S3 client is shared by the threads, and not carried across a fork.
    """
    return _open_storage(url, os.getpid())


@cache
def _open_storage(url: str, _pid: int) -> VersionedStorage:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return VersionedFileSystemStorage(location=unquote(parts.path))
    if parts.scheme == "s3" and parts.netloc:
        # boto3 takes a fifth of a second and 20 MB, which who keeps the models in a directory need not pay.
        from models_registry.storage_s3 import open_bucket

        return open_bucket(parts.netloc, prefix=parts.path.strip("/"))
    raise StorageError(f"MODELS_STORAGE is {url!r}; expected file:///an/absolute/path or s3://bucket/prefix.")


def read_small(source: Any, key: str, size_bytes: int, max_bytes: int) -> bytes:
    """Return all of `source`, or raise ManifestError where it is larger than `max_bytes`."""
    content: bytes = source.read(max_bytes + 1) if size_bytes <= max_bytes else b""
    found = max(size_bytes, len(content))
    if found > max_bytes:
        what = "The manifest" if key.endswith(MANIFEST_SUFFIX) else key
        raise ManifestError(f"{what} has {found} bytes; at most {max_bytes} are read. Make it smaller, publish again.")
    return content


def _settled(path: Path) -> os.stat_result:
    """Return the file's state once nobody has written to it for a second: a copy under way is no version."""
    stat = path.stat()
    for _ in range(30):
        age = time.time() - stat.st_mtime
        if not 0 <= age < SETTLE_SECONDS:
            break
        time.sleep(SETTLE_SECONDS - age)
        stat = path.stat()
    return stat


def _kept_at(path: Path) -> int:
    """Return when the bytes of a kept version were written, in nanoseconds since the epoch."""
    stamp = path.name.partition("-")[0]
    return int(stamp) if stamp.isdigit() else 0


def _digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _write_whole(path: Path, content: IO[bytes]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(descriptor, "wb") as target:
            shutil.copyfileobj(content, target, CHUNK_BYTES)
            target.flush()
            os.fsync(target.fileno())
        Path(temporary).chmod(0o644)
        # os.replace is atomic: whoever lists sees the whole file or none.
        os.replace(temporary, path)  # noqa: PTH105 - the pair reads better as one call
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def as_storage_error(where: str) -> Iterator[None]:
    """Turn what the file system raises into the registry's sentences."""
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissing(f"{where} is not there. Copy it there again.") from error
    except PermissionError as error:
        raise StorageDenied(f"{where}: {error.strerror}. Give the service's user the right to read it.") from error
    except (OSError, ValueError) as error:
        raise StorageUnavailable(f"{where}: {error}. It is tried again.") from error
