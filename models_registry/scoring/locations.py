"""Inputs and outputs of batch scoring: local paths, or `s3://bucket/key`."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from models_registry.errors import ScoringRefused

FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
# Size of one range request: Parquet reads column chunks of some megabytes.
RANGE_BYTES = 8 * 1024 * 1024
COPY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to score; `identity` changes with its content."""

    address: str
    format: str
    size_bytes: int
    identity: str


class Location(Protocol):
    """A file, or a folder of files."""

    @property
    def address(self) -> str:
        """Return its path or URL."""

    def files(self) -> list[InputFile]:
        """Return the file itself, or the files below it with a supported extension, sorted by name."""

    def open(self, file: InputFile) -> BinaryIO:
        """Return a file of `files()` opened for reading; ScoringRefused if its content has changed."""

    def child(self, name: str) -> Location:
        """Return the location of `name` in this folder."""

    def names(self) -> set[str]:
        """Return the names of the files in this folder."""

    def read(self) -> bytes | None:
        """Return a small file's content; None if it does not exist."""

    def write(self, source: Path, metadata: Mapping[str, str]) -> None:
        """Copy a local file here, atomically."""

    def remove(self) -> None:
        """Remove the file, or the folder if it is empty."""


def open_location(text: str) -> Location:
    """Return the location in `text`: a path, `file://…` or `s3://bucket/key`."""
    parts = urlsplit(text)
    if parts.scheme == "s3":
        if not parts.netloc or not parts.path.strip("/"):
            raise ScoringRefused(f"{text}: expected s3://bucket/key. Name a key in the bucket.")
        return S3Location(parts.netloc, parts.path.lstrip("/"))
    if parts.scheme == "file":
        return LocalLocation(Path(url2pathname(parts.path)))
    if "://" in text:
        raise ScoringRefused(f"{text}: expected a path, file:///path or s3://bucket/key.")
    return LocalLocation(Path(text))


def format_of(address: str) -> str | None:
    """Return the format by a file's extension; None if it is not one of FORMATS."""
    return FORMATS.get(os.path.splitext(address)[1].lower())  # noqa: PTH122 - a URL is not a Path


def no_files(address: str) -> ScoringRefused:
    """Return the error for an input without files."""
    return ScoringRefused(
        f"{address}: no file to score. Expected a file that ends in {', '.join(FORMATS)}, or a folder of such files."
    )


class LocalLocation:
    """A local path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def address(self) -> str:
        """Return the path."""
        return str(self._path)

    def files(self) -> list[InputFile]:
        """Return the file itself, or the files below it with a supported extension."""
        if self._path.is_dir():
            found = sorted(path for path in self._path.rglob("*") if path.is_file() and format_of(path.name))
            for path in found:
                self._require_inside(path)
        else:
            found = [self._path] if self._path.is_file() and format_of(self._path.name) else []
        if not found:
            raise no_files(self.address)
        return [_local_file(path) for path in found]

    def _require_inside(self, path: Path) -> None:
        """Raise ScoringRefused for a link that leads out of this folder: a batch may read only its own location."""
        if not path.resolve().is_relative_to(self._path.resolve()):
            raise ScoringRefused(
                f"{path} is a link that leads out of {self.address}. Copy the file into the folder, or name its "
                "own place."
            )

    def open(self, file: InputFile) -> BinaryIO:
        """Return the file opened for reading. A path that has become a link since counts as another file."""
        path = Path(file.address)
        if path != self._path:
            self._require_inside(path)
        handle = path.open("rb")
        if _described(path, os.fstat(handle.fileno())) != file:
            handle.close()
            raise _changed(file)
        return handle

    def child(self, name: str) -> LocalLocation:
        """Return the location of `name` in this folder."""
        return LocalLocation(self._path / name)

    def names(self) -> set[str]:
        """Return the names in this folder."""
        return {path.name for path in self._path.iterdir()} if self._path.is_dir() else set()

    def read(self) -> bytes | None:
        """Return the content; None if the file does not exist."""
        return self._path.read_bytes() if self._path.is_file() else None

    def write(self, source: Path, metadata: Mapping[str, str]) -> None:
        """Copy `source` to a temporary name, then rename it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        hidden = self._path.with_name(f".{self._path.name}.tmp")
        with source.open("rb") as content, hidden.open("wb") as target:
            shutil.copyfileobj(content, target, COPY_BYTES)
            target.flush()
            os.fsync(target.fileno())
        hidden.replace(self._path)

    def remove(self) -> None:
        """Remove the file, or the folder if it is empty."""
        if not self._path.is_dir():
            self._path.unlink(missing_ok=True)
        elif not any(self._path.iterdir()):
            self._path.rmdir()


