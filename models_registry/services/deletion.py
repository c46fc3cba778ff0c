"""Deletes rejected versions; their numbers and their history stay."""

from __future__ import annotations

import structlog
from django.db import transaction
from django.utils import timezone

from models_registry.errors import NotDeletable
from models_registry.models import Canary, FeatureBins, ModelVersion, ReferenceRows, Shadow, State
from models_registry.services.labels import set_aliases_of

log = structlog.get_logger(__name__)


def delete_version(version: ModelVersion, *, by: str) -> None:
    """Delete a rejected version's data, except its number, its digest and the reasons.

    Its number is not reused, and discovery ignores its file. The file stays: the storage does not belong to the
    registry. Aliases of the version are removed. Raises NotDeletable for a version that is not rejected, is active, or
    is a running canary or shadow.
    """
    with transaction.atomic():
        # Locks the model's row first, like an alias change: a concurrent one waits.
        set_aliases_of(version, [], by=by)
        current = ModelVersion.objects.select_for_update(of=("self",)).select_related("model").get(pk=version.pk)
        obstacle = deletion_obstacle(current)
        if obstacle:
            raise NotDeletable(obstacle)
        ModelVersion.objects.filter(pk=version.pk).update(
            state=State.DELETED,
            reason=f"Deleted by {by} on {timezone.now():%Y-%m-%d}. It was rejected: {current.reason}",
            # Rows of a sample or a reference may be personal data.
            manifest={},
            inspection=None,
            sample=None,
            reference=None,
            report=None,
        )
        ReferenceRows.objects.filter(version=version).delete()
        FeatureBins.objects.filter(version=version).delete()
    version.refresh_from_db()
    log.info("deleted", model=version.model.name, version=version.number, by=by)


def deletion_obstacle(version: ModelVersion) -> str:
    """Return why `version` cannot be deleted; an empty text if it can."""
    if version.state != State.REJECTED or version.is_active:
        found = "active" if version.is_active else version.state
        return (
            f"{version} is {found}. Only a rejected version that is not active can be deleted. A model that is "
            "not used any more can be archived."
        )
    name = version.model.name
    if Canary.objects.filter(version=version, ended_at=None).exists():
        return (
            f"{version} is a running canary. End the canary first, on the page of the model or with "
            f"DELETE /api/models/{name}/traffic."
        )
    if Shadow.objects.filter(version=version, ended_at=None).exists():
        return (
            f"{version} is a running shadow. End the shadow first, on the page Shadow of the model or with "
            f"'python3 manage.py shadow_model {name} --off'."
        )
    return ""
