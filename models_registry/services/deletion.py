"""Takes rejected versions out of the lists; their numbers and their history stay."""

from __future__ import annotations

import structlog
from django.db import transaction
from django.utils import timezone

from models_registry.errors import NotDeletable
from models_registry.models import FeatureBins, ModelVersion, ReferenceRows, State
from models_registry.services.labels import set_aliases_of

log = structlog.get_logger(__name__)


def delete_version(version: ModelVersion, *, by: str) -> None:
    """Delete what the registry holds of a rejected version but its number, its digest and the reasons.

    No later version gets its number, and discovery does not take its file up again. The file itself stays in the
    storage, which belongs to who writes it. Aliases that name the version are removed. NotDeletable is raised for a
    version that is not rejected, or is active.
    """
    with transaction.atomic():
        # The model's row first, as an alias does: one that is set at the same time waits.
        set_aliases_of(version, [], by=by)
        current = ModelVersion.objects.select_for_update(of=("self",)).select_related("model").get(pk=version.pk)
        obstacle = deletion_obstacle(current)
        if obstacle:
            raise NotDeletable(obstacle)
        ModelVersion.objects.filter(pk=version.pk).update(
            state=State.DELETED,
            reason=f"Deleted by {by} on {timezone.now():%Y-%m-%d}. It was rejected: {current.reason}",
            # Rows of a sample or a reference may be somebody's data.
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
    """Return the reason why `version` cannot be deleted; an empty text if it can."""
    if version.state == State.REJECTED and not version.is_active:
        return ""
    found = "active" if version.is_active else version.state
    return (
        f"{version} is {found}. Only a rejected version that is not active can be deleted; a model that is "
        "not used any more can be archived."
    )
