"""`POST /api/models/{name}/versions`: an artifact from a pipeline into the storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from mlapi.api import serializers as forms
from mlapi.api.base import PUBLISH, RegistryView, asked, by, waiting
from mlapi.api.describing import version_content
from mlapi.api.views import PROBLEMS
from mlapi.body_limits import MAX_TABLE_BYTES
from mlapi.protocols.base import HttpError
from models_registry import services
from models_registry.artifacts import formats
from models_registry.artifacts.manifest import MANIFEST_SUFFIX, Sample
from models_registry.artifacts.table import table_format


class ArtifactUpload(TemporaryFileUploadHandler):
    """Writes one upload to a file as it comes: a model of gigabytes must not pass through memory."""

    field = "artifact"
    require_format: Callable[[str], str] = staticmethod(formats.format_of)
    setting = " (MODELS_MAX_ARTIFACT_MB)"
    _received = 0
    _has_file = False

    def max_bytes(self) -> int:
        """Return how large the file may be."""
        return int(settings.MODELS_MAX_ARTIFACT_MB) * 1_000_000

    def new_file(self, field_name: str, file_name: str, *args: Any, **kwargs: Any) -> None:
        """Refuse what is no artifact before its first byte is kept."""
        if field_name != self.field or self._has_file:
            raise HttpError(
                400, "invalid_request", f"Unexpected file {field_name[:100]!r}; expected one, called {self.field!r}."
            )
        self.require_format(file_name)
        self._has_file = True
        with disk_errors():
            super().new_file(field_name, file_name, *args, **kwargs)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        """Keep a part of the file, within the limit, whatever length the request claims."""
        self._received += len(raw_data)
        limit = self.max_bytes()
        if self._received > limit:
            raise HttpError(
                413,
                "body_too_large",
                f"The {self.field} has more than {limit} bytes; at most that many are taken{self.setting}.",
            )
        with disk_errors():
            super().receive_data_chunk(raw_data, start)
        return None


class TableUpload(ArtifactUpload):
    """Writes a table of rows to a file as it comes."""

    field = "input"
    require_format = staticmethod(table_format)
    setting = ""

    def max_bytes(self) -> int:
        """Return how large the file may be."""
        return MAX_TABLE_BYTES


@contextmanager
def disk_errors() -> Iterator[None]:
    """Say that this machine's disk cannot keep an upload: that is no fault of the caller's."""
    try:
        yield
    except OSError as error:
        raise HttpError(
            503,
            "disk_unavailable",
            f"The upload cannot be kept on this machine: {error.strerror or error}. Try again later, or tell the "
            "operator.",
        ).with_header("Retry-After", "30") from error


class VersionsView(RegistryView):
    """`/api/models/{name}/versions`."""

    parser_classes = (MultiPartParser,)
    needs = {"POST": PUBLISH}

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Have uploads written to files."""
        request.upload_handlers = [ArtifactUpload(request)]
        return super().initialize_request(request, *args, **kwargs)

    @extend_schema(
        operation_id="publish",
        tags=["registry"],
        request={"multipart/form-data": forms.PublishRequest},
        responses={201: forms.Version, **PROBLEMS, 413: forms.Problem},
    )
    def post(self, request: Request, name: str) -> Response:
        """Store an artifact as a new version; a replica checks it. With `wait_seconds` answer with the verdict."""
        wanted = asked(request, forms.PublishRequest)
        with as_file(wanted["artifact"], wanted["manifest"]) as artifact:
            version = services.publish(
                name,
                artifact,
                by=by(request),
                description=wanted["description"] or None,
                sample=Sample.from_text(wanted["sample"]) if wanted["sample"].strip() else None,
            )
        if wanted["wait_seconds"]:
            with waiting():
                services.wait_for_verdict(version, timeout_seconds=wanted["wait_seconds"])
        return Response(version_content(version), status=201)


@contextmanager
def as_file(upload: TemporaryUploadedFile, manifest: str) -> Iterator[Path]:
    """Return the uploaded file as long as the block lasts, its manifest beside it."""
    path = Path(upload.temporary_file_path())
    beside = path.with_name(path.name + MANIFEST_SUFFIX)
    try:
        if manifest:
            beside.write_text(manifest)
        yield path
    finally:
        beside.unlink(missing_ok=True)
        upload.close()
