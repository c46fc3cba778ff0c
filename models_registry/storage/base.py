"""The interface of storages, and their shared code."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol

from models_registry.artifacts.manifest import MANIFEST_SUFFIX
from models_registry.errors import ManifestError, ObjectMissing, StorageDenied, StorageUnavailable

CHUNK_BYTES = 1 << 20
# boto3 reads these variables itself, the first one before the other.
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
# The start of a version id in a directory that keeps no copies; the digest follows.
DIGEST_PREFIX = "digest-"
# Limit of the files beside an artifact, such as a manifest or `MLmodel`, which are read into memory.
MAX_BESIDE_BYTES = 32_000_000


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One stored version of one object; `version_id` pins its bytes, `modified_at` is in seconds since 1970."""

    key: str
    version_id: str
    size_bytes: int
    modified_at: float


@dataclass(frozen=True, slots=True)
class StorageIdentity:
    """Identifies a storage: its normalized address, and the endpoint of a bucket that is not on AWS.

    Neither contains credentials.
    """

    address: str
    endpoint: str = ""

    @property
    def is_directory(self) -> bool:
        """Return whether it is a directory: one address may then be another directory on another machine."""
        return self.address.startswith("file:")


class VersionedStorage(Protocol):
    """The interface of a storage; it raises StorageUnavailable, StorageDenied and ObjectMissing."""

    def iter_versions(self, prefix: str = "") -> Iterator[StoredVersion]:
        """Yield all versions of all existing objects, sorted by key, and for each key oldest first.

        One listing, read on demand, and no request per object.
        """

    def list_versions(self, prefix: str = "") -> list[StoredVersion]:
        """Return all versions of all existing objects, oldest first."""

    def copy_version(self, key: str, version_id: str, target: IO[bytes]) -> None:
        """Write the bytes of that version to `target`; exceptions of `write` propagate."""

    def read_current(self, key: str, *, max_bytes: int = MAX_BESIDE_BYTES) -> bytes | None:
        """Return the current bytes of `key` (a small file), or None if it does not exist.

        Raises ManifestError above `max_bytes`, and then reads at most one byte more.
        """

    def put(self, key: str, content: IO[bytes]) -> None:
        """Store `content` as the newest version of `key`."""

    def location_of(self, key: str) -> str:
        """Return the address of `key` for people."""

    def identity(self) -> StorageIdentity:
        """Return the identity of this storage, without a request."""


def same_bytes(one: str, other: str) -> bool:
    """Return whether two version ids of a key identify the same bytes.

    A process that may only read a directory gets ids of the digest alone. The ids of other processes end in it.
    """
    if one == other:
        return True
    digests = [item.rpartition("-")[2] for item in (one, other)]
    return digests[0] == digests[1] and any(item.startswith(DIGEST_PREFIX) for item in (one, other))


def oldest_first(versions: Iterable[StoredVersion]) -> list[StoredVersion]:
    """Return the versions from `iter_versions`, sorted by time."""
    return sorted(versions, key=lambda version: (version.modified_at, version.key))


def read_small(source: Any, key: str, size_bytes: int, max_bytes: int) -> bytes:
    """Return all bytes of `source`; ManifestError if there are more than `max_bytes`."""
    content: bytes = source.read(max_bytes + 1) if size_bytes <= max_bytes else b""
    found = max(size_bytes, len(content))
    if found > max_bytes:
        what = "The manifest" if key.endswith(MANIFEST_SUFFIX) else key
        raise ManifestError(f"{what} has {found} bytes; at most {max_bytes} are read. Make it smaller, publish again.")
    return content


def write_chunks(chunks: Generator[bytes], target: IO[bytes]) -> None:
    """Write the chunks of a storage to `target`; `chunks` raises the storage's own errors.

    Errors of `target` propagate unchanged: a full disk under the cache is no fault of the storage.
    """
    with closing(chunks):
        for chunk in chunks:
            target.write(chunk)


def as_clause(error: Exception) -> str:
    """Return an error's text without the full stop, as the end of a clause."""
    return str(error).rstrip(". ")


@contextmanager
def as_storage_error(where: str) -> Iterator[None]:
    """Convert exceptions of the file system to the registry's errors."""
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissing(f"{where} is not there. Copy it there again.") from error
    except PermissionError as error:
        raise StorageDenied(f"{where}: {error.strerror}. Give the service's user the right to read it.") from error
    except (OSError, ValueError) as error:
        raise StorageUnavailable(f"{where}: {as_clause(error)}. It is retried.") from error
