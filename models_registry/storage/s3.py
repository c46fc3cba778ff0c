"""A versioned bucket as the registry's storage."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from typing import IO, Any
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from django.core.files.base import File
from storages.backends.s3 import S3Storage

from models_registry.errors import ObjectMissing, StorageDenied, StorageUnavailable
from models_registry.storage.base import (
    CHUNK_BYTES,
    ENDPOINT_VARIABLES,
    MAX_BESIDE_BYTES,
    StorageIdentity,
    StoredVersion,
    as_clause,
    as_storage_error,
    oldest_first,
    read_small,
    write_chunks,
)

DENIED = {"403", "AccessDenied", "AllAccessDisabled", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
GONE = {"404", "NoSuchKey", "NoSuchVersion", "MethodNotAllowed", "PreconditionFailed", "412"}


class VersionedS3Storage(S3Storage):  # type: ignore[misc]  # django-storages has no types
    """A bucket with versioning; the models are below a prefix."""

    def iter_versions(self, prefix: str = "") -> Iterator[StoredVersion]:
        """Yield all versions of all existing objects, sorted by key, and for each key oldest first."""
        base = f"{self.location}/" if self.location else ""
        for _, versions in groupby(self._newest_first(prefix, base), key=attrgetter("key")):
            # S3's dates are exact to the second: only the reversed order of the listing tells which version came first.
            turned = list(versions)
            turned.reverse()
            yield from sorted(turned, key=attrgetter("modified_at"))

    def list_versions(self, prefix: str = "") -> list[StoredVersion]:
        """Return all versions of all existing objects, oldest first; a deleted key has none."""
        return oldest_first(self.iter_versions(prefix))

    def _newest_first(self, prefix: str, base: str) -> Iterator[StoredVersion]:
        """Yield the versions of keys that are not deleted in S3's order: sorted by key, newest first for each key."""
        pages = self._client().get_paginator("list_object_versions")
        listed = iter(pages.paginate(Bucket=self.bucket_name, Prefix=base + prefix))
        deleted = ""
        while True:
            with _answered(self._address(prefix)):
                page = next(listed, None)
            if page is None:
                return
            markers = {item["Key"] for item in page.get("DeleteMarkers", []) if item["IsLatest"]} | {deleted}
            for item in page.get("Versions", []):
                if item["Key"] not in markers:
                    yield self._stored(item, base)
            # The delete marker of a key is its newest version; its other versions follow, possibly on the next page.
            deleted = max(markers)

    def copy_version(self, key: str, version_id: str, target: IO[bytes]) -> None:
        """Write the bytes of that version to `target`, with one GET by version id."""
        write_chunks(self._chunks_of(key, version_id), target)

    def _chunks_of(self, key: str, version_id: str) -> Generator[bytes]:
        # Without versioning, the version id is "null", and only the ETag identifies the bytes. The version "null" still
        # exists after versioning is switched on and the key is overwritten.
        is_plain = version_id.startswith("etag:")
        pin = {"VersionId": "null", "IfMatch": version_id[5:]} if is_plain else {"VersionId": version_id}
        with _answered(self._address(key)):
            body = self._client().get_object(Bucket=self.bucket_name, Key=self._full(key), **pin)["Body"]
            with body:
                yield from body.iter_chunks(CHUNK_BYTES)

    def read_current(self, key: str, *, max_bytes: int = MAX_BESIDE_BYTES) -> bytes | None:
        """Return the object's current bytes, or None."""
        try:
            with _answered(self._address(key)):
                answer = self._client().get_object(Bucket=self.bucket_name, Key=self._full(key))
                with answer["Body"] as body:
                    return read_small(body, key, answer.get("ContentLength", 0), max_bytes)
        except ObjectMissing:
            return None
        except StorageDenied:
            # S3 also gives this response for a missing key if the credentials may list only a part of the bucket.
            if self._is_there(key):
                raise
            return None

    def _is_there(self, key: str) -> bool:
        full = self._full(key)
        with _answered(self._address(key)):
            page = self._client().list_object_versions(Bucket=self.bucket_name, Prefix=full, MaxKeys=1)
        return any(item["Key"] == full for item in page.get("Versions", []))

    def put(self, key: str, content: IO[bytes]) -> None:
        """Upload `content`; a large object is sent in parts."""
        with _answered(self._address(key)):
            self.save(key, File(content))

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return `name` unchanged: an overwrite creates a new object version."""
        return name

    def location_of(self, key: str) -> str:
        """Return the object's s3:// address."""
        return self._address(key)

    def identity(self) -> StorageIdentity:
        """Return the bucket's address with the prefix, and its endpoint; no client is created for that."""
        given = (self.endpoint_url, *(os.environ.get(name) for name in ENDPOINT_VARIABLES))
        endpoint = urlsplit(next(filter(None, given), ""))
        host = endpoint.netloc.rpartition("@")[2]
        is_amazon = not host or (endpoint.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
        return StorageIdentity(
            f"s3://{self.bucket_name}/{self.location}".rstrip("/"), "" if is_amazon else f"{endpoint.scheme}://{host}"
        )

    def _client(self) -> Any:
        return self.connection.meta.client

    def _full(self, key: str) -> str:
        return f"{self.location}/{key}" if self.location else key

    def _address(self, key: str) -> str:
        return f"s3://{self.bucket_name}/{self._full(key)}"

    def _stored(self, item: dict[str, Any], base: str) -> StoredVersion:
        version_id = item["VersionId"] if item["VersionId"] != "null" else f"etag:{item['ETag']}"
        return StoredVersion(item["Key"].removeprefix(base), version_id, item["Size"], item["LastModified"].timestamp())


def open_bucket(name: str, *, prefix: str) -> VersionedS3Storage:
    """Return the storage below `prefix` of a bucket."""
    return VersionedS3Storage(
        bucket_name=name,
        location=prefix,
        file_overwrite=True,
        querystring_auth=False,
        # boto3's defaults wait five times 60 s; callers here have one deadline for all attempts.
        client_config=Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3}),
    )


@contextmanager
def _answered(where: str) -> Iterator[None]:
    """Convert exceptions of boto3 and the file system to the registry's errors."""
    with as_storage_error(where):
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
            if code == "NoSuchBucket":
                raise StorageUnavailable(
                    f"{where}: the bucket is not there. Create it, or correct MODELS_STORAGE."
                ) from error
            if code in DENIED or status == "403":
                raise StorageDenied(
                    f"{where}: access is refused ({code or status}). Grant s3:ListBucketVersions on the bucket and "
                    "s3:GetObject, s3:GetObjectVersion on the prefix to these credentials."
                ) from error
            if code in GONE or status == "404":
                raise ObjectMissing(f"{where} is not there ({code or status}). Upload it again.") from error
            raise StorageUnavailable(f"{where}: the storage answered {code or status}. It is retried.") from error
        except NoCredentialsError as error:
            raise StorageDenied(
                f"{where}: no AWS credentials are found. Set AWS_PROFILE, or run with a role."
            ) from error
        except BotoCoreError as error:
            raise StorageUnavailable(
                f"{where}: the storage is unreachable: {as_clause(error)}. It is retried."
            ) from error
