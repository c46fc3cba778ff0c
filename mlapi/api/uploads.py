"""`/api/models/{name}/versions`: lists versions, and stores uploaded artifacts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import BytesIO
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

from mlapi.api import serializers
from mlapi.api.base import RegistryView, author_of, validated, waiting
from mlapi.api.describing import version_content
from mlapi.api.paging import LINK_HEADER, VersionsQuery, page_of, paged
from mlapi.api.views import PROBLEMS
from mlapi.protocols.base import HttpError
from models_registry import services
from models_registry.artifacts import formats
from models_registry.artifacts.manifest import MANIFEST_SUFFIX, Manifest, Sample
from models_registry.artifacts.table_formats import MAX_TABLE_BYTES, table_format
from models_registry.errors import ManifestError
from models_registry.permissions import PUBLISH, VIEW


@dataclass(frozen=True, slots=True)
class FileKind:
    """A file field of a form: its name, the check of the file's name, its size limit and that limit's setting."""

    field: str
    require_format: Callable[[str], object]
    max_bytes: int
    setting: str = ""


class FileUpload(TemporaryFileUploadHandler):
    """Writes uploads to files in pieces: an artifact of gigabytes must not be held in memory."""

    def __init__(self, request: HttpRequest, *kinds: FileKind) -> None:
        super().__init__(request)
        self._awaited = {kind.field: kind for kind in kinds}
        self._received = 0

    def new_file(self, field_name: str, file_name: str, *args: Any, **kwargs: Any) -> None:
        """Refuse an unexpected file field or format before its first byte is stored."""
        kind = self._awaited.pop(field_name, None)
        if kind is None:
            expected = " and ".join(map(repr, self._awaited)) or "no more"
            raise HttpError(400, "invalid_request", f"Unexpected file {field_name[:100]!r}; expected {expected}.")
        kind.require_format(file_name)
        self._kind, self._received = kind, 0
        with disk_errors():
            super().new_file(field_name, file_name, *args, **kwargs)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        """Store a piece of the file, up to the limit; a declared length is not trusted."""
        self._received += len(raw_data)
        if self._received > self._kind.max_bytes:
            raise HttpError(
                413,
                "body_too_large",
                f"The {self._kind.field} has more than {self._kind.max_bytes} bytes; at most that many are accepted"
                f"{self._kind.setting}.",
            )
        with disk_errors():
            super().receive_data_chunk(raw_data, start)
        return None


TABLE = FileKind("input", table_format, MAX_TABLE_BYTES)
REFERENCE = FileKind("reference", table_format, MAX_TABLE_BYTES)


def _artifact() -> FileKind:
    limit = int(settings.MODELS_MAX_ARTIFACT_MB) * 1_000_000
    return FileKind("artifact", formats.format_of, limit, " (MODELS_MAX_ARTIFACT_MB)")


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn an OSError of this machine's disk into HttpError 503: it is not the client's fault."""
    try:
        yield
    except OSError as error:
        raise HttpError(
            503,
            "disk_unavailable",
            f"The upload cannot be stored on this machine: {error.strerror or error}. Try again later, or tell the "
            "operator.",
        ).with_header("Retry-After", "30") from error


class VersionsView(RegistryView):
    """`/api/models/{name}/versions`."""

    makes_models = frozenset({"POST"})
    parser_classes = (MultiPartParser,)
    needs = {"GET": VIEW, "POST": PUBLISH}

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Stream uploads to files."""
        request.upload_handlers = [FileUpload(request, _artifact(), REFERENCE)]
        return super().initialize_request(request, *args, **kwargs)

    @extend_schema(
        operation_id="list_versions",
        tags=["registry"],
        parameters=[VersionsQuery, LINK_HEADER],
        responses={200: serializers.VersionSummary(many=True), **PROBLEMS},
    )
    def get(self, request: Request, name: str) -> Response:
        """Return a model's versions, newest first; with `limit` one page."""
        wanted = validated(request, VersionsQuery, of_query=True)
        versions = services.get_model(name).versions.kept().newest_first().without_details()
        if wanted["after"] is not None:
            versions = versions.filter(number__lt=wanted["after"])
        shown, has_more = page_of(versions, wanted["limit"])
        content = [services.describe_version(version) for version in shown]
        return paged(request, content, next_after=shown[-1].number if has_more else None)

    @extend_schema(
        operation_id="publish",
        tags=["registry"],
        request={"multipart/form-data": serializers.PublishRequest},
        responses={201: serializers.Version, **PROBLEMS, 413: serializers.Problem},
    )
    def post(self, request: Request, name: str) -> Response:
        """Store an artifact as a new version; a replica validates it. With `wait_seconds`, wait for the result."""
        wanted = validated(request, serializers.PublishRequest)
        reference = wanted.get("reference")
        if reference is None:
            refuse_unsent_reference(wanted["manifest"])
        with as_file(wanted["artifact"], wanted["manifest"]) as artifact, closing(reference or BytesIO()):
            version = services.publish(
                name,
                artifact,
                by=author_of(request),
                description=wanted["description"] or None,
                sample=Sample.from_text(wanted["sample"]) if wanted["sample"].strip() else None,
                reference=Path(reference.temporary_file_path()) if reference is not None else None,
            )
        if wanted["wait_seconds"]:
            with waiting():
                services.wait_for_verdict(version, timeout_seconds=wanted["wait_seconds"])
        return Response(version_content(version), status=201)


def refuse_unsent_reference(manifest: str) -> None:
    """Raise ManifestError if a manifest names a reference file: its directory holds other clients' uploads."""
    if manifest and (name := Manifest.parse(manifest.encode("utf-8", "surrogatepass")).reference) is not None:
        raise ManifestError(
            f"The manifest's 'reference' names {name!r}, which was not sent. Send it as the file 'reference'."
        )


@contextmanager
def as_file(upload: TemporaryUploadedFile, manifest: str) -> Iterator[Path]:
    """Yield the path of the uploaded file; its manifest is in the same directory. Delete both afterwards."""
    path = Path(upload.temporary_file_path())
    beside = path.with_name(path.name + MANIFEST_SUFFIX)
    try:
        if manifest:
            beside.write_text(manifest)
        yield path
    finally:
        beside.unlink(missing_ok=True)
        upload.close()
