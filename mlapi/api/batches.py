"""`/api/models/{name}/batches`: batch scoring jobs, which a replica runs."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mlapi.api import batch_serializers
from mlapi.api.base import RegistryView, author_of, validated
from mlapi.api.views import CONFLICT, PROBLEMS
from models_registry import services
from models_registry.errors import ScoringRefused
from models_registry.models import BatchJob
from models_registry.permissions import SCORE, VIEW

MAX_LISTED = 100


class BatchesView(RegistryView):
    """`/api/models/{name}/batches`."""

    needs = {"GET": VIEW, "POST": SCORE}

    @extend_schema(
        operation_id="list_batches", tags=["registry"], responses={200: batch_serializers.Batch(many=True), **PROBLEMS}
    )
    def get(self, request: Request, name: str) -> Response:
        """Return a model's newest batches, at most 100."""
        model = services.get_model(name)
        found = BatchJob.objects.filter(version__model=model).select_related("version__model")[:MAX_LISTED]
        return Response([services.describe_batch(job) for job in found])

    @extend_schema(
        operation_id="start_batch",
        tags=["registry"],
        request=batch_serializers.BatchRequest,
        responses={201: batch_serializers.Batch, **PROBLEMS},
    )
    def post(self, request: Request, name: str) -> Response:
        """Queue a batch; a replica runs it. Without a version, the active version scores."""
        wanted = validated(request, batch_serializers.BatchRequest)
        model = services.get_model(name)
        number = wanted.pop("version", None)
        version = model.active_version if number is None else services.get_version(model, number)
        if version is None:
            raise ScoringRefused(f"{name} has no active version. Name one in 'version'.")
        source, target = wanted.pop("input"), wanted.pop("output")
        job = services.start_batch(version, source=source, target=target, options=wanted, by=author_of(request))
        return Response(services.describe_batch(job), status=201)


class BatchView(RegistryView):
    """`/api/models/{name}/batches/{id}`."""

    needs = {"GET": VIEW, "DELETE": SCORE}

    @extend_schema(operation_id="get_batch", tags=["registry"], responses={200: batch_serializers.Batch, **PROBLEMS})
    def get(self, request: Request, name: str, number: str) -> Response:
        """Return a batch and its progress."""
        return Response(services.describe_batch(services.get_batch(services.get_model(name), int(number))))

    @extend_schema(
        operation_id="cancel_batch", tags=["registry"], responses={200: batch_serializers.Batch, **PROBLEMS, **CONFLICT}
    )
    def delete(self, request: Request, name: str, number: str) -> Response:
        """Cancel a queued or running batch; its finished parts stay."""
        job = services.get_batch(services.get_model(name), int(number))
        services.cancel_batch(job)
        return Response(services.describe_batch(job))
