"""Webhooks: what was sent to whom, what waits, and what was lost."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from models_registry.admin.base import RecordAdmin, labelled
from models_registry.models import WebhookDelivery
from models_registry.templatetags.registry import moment


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(RecordAdmin):
    """The outbox, newest first; delivered events are kept for 30 days."""

    list_title = "Webhooks"
    list_display = ("kind", "url", "shown_state", "attempts", "created", "next_attempt", "error")
    list_display_links = None
    list_filter = ("kind",)
    search_fields = ("url", "kind", "error")
    search_help_text = "Event, address or error"
    sortable_by = ()

    @labelled("State", {"delivered": "success", "waiting": "info", "lost": "danger"})
    def shown_state(self, delivery: WebhookDelivery) -> str:
        """Return what became of it."""
        return delivery.state

    @admin.display(description="Recorded")
    def created(self, delivery: WebhookDelivery) -> SafeString:
        """Return when it happened."""
        return moment(delivery.created_at)

    @admin.display(description="Next attempt")
    def next_attempt(self, delivery: WebhookDelivery) -> SafeString | str:
        """Return when it is sent again."""
        return moment(delivery.next_attempt_at) if delivery.state == "waiting" else "–"
