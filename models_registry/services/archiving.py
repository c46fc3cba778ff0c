"""Takes a model out of use for good, with its versions and its history kept, and back."""

from __future__ import annotations

import structlog
from django.db import transaction
from django.utils import timezone

from models_registry.models import Activation, RegisteredModel
from models_registry.services.activation import deactivate
from models_registry.services.desired_state import record_change

log = structlog.get_logger(__name__)


def archive(
    model: RegisteredModel, *, by: str, reason: str = "", seen_generation: int | None = None
) -> Activation | None:
    """Let no version of `model` serve, and take up no new ones; return the history's row of a deactivation, if any.

    A canary and a shadow end. Lists leave an archived model out. ActivationConflict is raised as in `deactivate`.
    """
    with transaction.atomic():
        # An activation at the same time waits, or has come first and is undone.
        RegisteredModel.objects.select_for_update().get(pk=model.pk)
        why = f"Archived: {reason}" if reason else "Archived."
        done = deactivate(model, by=by, reason=why, seen_generation=seen_generation)
        now = timezone.now()
        # Whoever archived it first stays the one.
        RegisteredModel.objects.filter(pk=model.pk, archived_at=None).update(
            archived_at=now, archived_by=by, archived_reason=reason
        )
        record_change(model.pk)
    model.refresh_from_db()
    log.info("archived", model=model.name, by=by, reason=reason)
    return done


def restore(model: RegisteredModel, *, by: str) -> bool:
    """Let versions of `model` be published and activated again; return False where it was not archived.

    No version is active then: a person activates one.
    """
    with transaction.atomic():
        archived = RegisteredModel.objects.filter(pk=model.pk, archived_at__isnull=False)
        is_restored = bool(archived.update(archived_at=None, archived_by="", archived_reason=""))
        record_change(model.pk)
    model.refresh_from_db()
    if is_restored:
        log.info("restored", model=model.name, by=by)
    return is_restored
