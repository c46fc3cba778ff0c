"""Endpoints of the registry's API; each action is one call of one service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.http import FileResponse
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from mlapi.api import serializers
from mlapi.api.base import RegistryView, author_of, may_here, validated, waiting
from mlapi.api.describing import model_content, models_content, rollout_content, version_content
from mlapi.api.paging import LINK_HEADER, ModelsQuery, page_of, paged
from models_registry import services
from models_registry.errors import UnknownVersion
from models_registry.models import RegisteredModel
from models_registry.permissions import ACTIVATE, CHANGE, DOWNLOAD, OVERRIDE, PUBLISH, VIEW, visible

PROBLEMS = dict.fromkeys((400, 401, 403, 404), serializers.Problem)
CONFLICT = {409: serializers.Problem}


class ModelsView(RegistryView):
    """`/api/models`."""

    needs = {"GET": VIEW}

    @extend_schema(
        operation_id="list_models",
        tags=["registry"],
        parameters=[ModelsQuery, LINK_HEADER],
        responses={200: serializers.ModelWithLabels(many=True), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Return the models that the user may view, with versions and replicas; on request the archived models.

        With `limit`, return one page; the header `Link` names the next page.
        """
        wanted = validated(request, ModelsQuery, of_query=True)
        in_use = RegisteredModel.objects.filter(archived_at__isnull=not wanted["archived"], name__gt=wanted["after"])
        models, has_more = page_of(visible(request.user, VIEW, in_use).order_by("name"), wanted["limit"])
        return paged(request, models_content(models), next_after=models[-1].name if has_more else None)


class ModelView(RegistryView):
    """`/api/models/{name}`."""

    needs = {"GET": VIEW, "PATCH": CHANGE}

    @extend_schema(
        operation_id="get_model", tags=["registry"], responses={200: serializers.ModelWithLabels, **PROBLEMS}
    )
    def get(self, request: Request, name: str) -> Response:
        """Return one model with its versions and replicas."""
        return Response(model_content(services.get_model(name)))

    @extend_schema(
        operation_id="change_model",
        tags=["registry"],
        request=serializers.ModelChange,
        responses={200: serializers.ModelWithLabels, **PROBLEMS},
    )
    def patch(self, request: Request, name: str) -> Response:
        """Change the given fields; aliases that are not given stay, and null removes an alias."""
        wanted, model = validated(request, serializers.ModelChange), services.get_model(name)
        with transaction.atomic():
            if "policy" in wanted:
                services.set_policy(model, wanted["policy"], by=author_of(request))
            if "description" in wanted:
                services.set_description(model, wanted["description"], by=author_of(request))
            if "card" in wanted:
                services.set_card(model, wanted["card"], by=author_of(request))
            if "tags" in wanted:
                services.set_tags(model, wanted["tags"], by=author_of(request))
            if "aliases" in wanted:
                services.set_aliases(model, wanted["aliases"], by=author_of(request))
            services.set_capture(
                model,
                by=author_of(request),
                percent=wanted.get("capture_percent"),
                sides=wanted.get("capture"),
                exclude=wanted.get("capture_exclude"),
            )
        return Response(model_content(services.get_model(name)))


