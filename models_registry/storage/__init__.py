"""Storages of artifacts; each keeps every version of an object.

S3 needs a versioned bucket. A directory keeps copies under `.versions/`.
"""

from __future__ import annotations

import os
from functools import cache
from urllib.parse import unquote, urlsplit

from models_registry.errors import StorageError
from models_registry.storage.base import (
    ENDPOINT_VARIABLES,
    StorageIdentity,
    StoredVersion,
    VersionedStorage,
    oldest_first,
    same_bytes,
)
from models_registry.storage.file_system import VersionedFileSystemStorage
from models_registry.storage.log_files import LogStorage, open_log_storage

__all__ = [
    "ENDPOINT_VARIABLES",
    "LogStorage",
    "StorageIdentity",
    "StoredVersion",
    "VersionedFileSystemStorage",
    "VersionedStorage",
    "oldest_first",
    "open_log_storage",
    "open_storage",
    "same_bytes",
]


def open_storage(url: str) -> VersionedStorage:
    """Return the storage at `url`: `file:///path` or `s3://bucket/prefix`.

    One per process: threads share its S3 client, which must not survive a fork.
    """
    return _open_storage(url, os.getpid())


@cache
def _open_storage(url: str, _pid: int) -> VersionedStorage:
    parts = urlsplit(url)
    if "@" in parts.netloc:
        # Not repeated here: this may be a secret key.
        raise StorageError(
            "MODELS_STORAGE has a user or credentials before the '@'; expected file:///an/absolute/path or "
            "s3://bucket/prefix. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead."
        )
    if parts.scheme == "file":
        return VersionedFileSystemStorage(location=unquote(parts.path))
    if parts.scheme == "s3" and parts.netloc:
        # Imported here: boto3 takes a fifth of a second and 20 MB, which a directory storage does not need.
        from models_registry.storage.s3 import open_bucket

        return open_bucket(parts.netloc, prefix=parts.path.strip("/"))
    raise StorageError(f"MODELS_STORAGE is {url!r}; expected file:///an/absolute/path or s3://bucket/prefix.")
