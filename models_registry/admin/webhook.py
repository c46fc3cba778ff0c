"""Webhooks: sent, waiting and lost events."""

from __future__ import annotations

import json

from django.contrib import admin
from django.utils.safestring import SafeString

from models_registry.admin.base import RecordAdmin, labelled
from models_registry.models import WebhookDelivery
from models_registry.templatetags.registry import moment


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(RecordAdmin):
    """The outbox, newest first; delivered events are kept for 30 days."""

    list_title = "Webhooks"
    list_display = ("happened", "version", "address", "shown_state", "attempts", "created", "next_attempt", "error")
    list_display_links = None
    list_filter = ("kind",)
    search_fields = ("url", "kind", "body", "error")
    search_help_text = "Search by event, model, address or error"
    change_list_template = "models_registry/admin/webhooks.html"

    @admin.display(description="Event", ordering="kind")
    def happened(self, delivery: WebhookDelivery) -> str:
        """Return the kind of the event."""
        return delivery.kind

    @admin.display(description="Version")
    def version(self, delivery: WebhookDelivery) -> str:
        """Return the model and the version of the event."""
        data = json.loads(delivery.body)["data"]
        return f"{data.get('model') or ''} {data.get('version') or ''}".strip()

    @admin.display(description="Address", ordering="url")
    def address(self, delivery: WebhookDelivery) -> str:
        """Return the receiver."""
        return delivery.url

    @labelled("State", {"delivered": "success", "waiting": "info", "lost": "danger"})
    def shown_state(self, delivery: WebhookDelivery) -> str:
        """Return the state of the delivery."""
        return delivery.state

    @admin.display(description="Recorded", ordering="created_at")
    def created(self, delivery: WebhookDelivery) -> SafeString:
        """Return when the event was recorded."""
        return moment(delivery.created_at)

    @admin.display(description="Next attempt", ordering="next_attempt_at")
    def next_attempt(self, delivery: WebhookDelivery) -> SafeString | str:
        """Return the time of the next attempt."""
        return moment(delivery.next_attempt_at) if delivery.state == "waiting" else "–"