class VersionView(RegistryView):
    """`/api/models/{name}/versions/{number}`."""

    needs = {"GET": VIEW, "PATCH": CHANGE, "DELETE": PUBLISH}

    @extend_schema(
        operation_id="get_version",
        tags=["registry"],
        parameters=[serializers.Wait],
        responses={200: serializers.Version, **PROBLEMS},
    )
    def get(self, request: Request, name: str, number: str) -> Response:
        """Return one version; with `wait_seconds`, wait until its validation ends, at most that long."""
        seconds = validated(request, serializers.Wait, of_query=True)["wait_seconds"]
        version = services.get_version(services.get_model(name), number)
        if seconds:
            with waiting():
                services.wait_for_verdict(version, timeout_seconds=seconds)
        return Response(version_content(version))

    @extend_schema(
        operation_id="change_version",
        tags=["registry"],
        request=serializers.VersionChange,
        responses={200: serializers.Version, **PROBLEMS},
    )
    def patch(self, request: Request, name: str, number: str) -> Response:
        """Change the notes on a version."""
        wanted = validated(request, serializers.VersionChange)
        version = services.get_version(services.get_model(name), number)
        if "notes" in wanted:
            services.set_notes(version, wanted["notes"], by=author_of(request))
        return Response(version_content(version))

    @extend_schema(
        operation_id="delete_version",
        tags=["registry"],
        responses={200: serializers.Version, **PROBLEMS, **CONFLICT},
    )
    def delete(self, request: Request, name: str, number: str) -> Response:
        """Delete a rejected version; its number, its reasons, and its file in the storage stay."""
        version = services.get_version(services.get_model(name), number)
        services.delete_version(version, by=author_of(request))
        return Response(version_content(version))


class ArtifactView(RegistryView):
    """`/api/models/{name}/versions/{number}/artifact`."""

    needs = {"GET": DOWNLOAD}

    @extend_schema(
        operation_id="download_artifact",
        tags=["registry"],
        responses={(200, "application/octet-stream"): bytes, **PROBLEMS},
    )
    def get(self, request: Request, name: str, number: str) -> FileResponse:
        """Return a version's artifact, after a check of its digest."""
        version = services.get_version(services.get_model(name), number)
        with services.fetch_artifact(version) as artifact:
            # An open file stays readable after its eviction from the cache.
            content = artifact.path.open("rb")
        named = f"{version.model.name}-{version.number}.{version.format}"
        return FileResponse(content, as_attachment=True, filename=named, content_type="application/octet-stream")


class SyncView(RegistryView):
    """`/api/sync`."""

    concerns_all_models = True
    needs = {"POST": PUBLISH}

    @extend_schema(
        operation_id="sync", tags=["registry"], request=None, responses={200: serializers.Synced, **PROBLEMS}
    )
    def post(self, request: Request) -> Response:
        """Scan the storage for new versions; a replica validates them."""
        result = services.discover(by=author_of(request))
        return Response(
            {
                "found": list(map(str, result.found)),
                "returned": list(map(str, result.returned)),
                "missing": list(map(str, result.missing)),
                "ignored": result.ignored,
            }
        )


class ActivateView(RegistryView):
    """`/api/models/{name}/activate`."""

    needs = {"POST": ACTIVATE}

    @extend_schema(
        operation_id="activate",
        tags=["registry"],
        request=serializers.ActivationRequest,
        responses={200: serializers.Activated, **PROBLEMS, **CONFLICT},
    )
    def post(self, request: Request, name: str) -> Response:
        """Make a version the active one; with `wait_seconds`, wait until every replica serves it."""
        wanted = validated(request, serializers.ActivationRequest)
        require_override(request, wanted)
        model = services.get_model(name)
        version = services.get_version(model, known_version(model, wanted["version"]))
        had_canary = model.canary_id is not None
        done = services.activate(
            version,
            by=author_of(request),
            reason=wanted["reason"],
            override=wanted["override"],
            seen_generation=wanted["seen_generation"],
        )
        changed = done is not None or had_canary
        return Response({**rolled_out(model, wanted["wait_seconds"]), "changed": changed})


class RollbackView(RegistryView):
    """`/api/models/{name}/rollback`."""

    needs = {"POST": ACTIVATE}

    @extend_schema(
        operation_id="roll_back",
        tags=["registry"],
        request=serializers.RollbackRequest,
        responses={200: serializers.Activated, **PROBLEMS, **CONFLICT},
    )
    def post(self, request: Request, name: str) -> Response:
        """Activate the previously active version; with `wait_seconds`, wait until every replica serves it."""
        wanted = validated(request, serializers.RollbackRequest)
        require_override(request, wanted)
        model = services.get_model(name)
        done = services.roll_back(
            model,
            by=author_of(request),
            reason=wanted["reason"],
            override=wanted["override"],
            seen_generation=wanted["seen_generation"],
        )
        return Response({**rolled_out(model, wanted["wait_seconds"]), "changed": done is not None})


