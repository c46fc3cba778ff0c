"""`/api/models/{name}/traffic` and `…/shadow`: canaries, which answer a share of the requests, and shadows."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mlapi.api import serializers, traffic_serializers
from mlapi.api.base import RegistryView, author_of, validated, waiting
from mlapi.api.describing import shadow_content, traffic_content
from mlapi.api.views import CONFLICT, PROBLEMS, known_version, require_override, rolled_out
from models_registry import services
from models_registry.permissions import ACTIVATE, VIEW


class TrafficView(RegistryView):
    """`/api/models/{name}/traffic`."""

    needs = {"GET": VIEW, "PUT": ACTIVATE, "DELETE": ACTIVATE}

    @extend_schema(
        operation_id="get_traffic", tags=["registry"], responses={200: traffic_serializers.Traffic, **PROBLEMS}
    )
    def get(self, request: Request, name: str) -> Response:
        """Return how the traffic is split, with both versions for comparison."""
        return Response(traffic_content(services.get_model(name)))

    @extend_schema(
        operation_id="split_traffic",
        tags=["registry"],
        request=traffic_serializers.TrafficRequest,
        responses={200: traffic_serializers.Traffic, **PROBLEMS, **CONFLICT},
    )
    def put(self, request: Request, name: str) -> Response:
        """Give a candidate a share of the requests; with `wait_seconds`, wait until it gets them."""
        wanted = validated(request, traffic_serializers.TrafficRequest)
        require_override(request, wanted)
        model = services.get_model(name)
        done = services.start_canary(
            services.get_version(model, wanted["candidate"]),
            percent=wanted["percent"],
            by=author_of(request),
            reason=wanted["reason"],
            bake_minutes=wanted["bake_minutes"],
            guardrails=wanted["guardrails"],
            override=wanted["override"],
            seen_generation=wanted["seen_generation"],
        )
        if wanted["wait_seconds"]:
            with waiting():
                services.wait_for_canary(services.require_canary(model), timeout_seconds=wanted["wait_seconds"])
        return Response({**traffic_content(model), "changed": done is not None})

    @extend_schema(
        operation_id="end_split",
        tags=["registry"],
        request=traffic_serializers.TrafficEndRequest,
        responses={200: traffic_serializers.Traffic, **PROBLEMS},
    )
    def delete(self, request: Request, name: str) -> Response:
        """End the canary; the active version answers all requests again."""
        wanted = validated(request, traffic_serializers.TrafficEndRequest)
        model = services.get_model(name)
        done = services.end_canary(model, by=author_of(request), reason=wanted["reason"])
        return Response({**traffic_content(model), "changed": done is not None})


class ShadowView(RegistryView):
    """`/api/models/{name}/shadow`."""

    needs = {"GET": VIEW, "PUT": ACTIVATE, "DELETE": ACTIVATE}

    @extend_schema(
        operation_id="get_shadow", tags=["registry"], responses={200: traffic_serializers.Shadow, **PROBLEMS}
    )
    def get(self, request: Request, name: str) -> Response:
        """Return how often the shadow agrees with the active version."""
        return Response(shadow_content(services.get_model(name)))

    @extend_schema(
        operation_id="start_shadow",
        tags=["registry"],
        request=traffic_serializers.ShadowRequest,
        responses={200: traffic_serializers.Shadow, **PROBLEMS, **CONFLICT},
    )
    def put(self, request: Request, name: str) -> Response:
        """Send a version copies of a share of the requests; its predictions are only compared."""
        wanted = validated(request, traffic_serializers.ShadowRequest)
        require_override(request, wanted)
        model = services.get_model(name)
        done = services.start_shadow(
            services.get_version(model, known_version(model, wanted["version"])),
            percent=wanted["percent"],
            by=author_of(request),
            reason=wanted["reason"],
            override=wanted["override"],
            seen_generation=wanted["seen_generation"],
        )
        return Response({**shadow_content(model), "changed": done is not None})

    @extend_schema(
        operation_id="end_shadow",
        tags=["registry"],
        request=traffic_serializers.TrafficEndRequest,
        responses={200: traffic_serializers.Shadow, **PROBLEMS},
    )
    def delete(self, request: Request, name: str) -> Response:
        """End the shadow."""
        wanted = validated(request, traffic_serializers.TrafficEndRequest)
        model = services.get_model(name)
        done = services.end_shadow(model, by=author_of(request), reason=wanted["reason"])
        return Response({**shadow_content(model), "changed": done is not None})


class PromoteView(RegistryView):
    """`/api/models/{name}/promote`."""

    needs = {"POST": ACTIVATE}

    @extend_schema(
        operation_id="promote",
        tags=["registry"],
        request=serializers.DeactivationRequest,
        responses={200: serializers.Activated, **PROBLEMS, **CONFLICT},
    )
    def post(self, request: Request, name: str) -> Response:
        """Make the candidate the active version; with `wait_seconds`, wait until every replica serves it."""
        wanted = validated(request, serializers.DeactivationRequest)
        model = services.get_model(name)
        done = services.promote(
            model, by=author_of(request), reason=wanted["reason"], seen_generation=wanted["seen_generation"]
        )
        answer: dict[str, Any] = rolled_out(model, wanted["wait_seconds"])
        return Response({**answer, "changed": done is not None})
