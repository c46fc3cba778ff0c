"""Body size limits and file permissions by path, applied before a body is read.

When a view or the CSRF check reads a form, Django writes its file parts to the temporary directory. Only uploads of
artifacts and of tables may have files; those views read them after authentication.
"""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadhandler import FileUploadHandler

from mlapi.protocols.base import HttpError
from models_registry.artifacts.table_formats import MAX_TABLE_BYTES

# Above the size of any admin form, and of any JSON body of the registry's API.
MAX_SMALL_BYTES = 1_000_000
UPLOAD_PATH = re.compile(r"/api/models/[^/]+/versions")
TABLE_PATH = re.compile(r"/api/models/[^/]+/replays|/admin/models_registry/modelversion/[0-9]+/replay/")


def body_limit(method: str, path: str) -> int:
    """Return the size limit in bytes of a request that the request pipeline does not answer."""
    # An artifact and its reference share this limit.
    if method == "POST" and UPLOAD_PATH.fullmatch(path):
        return int(settings.MODELS_MAX_ARTIFACT_MB) * 1_000_000 + MAX_SMALL_BYTES
    return MAX_SMALL_BYTES + (MAX_TABLE_BYTES if takes_file(method, path) else 0)


def takes_file(method: str, path: str) -> bool:
    """Return whether a request may have a file, which is streamed after authentication."""
    return method == "POST" and bool(UPLOAD_PATH.fullmatch(path) or TABLE_PATH.fullmatch(path))


def require_length(method: str, path: str, length: str) -> None:
    """Raise HttpError 413 for a Content-Length above the limit, and 400 for one that is not a number."""
    if not length:
        return
    if not (length.isascii() and length.isdigit()):
        raise HttpError(400, "invalid_length", "Content-Length is not a whole number of bytes.")
    limit, found = body_limit(method, path), int(length[:18])
    if found > limit:
        raise HttpError(
            413,
            "body_too_large",
            f"The body has {found} bytes; this address accepts at most {limit}.",
            expected=limit,
            found=found,
        )


class FilesNotTaken(SuspiciousOperation):
    """A form has a file, but the path accepts none."""


class NoFiles(FileUploadHandler):
    """Refuses every file part before its first byte is stored."""

    def new_file(self, field_name: str, file_name: str, *args: Any, **kwargs: Any) -> None:
        """Raise FilesNotTaken."""
        raise FilesNotTaken("This address does not accept files.")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        """Store nothing."""
        return None

    def file_complete(self, file_size: int) -> None:
        """Return no file."""
