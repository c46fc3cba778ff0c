"""How large a body may be, and who may send files: known from the address, before anything is read.

Django writes the file parts of a form to the temporary directory wherever a view, or the check for forged requests,
looks at the form. Only the uploads of artifacts and of tables take files; they read them after authentication.
"""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadhandler import FileUploadHandler

from mlapi.protocols.base import HttpError
from models_registry.artifacts.table_formats import MAX_TABLE_BYTES

# Beyond any form of the admin, and any JSON that the registry's API takes.
MAX_SMALL_BYTES = 1_000_000
UPLOAD_PATH = re.compile(r"/api/models/[^/]+/versions")
TABLE_PATH = re.compile(r"/api/models/[^/]+/replays|/admin/models_registry/modelversion/[0-9]+/replay/")


def body_limit(method: str, path: str) -> int:
    """Return how many bytes a request's body may have, on any path that the request pipeline does not answer."""
    # An artifact and its reference share it.
    if method == "POST" and UPLOAD_PATH.fullmatch(path):
        return int(settings.MODELS_MAX_ARTIFACT_MB) * 1_000_000 + MAX_SMALL_BYTES
    return MAX_SMALL_BYTES + (MAX_TABLE_BYTES if takes_file(method, path) else 0)


def takes_file(method: str, path: str) -> bool:
    """Return whether a request may bring a file, which is read as a stream after authentication."""
    return method == "POST" and bool(UPLOAD_PATH.fullmatch(path) or TABLE_PATH.fullmatch(path))


def require_length(method: str, path: str, length: str) -> None:
    """Raise HttpError 413 where a Content-Length is over the limit, and 400 if it is not a number."""
    if not length:
        return
    if not (length.isascii() and length.isdigit()):
        raise HttpError(400, "invalid_length", "Content-Length is not a whole number of bytes.")
    limit, found = body_limit(method, path), int(length[:18])
    if found > limit:
        raise HttpError(
            413,
            "body_too_large",
            f"The body has {found} bytes; this address takes at most {limit}.",
            expected=limit,
            found=found,
        )


class FilesNotTaken(SuspiciousOperation):
    """A form brings a file if none is taken."""


class NoFiles(FileUploadHandler):
    """Refuses every file part before its first byte is kept."""

    def new_file(self, field_name: str, file_name: str, *args: Any, **kwargs: Any) -> None:
        """Raise FilesNotTaken."""
        raise FilesNotTaken("A form with a file came to an address that takes none.")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        """Keep nothing."""
        return None

    def file_complete(self, file_size: int) -> None:
        """Give no file."""
