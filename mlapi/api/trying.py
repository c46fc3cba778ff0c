"""`POST /api/models/{name}/versions/{number}/try`: any ready version predicts, loaded in a sandbox."""

from __future__ import annotations

import time
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from mlapi.api import serializers
from mlapi.api.base import RegistryView
from mlapi.api.views import PROBLEMS
from mlapi.protocols.base import HttpError
from mlapi.protocols.csv_rows import read_csv
from mlapi.protocols.native import FLAGS, read_flag, read_object, rows_in
from models_registry import services
from models_registry.artifacts.schema import Schema
from models_registry.errors import RequestError
from models_registry.models import ModelVersion
from models_registry.permissions import TRY


class RawBody(BaseParser):
    """The bytes unchanged."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the bytes of `stream`."""
        return bytes(stream.read())


class TryView(RegistryView):
    """`/api/models/{name}/versions/{number}/try`."""

    needs = {"POST": TRY}
    parser_classes = (RawBody,)

    @extend_schema(
        operation_id="try_version",
        tags=["registry"],
        request={"application/json": serializers.TryRequest},
        responses={200: serializers.Tried, **PROBLEMS, 429: serializers.Problem},
    )
    def post(self, request: Request, name: str, number: str) -> Response:
        """Return a version's predictions, whether it is active or not; loading takes seconds."""
        began = time.perf_counter()
        version = services.get_version(services.get_model(name), number)
        if version.schema is None:
            raise RequestError(f"{version} is {version.state}. Only a version that passed its validation can be tried.")
        instances, is_single, wants_probabilities = _read(request, Schema.from_json(version.schema))
        content = services.ask_version(version, instances, is_single=is_single)
        if not wants_probabilities:
            content.pop("probabilities", None)
        return Response({**content, **_signed(version, request), "processing_time_ms": _milliseconds(began)})


def _read(request: Request, schema: Schema) -> tuple[list[Any], bool, bool]:
    """Return the rows, whether the request has one row, and whether it asks for probabilities."""
    content: Any = request.data or b""
    if (request.content_type or "").startswith("text/csv"):
        names, rows = read_csv(content, schema, request.content_type)
        if names is None:
            return rows, False, True
        return [dict(zip(names, row, strict=False)) for row in rows], False, True
    body = read_object(content)
    instances, is_single = rows_in(body)
    if not instances:
        raise HttpError(400, "empty_batch", "The batch is empty; send at least one row.", expected="at least one row")
    wants_probabilities, ignores_extra = (read_flag(body, flag) for flag in FLAGS)
    return schema.without_extra(instances) if ignores_extra else instances, is_single, wants_probabilities


def _signed(version: ModelVersion, request: Request) -> dict[str, Any]:
    return {
        "model": version.model.name,
        "version": version.number,
        "request_id": request.request_id,  # type: ignore[attr-defined]
    }


def _milliseconds(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)
