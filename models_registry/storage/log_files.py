"""Storage of the prediction log: a directory or a bucket."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from models_registry.errors import StorageError, StorageUnavailable

CONNECT_SECONDS = 5
READ_SECONDS = 20


class LogStorage(Protocol):
    """Stores whole files under keys with slashes."""

    def put(self, key: str, source: Path) -> None:
        """Store the file at `source` atomically; StorageError on failure."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with `prefix`, sorted."""

    def read(self, key: str) -> bytes:
        """Return the content of a file."""


def ground_truth_folder(model: str) -> str:
    """Return the prefix of a model's labels: separate from predictions, since no model name starts with `_`."""
    return f"_ground_truth/{model}"


def open_log_storage(url: str) -> LogStorage:
    """Return the storage at `url`: `file:///path` or `s3://bucket/prefix`."""
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        return BucketLog(parts.netloc, parts.path.strip("/"))
    if parts.scheme == "file":
        return DirectoryLog(Path(url2pathname(parts.path)))
    raise StorageError(f"MODELS_LOG_STORAGE is {url!r}; expected file:///path or s3://bucket/prefix.")


class DirectoryLog:
    """A directory of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, source: Path) -> None:
        """Copy `source` to a temporary name, then rename it."""
        target = self._root / key
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            hidden = target.with_name(f".{target.name}.tmp")
            shutil.copyfile(source, hidden)
            # Atomic: a reader sees the whole file or none.
            hidden.replace(target)
        except OSError as error:
            raise StorageUnavailable(f"{target}: {error.strerror or error}") from error

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the files below `prefix`, without unfinished ones."""
        found = sorted((self._root / prefix).rglob("*.parquet")) if (self._root / prefix).is_dir() else []
        for path in found:
            if not path.name.startswith("."):
                yield path.relative_to(self._root).as_posix()

    def read(self, key: str) -> bytes:
        """Return the content of a file."""
        try:
            return (self._root / key).read_bytes()
        except OSError as error:
            raise StorageUnavailable(f"{self._root / key}: {error.strerror or error}") from error


class BucketLog:
    """A prefix of a bucket."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": 2})
        return boto3.client("s3", config=config)

    def put(self, key: str, source: Path) -> None:
        """Upload `source` with one request."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            with source.open("rb") as body:
                self._client().put_object(Bucket=self._bucket, Key=self._prefix + key, Body=body)
        except (BotoCoreError, ClientError, OSError) as error:
            raise StorageUnavailable(f"s3://{self._bucket}/{self._prefix}{key}: {error}") from error

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below `prefix`."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for item in page.get("Contents", ()):
                    yield str(item["Key"]).removeprefix(self._prefix)
        except (BotoCoreError, ClientError) as error:
            raise StorageUnavailable(f"s3://{self._bucket}/{self._prefix}{prefix}: {error}") from error

    def read(self, key: str) -> bytes:
        """Return the content of an object."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client().get_object(Bucket=self._bucket, Key=self._prefix + key)
            with answer["Body"] as body:
                return bytes(body.read())
        except (BotoCoreError, ClientError) as error:
            raise StorageUnavailable(f"s3://{self._bucket}/{self._prefix}{key}: {error}") from error
