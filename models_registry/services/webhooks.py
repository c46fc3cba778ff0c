"""The outbox of webhooks: an event is stored in the transaction of its change, and sent afterwards."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from models_registry.delivery import DeliveryError, Receiver, deliver
from models_registry.models import WebhookDelivery

log = structlog.get_logger(__name__)

EVENTS = frozenset(
    {
        "version.ready",
        "version.rejected",
        "activation.created",
        "rollout.completed",
        "rollout.failed",
        "canary.rolled_back",
        "drift.detected",
    }
)
# The pauses between attempts, in seconds, as Standard Webhooks recommends: 28 hours in total.
PAUSES = (5, 300, 1800, 7200, 18_000, 36_000, 36_000)
# Longer than an attempt: after this time another worker repeats the attempt of a dead one.
CLAIM_SECONDS = 120
KEPT = timedelta(days=30)
SENT_AT_ONCE = 50


def record_event(kind: str, data: Mapping[str, Any]) -> None:
    """Store an event, once for each receiver, in the caller's transaction; `data` has JSON values."""
    if kind not in EVENTS:
        raise ValueError(f"{kind!r} is not an event of a webhook")
    if not settings.MODELS_WEBHOOK_URLS:
        return
    now = timezone.now()
    WebhookDelivery.objects.filter(created_at__lt=now - KEPT).delete()
    body = json.dumps({"type": kind, "timestamp": now.isoformat(), "data": data}, default=str)
    event = f"msg_{uuid.uuid4().hex}"
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(event=event, kind=kind, url=url, body=body, next_attempt_at=now)
        for url in settings.MODELS_WEBHOOK_URLS
    )


def due_deliveries() -> QuerySet[WebhookDelivery]:
    """Return the deliveries that are due, oldest first."""
    waiting = WebhookDelivery.objects.filter(delivered_at=None, gave_up_at=None)
    return waiting.filter(next_attempt_at__lte=timezone.now()).order_by("next_attempt_at", "pk")


def deliver_due() -> int:
    """Send due deliveries; return the number of attempts. Concurrent replicas send nothing twice."""
    tried = 0
    for delivery in due_deliveries()[:SENT_AT_ONCE]:
        claimed = WebhookDelivery.objects.filter(
            pk=delivery.pk, delivered_at=None, next_attempt_at=delivery.next_attempt_at
        ).update(next_attempt_at=timezone.now() + timedelta(seconds=CLAIM_SECONDS), attempts=delivery.attempts + 1)
        if claimed:
            delivery.attempts += 1
            _attempt(delivery)
            tried += 1
    return tried


def _attempt(delivery: WebhookDelivery) -> None:
    now = timezone.now()
    if delivery.url not in settings.MODELS_WEBHOOK_URLS:
        _give_up(delivery, "Its address is no longer in MODELS_WEBHOOK_URLS.")
        return
    receiver = Receiver(
        delivery.url,
        secrets=tuple(settings.MODELS_WEBHOOK_SECRETS),
        private_hosts=frozenset(settings.MODELS_WEBHOOK_PRIVATE_HOSTS),
    )
    try:
        deliver(receiver, event=delivery.event, timestamp=int(now.timestamp()), body=delivery.body.encode())
    except DeliveryError as error:
        if error.is_final or delivery.attempts > len(PAUSES):
            _give_up(delivery, str(error))
        else:
            pause = PAUSES[delivery.attempts - 1]
            _update(delivery, error=str(error), next_attempt_at=timezone.now() + timedelta(seconds=pause))
            log.warning("webhook_postponed", event_type=delivery.kind, url=delivery.url, reason=str(error))
        return
    _update(delivery, delivered_at=timezone.now(), error="")


def _give_up(delivery: WebhookDelivery, reason: str) -> None:
    _update(delivery, gave_up_at=timezone.now(), error=reason)
    log.error("webhook_lost", event_type=delivery.kind, url=delivery.url, reason=reason, attempts=delivery.attempts)


def _update(delivery: WebhookDelivery, **values: Any) -> None:
    WebhookDelivery.objects.filter(pk=delivery.pk).update(**values)
