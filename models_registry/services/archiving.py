"""Archives and restores a model; its versions and its history stay."""

from __future__ import annotations

import structlog
from django.db import transaction
from django.utils import timezone

from models_registry.errors import ActivationConflict
from models_registry.models import RegisteredModel
from models_registry.services.activation import deactivate, describe_conflict
from models_registry.services.desired_state import record_change

log = structlog.get_logger(__name__)


def archive(model: RegisteredModel, *, by: str, reason: str = "", seen_generation: int | None = None) -> bool:
    """Deactivate `model` and accept no new versions; return False if it already is archived.

    A canary and a shadow end. Lists omit an archived model. Raises ActivationConflict if the model has changed since
    `seen_generation`, or since `model` was read if that is not given.
    """
    with transaction.atomic():
        # A concurrent activation waits for this lock, or has finished and is detected.
        rows = RegisteredModel.objects.select_for_update(of=("self",)).select_related("active_version")
        current = rows.get(pk=model.pk)
        if current.archived_at is not None:
            model.refresh_from_db()
            return False
        if current.generation != (model.generation if seen_generation is None else seen_generation):
            raise ActivationConflict(describe_conflict(current))
        why = f"Archived: {reason}" if reason else "Archived."
        if deactivate(model, by=by, reason=why, seen_generation=seen_generation) is None:
            # The default model may change.
            record_change(model.pk)
        RegisteredModel.objects.filter(pk=model.pk).update(
            archived_at=timezone.now(), archived_by=by, archived_reason=reason
        )
    model.refresh_from_db()
    log.info("archived", model=model.name, by=by, reason=reason)
    return True


def restore(model: RegisteredModel, *, by: str) -> bool:
    """Allow versions of `model` to be published and activated again; return False if it is not archived.

    No version is active afterwards: a user activates one.
    """
    with transaction.atomic():
        archived = RegisteredModel.objects.filter(pk=model.pk, archived_at__isnull=False)
        is_restored = bool(archived.update(archived_at=None, archived_by="", archived_reason=""))
        if is_restored:
            record_change(model.pk)
    model.refresh_from_db()
    if is_restored:
        log.info("restored", model=model.name, by=by)
    return is_restored
