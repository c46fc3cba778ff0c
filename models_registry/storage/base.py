"""What the registry asks of a storage, and what the two of them share."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol

from models_registry.errors import ManifestError, ObjectMissing, StorageDenied, StorageUnavailable

CHUNK_BYTES = 1 << 20
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

    def iter_versions(self, prefix: str = "") -> Iterator[StoredVersion]:
        """Give every version of every object that is there, in the order of their keys, those of a key oldest first.

        One listing, which is read as far as it is needed, and no look at each object.
        """

    def list_versions(self, prefix: str = "") -> list[StoredVersion]:
        """Return every version of every object that is there, oldest first."""

    def copy_version(self, key: str, version_id: str, target: IO[bytes]) -> None:
        """Write the bytes of that version to `target`; what its `write` raises is raised as it is."""

    def read_current(self, key: str, *, max_bytes: int = MAX_BESIDE_BYTES) -> bytes | None:
        """Return the bytes that are under `key` now (a small file), or None if there are none.

        Raises ManifestError if there are more than `max_bytes`; no more than one beyond them is read.
        """

    def put(self, key: str, content: IO[bytes]) -> None:
        """Store `content` under `key` as its newest version."""

    def location_of(self, key: str) -> str:
        """Return the address of `key`, for people."""


def oldest_first(versions: Iterable[StoredVersion]) -> list[StoredVersion]:
    """Return what `iter_versions` gives in the order of writing."""
    return sorted(versions, key=lambda version: (version.modified_at, version.key))


def read_small(source: Any, key: str, size_bytes: int, max_bytes: int) -> bytes:
    """Return all of `source`, or raise ManifestError if it is larger than `max_bytes`."""
    content: bytes = source.read(max_bytes + 1) if size_bytes <= max_bytes else b""
    found = max(size_bytes, len(content))
    if found > max_bytes:
        what = "The manifest" if key.endswith(MANIFEST_SUFFIX) else key
        raise ManifestError(f"{what} has {found} bytes; at most {max_bytes} are read. Make it smaller, publish again.")
    return content


def write_chunks(chunks: Generator[bytes], target: IO[bytes]) -> None:
    """Write what a storage yields; `chunks` says of its own failures that they are the storage's.

    The target's are somebody else's: a full disk under the cache is not a fault of the storage.
    """
    with closing(chunks):
        for chunk in chunks:
            target.write(chunk)


def as_clause(error: Exception) -> str:
    """Return what an error says, to be followed by the writer's own full stop."""
    return str(error).rstrip(". ")


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
        raise StorageUnavailable(f"{where}: {as_clause(error)}. It is tried again.") from error
