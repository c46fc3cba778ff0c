"""Endpoints of the registry's API for monitoring a model in service."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import TemporaryUploadedFile
from django.http import HttpRequest
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from mlapi.api import monitoring_serializers, serializers
from mlapi.api.base import RegistryView, StrictJSON, author_of, may_here, validated, waiting
from mlapi.api.uploads import TABLE, FileUpload
from mlapi.api.views import PROBLEMS
from models_registry import services
from models_registry.artifacts.table import Table, read_table
from models_registry.monitoring.usage_report import WINDOWS, report_content, usage_report
from models_registry.permissions import ACTIVATE, LOG, VIEW


class UsageView(RegistryView):
    """`/api/models/{name}/usage`."""

    needs = {"GET": VIEW}

    @extend_schema(
        operation_id="get_usage",
        tags=["registry"],
        parameters=[monitoring_serializers.WindowQuery],
        responses={200: monitoring_serializers.Usage, **PROBLEMS},
    )
    def get(self, request: Request, name: str) -> Response:
        """Return requests, errors, latency and predictions by version; each replica adds to it once a minute."""
        window = WINDOWS[validated(request, monitoring_serializers.WindowQuery, of_query=True)["window"]]
        model = services.get_model(name)
        return Response(report_content(usage_report(model, window, datetime.now(UTC))))


class DriftView(RegistryView):
    """`/api/models/{name}/drift`."""

    needs = {"GET": VIEW}

    @extend_schema(
        operation_id="get_drift",
        tags=["registry"],
        parameters=[monitoring_serializers.WindowQuery],
        responses={200: monitoring_serializers.Drift, **PROBLEMS},
    )
    def get(self, request: Request, name: str) -> Response:
        """Compare the logged requests with the reference of their version, by feature."""
        window = WINDOWS[validated(request, monitoring_serializers.WindowQuery, of_query=True)["window"]]
        found = services.drift_report(services.get_model(name), window.step * window.steps)
        return Response({"window": window.name, **found})


class QualityView(RegistryView):
    """`/api/models/{name}/quality`."""

    needs = {"GET": VIEW}

    @extend_schema(
        operation_id="get_quality",
        tags=["registry"],
        parameters=[monitoring_serializers.WindowQuery],
        responses={200: monitoring_serializers.Quality, **PROBLEMS},
    )
    def get(self, request: Request, name: str) -> Response:
        """Return the quality of the logged predictions by version and day, for rows with ground truth."""
        window = WINDOWS[validated(request, monitoring_serializers.WindowQuery, of_query=True)["window"]]
        report = services.quality_report(services.get_model(name), window, datetime.now(UTC))
        return Response(services.quality_content(report))


class ReplaysView(RegistryView):
    """`/api/models/{name}/replays`."""

    parser_classes = (StrictJSON, MultiPartParser)
    needs = {"POST": ACTIVATE}

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Store an uploaded table in a file."""
        request.upload_handlers = [FileUpload(request, TABLE)]
        return super().initialize_request(request, *args, **kwargs)

    @extend_schema(
        operation_id="replay",
        tags=["registry"],
        # The form with a file is omitted: no schema describes a table's content.
        request=monitoring_serializers.ReplayRequest,
        responses={201: monitoring_serializers.Replay, **PROBLEMS, 413: serializers.Problem},
    )
    def post(self, request: Request, name: str) -> Response:
        """Start a replay: a replica runs a version on known rows, to compare it with the active version."""
        wanted = validated(
            request, monitoring_serializers.ReplayUpload if request.FILES else monitoring_serializers.ReplayRequest
        )
        version = services.get_version(services.get_model(name), wanted["version"])
        table = read_upload(wanted["input"], max_rows=wanted["rows"]) if "input" in wanted else None
        asked_for = services.ReplayRequest(version, table, rows=wanted["rows"], tolerance=wanted["tolerance"])
        replay = services.request_replay(asked_for, by=author_of(request))
        return Response(services.replay_content(replay), status=201)


class ReplayView(RegistryView):
    """`/api/models/{name}/replays/{id}`."""

    needs = {"GET": VIEW}

    @extend_schema(
        operation_id="get_replay",
        tags=["registry"],
        parameters=[serializers.Wait],
        responses={200: monitoring_serializers.Replay, **PROBLEMS},
    )
    def get(self, request: Request, name: str, number: str) -> Response:
        """Return a replay; with `wait_seconds`, wait until it ends, at most that long."""
        seconds = validated(request, serializers.Wait, of_query=True)["wait_seconds"]
        replay = services.get_replay(services.get_model(name), int(number))
        if seconds:
            with waiting():
                services.wait_for_replay(replay, timeout_seconds=seconds)
        return Response(services.replay_content(replay, may_view_log=may_here(request, LOG)))


def read_upload(upload: TemporaryUploadedFile, *, max_rows: int) -> Table:
    """Return the rows of an uploaded table."""
    with upload:
        return read_table(Path(upload.temporary_file_path()), upload.name or "", max_rows=max_rows)
