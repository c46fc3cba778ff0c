"""A directory as storage. It copies each version, because a directory keeps no overwritten bytes."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO

import structlog
from django.core.files.storage import FileSystemStorage

from models_registry.artifacts.manifest import MANIFEST_SUFFIX
from models_registry.errors import ObjectMissing, StorageUnavailable
from models_registry.files import whole_file
from models_registry.storage.base import (
    CHUNK_BYTES,
    DIGEST_PREFIX,
    MAX_BESIDE_BYTES,
    StorageIdentity,
    StoredVersion,
    as_storage_error,
    oldest_first,
    read_small,
    write_chunks,
)

log = structlog.get_logger(__name__)

# A file that changed within this time may still be written, e.g. by a copy.
SETTLE_SECONDS = 1.0
MAX_SETTLE_ATTEMPTS = 30
HIDDEN = ".versions"


class VersionedFileSystemStorage(FileSystemStorage):
    """A directory that keeps every version of its files."""

    def iter_versions(self, prefix: str = "") -> Iterator[StoredVersion]:
        """Yield all versions of all existing files, sorted by key, and for each key oldest first."""
        root = Path(self.location)
        if not root.is_dir():
            raise StorageUnavailable(
                f"The storage {root} is not there. Create the directory, or set MODELS_STORAGE to the right one."
            )
        files = _files_in(root, "", prefix)
        while True:
            with as_storage_error(str(root)):
                key = next(files, None)
                versions = [] if key is None else self._versions_of(root / key, key)
            if key is None:
                return
            yield from versions

    def list_versions(self, prefix: str = "") -> list[StoredVersion]:
        """Return all versions of all existing files, oldest first."""
        return oldest_first(self.iter_versions(prefix))

    def copy_version(self, key: str, version_id: str, target: IO[bytes]) -> None:
        """Write the bytes of that version to `target`."""
        write_chunks(self._chunks_of(key, version_id), target)

    def _chunks_of(self, key: str, version_id: str) -> Generator[bytes]:
        path = self._kept(key) / version_id
        is_kept = path.exists()
        if not is_kept:
            # A read-only directory keeps no copies: only the current bytes are available.
            path = Path(self.path(key))
        hashed = hashlib.sha256()
        with as_storage_error(key), path.open("rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                hashed.update(chunk)
                yield chunk
        if not is_kept and "-" in version_id and not version_id.endswith(f"-{hashed.hexdigest()}"):
            raise ObjectMissing(f"{key} has changed, and no copy of that version exists. Publish it again.")

    def read_current(self, key: str, *, max_bytes: int = MAX_BESIDE_BYTES) -> bytes | None:
        """Return the bytes of the file, or None."""
        path = Path(self.path(key))
        with as_storage_error(key):
            if not path.is_file():
                return None
            with path.open("rb") as source:
                return read_small(source, key, path.stat().st_size, max_bytes)

    def put(self, key: str, content: IO[bytes]) -> None:
        """Store `content` atomically."""
        path = Path(self.path(key))
        with as_storage_error(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(path, content)
            if not key.endswith(MANIFEST_SUFFIX):
                # The file is complete: discovery need not wait until it stops changing.
                self._keep(path, path.stat(), self._known(key))

    def location_of(self, key: str) -> str:
        """Return the file's path."""
        return str(Path(self.location) / key)

    def identity(self) -> StorageIdentity:
        """Return the directory's address; links and relative paths are resolved."""
        return StorageIdentity(Path(self.location).resolve().as_uri())

    def _kept(self, key: str) -> Path:
        return Path(self.location) / HIDDEN / key

    def _known(self, key: str) -> list[Path]:
        """Return the kept versions of a file, oldest first."""
        kept = self._kept(key)
        known = sorted(kept.iterdir(), key=_kept_at) if kept.is_dir() else []
        return [item for item in known if not item.name.startswith(".")]

    def _versions_of(self, path: Path, key: str) -> list[StoredVersion]:
        if key.endswith(MANIFEST_SUFFIX):
            stat = path.stat()
            return [StoredVersion(key, "current", stat.st_size, stat.st_mtime)]
        known, stat = self._known(key), path.stat()
        if not _is_newest(known, stat):
            stat = _settled(path)
            known = known if _is_newest(known, stat) else self._keep(path, stat, known)
            if not known:
                # No copy is possible. The version id is only the digest, so that a touched file is not a new version.
                return [StoredVersion(key, f"{DIGEST_PREFIX}{_digest(path)}", stat.st_size, stat.st_mtime)]
        return [StoredVersion(key, item.name, item.stat().st_size, _kept_at(item) / 1e9) for item in known]

    def _keep(self, path: Path, stat: os.stat_result, known: list[Path]) -> list[Path]:
        """Return the kept versions, including the file's current bytes; empty if no copy is possible."""
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
            if error.errno == errno.EROFS:  # mounted model directories are often read-only
                return []
            raise
        return [*known, target]


def _files_in(folder: Path, base: str, prefix: str) -> Iterator[str]:
    """Yield the sorted keys below `folder`, whose own key is `base`, that start with `prefix`; no hidden files."""
    try:
        with os.scandir(folder) as entries:
            # A directory's keys start with its name and a slash, and some characters sort before a slash.
            found = sorted(
                f"{base}{entry.name}{'/' if entry.is_dir(follow_symlinks=False) else ''}"
                for entry in entries
                if not entry.name.startswith(".")
            )
    except PermissionError:
        # Like lost+found, which most disks have.
        log.debug("folder_not_read", folder=str(folder))
        return
    for key in found:
        if not key.endswith("/"):
            if key.startswith(prefix) and (folder / key.removeprefix(base)).is_file():
                yield key
        elif key.startswith(prefix) or prefix.startswith(key):
            yield from _files_in(folder / key.removeprefix(base), key, prefix)


def _settled(path: Path) -> os.stat_result:
    """Wait until the file has not changed for SETTLE_SECONDS, and return its state: a half copied file is no version.

    After MAX_SETTLE_ATTEMPTS waits, a file that still changes counts as it is.
    """
    stat = path.stat()
    for _ in range(MAX_SETTLE_ATTEMPTS):
        age = time.time() - stat.st_mtime
        if not 0 <= age < SETTLE_SECONDS:
            break
        time.sleep(SETTLE_SECONDS - age)
        stat = path.stat()
    return stat


def _is_newest(known: list[Path], stat: os.stat_result) -> bool:
    """Return whether the newest kept version has the file's current bytes."""
    return bool(known) and (known[-1].stat().st_size, _kept_at(known[-1])) == (stat.st_size, stat.st_mtime_ns)


def _kept_at(path: Path) -> int:
    """Return when the bytes of a kept version were written, in nanoseconds since the epoch."""
    stamp = path.name.partition("-")[0]
    return int(stamp) if stamp.isdigit() else 0


def _digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _write_whole(path: Path, content: IO[bytes]) -> None:
    with whole_file(path) as target:
        shutil.copyfileobj(content, target, CHUNK_BYTES)
