"""Detects the end of rollouts, for webhooks."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from models_registry.models import Activation
from models_registry.services.rollout import Rollout, rollout
from models_registry.services.webhooks import record_event

# Older activations may have been rolled out before webhooks were set: they must cause no event now.
RECENT = timedelta(hours=1)


def note_rollouts() -> None:
    """Record the end of each rollout of the last hour, and its first failure, once."""
    current = Activation.objects.filter(generation=F("model__generation"), rolled_out_at=None)
    recent = current.filter(activated_at__gte=timezone.now() - RECENT)
    for activation in recent.select_related("model__active_version", "version"):
        now = rollout(activation.model)
        if now.live and now.is_complete:
            _note(activation, "rolled_out_at", "rollout.completed", now)
        elif now.failed and activation.rollout_failed_at is None:
            _note(activation, "rollout_failed_at", "rollout.failed", now)


def _note(activation: Activation, field: str, event: str, now: Rollout) -> None:
    with transaction.atomic():
        claimed = Activation.objects.filter(pk=activation.pk, **{field: None}).update(**{field: timezone.now()})
        if claimed:
            record_event(
                event,
                {
                    "model": activation.model.name,
                    "version": now.number,
                    "generation": now.generation,
                    "live": now.live,
                    "serving": now.serving,
                    "failed": [{"replica": item.replica, "reason": item.reason} for item in now.failed],
                },
            )