def _local_file(path: Path) -> InputFile:
    return _described(path, path.stat())


def _described(path: Path, stat: os.stat_result) -> InputFile:
    return InputFile(str(path), format_of(path.name) or "", stat.st_size, f"{stat.st_size}-{stat.st_mtime_ns}")


def _changed(file: InputFile) -> ScoringRefused:
    return ScoringRefused(f"{file.address} has changed since the job began. Start the job again with --restart.")


class S3Location:
    """A key of a bucket, or the keys below it; boto3 determines credentials, region and endpoint."""

    def __init__(self, bucket: str, key: str) -> None:
        import boto3

        self._bucket = bucket
        self._key = key.rstrip("/")
        self._client = boto3.client("s3")

    @property
    def address(self) -> str:
        """Return the URL."""
        return f"s3://{self._bucket}/{self._key}"

    def files(self) -> list[InputFile]:
        """Return the object itself, or the objects below it with a supported extension."""
        with _answered(self.address):
            if format_of(self._key) and (found := self._listed(self._key, exact=True)):
                return found
            found = self._listed(f"{self._key}/")
        if not found:
            raise no_files(self.address)
        return found

    def _listed(self, prefix: str, *, exact: bool = False) -> list[InputFile]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return [
            InputFile(f"s3://{self._bucket}/{item['Key']}", kind, item["Size"], item["ETag"])
            for page in pages
            for item in page.get("Contents", ())
            if (kind := format_of(item["Key"])) and (item["Key"] == prefix or not exact)
        ]

    def open(self, file: InputFile) -> BinaryIO:
        """Return the listed version of the object, read in ranges."""
        key = file.address.removeprefix(f"s3://{self._bucket}/")
        return io.BufferedReader(_Ranges(self._client, self._bucket, key, file), RANGE_BYTES)

    def child(self, name: str) -> S3Location:
        """Return the location of `name` below this key."""
        return S3Location(self._bucket, f"{self._key}/{name}")

    def names(self) -> set[str]:
        """Return the names of the objects directly below this key."""
        prefix = f"{self._key}/"
        with _answered(self.address):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, Delimiter="/"
            )
            return {item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", ())}

    def read(self) -> bytes | None:
        """Return the content; None if the object does not exist."""
        with _answered(self.address):
            try:
                body: bytes = self._client.get_object(Bucket=self._bucket, Key=self._key)["Body"].read()
            except self._client.exceptions.NoSuchKey:
                return None
            return body

    def write(self, source: Path, metadata: Mapping[str, str]) -> None:
        """Upload `source`; the object appears when the upload is complete."""
        with _answered(self.address):
            self._client.upload_file(str(source), self._bucket, self._key, ExtraArgs={"Metadata": dict(metadata)})

    def remove(self) -> None:
        """Remove the object. S3 has no folders."""
        with _answered(self.address):
            self._client.delete_object(Bucket=self._bucket, Key=self._key)


class _Ranges(io.RawIOBase):
    """An S3 object as a seekable file; each read is one range request."""

    def __init__(self, client: Any, bucket: str, key: str, file: InputFile) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.size_bytes}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._file.size_bytes - self._position)
        if count <= 0:
            return 0
        with _answered(self._file.address):
            try:
                answer = self._client.get_object(
                    Bucket=self._bucket,
                    Key=self._key,
                    Range=f"bytes={self._position}-{self._position + count - 1}",
                    IfMatch=self._file.identity,
                )
            except self._client.exceptions.ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 412:
                    raise _changed(self._file) from error
                raise
            data = answer["Body"].read()
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


@contextmanager
def _answered(address: str) -> Iterator[None]:
    """Convert boto3's exceptions to an error with a sentence."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise ScoringRefused(
            f"{address}: the request to S3 failed: {error}. Check the bucket, the key and the permissions."
        ) from error