class DeactivateView(RegistryView):
    """`/api/models/{name}/deactivate`."""

    needs = {"POST": ACTIVATE}

    @extend_schema(
        operation_id="deactivate",
        tags=["registry"],
        request=serializers.DeactivationRequest,
        responses={200: serializers.Activated, **PROBLEMS, **CONFLICT},
    )
    def post(self, request: Request, name: str) -> Response:
        """Take a model out of service; with `wait_seconds`, wait until no replica serves it."""
        return _taken_out(request, name, services.deactivate)


class ArchiveView(RegistryView):
    """`/api/models/{name}/archive`."""

    needs = {"POST": ACTIVATE}

    @extend_schema(
        operation_id="archive",
        tags=["registry"],
        request=serializers.DeactivationRequest,
        responses={200: serializers.Activated, **PROBLEMS, **CONFLICT},
    )
    def post(self, request: Request, name: str) -> Response:
        """Archive a model and keep its history; with `wait_seconds`, wait until no replica serves it."""
        return _taken_out(request, name, services.archive)


def _taken_out(request: Request, name: str, take_out: Callable[..., object]) -> Response:
    """Return the response to a request that ends a model's service; `take_out` returns whether it changed anything."""
    wanted = validated(request, serializers.DeactivationRequest)
    model = services.get_model(name)
    changed = take_out(model, by=author_of(request), reason=wanted["reason"], seen_generation=wanted["seen_generation"])
    return Response({**rolled_out(model, wanted["wait_seconds"]), "changed": bool(changed)})


class RestoreView(RegistryView):
    """`/api/models/{name}/restore`."""

    needs = {"POST": ACTIVATE}

    @extend_schema(
        operation_id="restore",
        tags=["registry"],
        request=None,
        responses={200: serializers.ModelWithLabels, **PROBLEMS},
    )
    def post(self, request: Request, name: str) -> Response:
        """Restore an archived model, so that versions can be published and activated again; none is active."""
        model = services.get_model(name)
        services.restore(model, by=author_of(request))
        return Response(model_content(model))


class RolloutView(RegistryView):
    """`/api/models/{name}/rollout`."""

    needs = {"GET": VIEW}

    @extend_schema(
        operation_id="get_rollout",
        tags=["registry"],
        parameters=[serializers.Wait],
        responses={200: serializers.Rollout, **PROBLEMS},
    )
    def get(self, request: Request, name: str) -> Response:
        """Return the state of the rollout; with `wait_seconds`, wait until all replicas serve it or failed."""
        seconds = validated(request, serializers.Wait, of_query=True)["wait_seconds"]
        return Response(rolled_out(services.get_model(name), seconds))


def rolled_out(model: RegisteredModel, wait_seconds: float) -> dict[str, Any]:
    """Return the state of the rollout, after waiting at most `wait_seconds` for it to end."""
    if not wait_seconds:
        return rollout_content(model, services.rollout(model))
    with waiting():
        return rollout_content(model, services.wait_for_rollout(model, timeout_seconds=wait_seconds))


def require_override(request: Request, wanted: dict[str, Any]) -> None:
    """Raise PermissionDenied if the request is an override and the user may not override."""
    if wanted["override"] and not may_here(request, OVERRIDE):
        raise exceptions.PermissionDenied(
            f"{request.user.get_username()} may not override the advice of the validation: the permission {OVERRIDE!r} "
            "is needed."
        )


def known_version(model: RegisteredModel, version: int | str) -> int | str:
    """Return `version` unchanged; UnknownVersion if it is an alias that the model does not have."""
    if isinstance(version, str) and version not in model.aliases:
        raise UnknownVersion(
            f"{model.name} has no alias {version!r}. 'version' must be a version's number, or one of its aliases: "
            f"{', '.join(sorted(model.aliases)) or 'it has none'}."
        )
    return version
