"""The outbox of the webhooks."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone


class WebhookDelivery(models.Model):
    """One event for one receiver, and the state of its delivery."""

    event = models.CharField(max_length=40, help_text="The id, the same in each attempt.")
    kind = models.CharField(max_length=50)
    url = models.CharField(max_length=2000)
    body = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True, blank=True)
    gave_up_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = "webhook"
        default_permissions = ("view",)
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(delivered_at__isnull=True, gave_up_at__isnull=True),
                name="webhooks_to_send",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.url}"

    @property
    def state(self) -> str:
        """Return the state of the delivery: delivered, lost or waiting."""
        if self.delivered_at is not None:
            return "delivered"
        return "lost" if self.gave_up_at is not None else "waiting"
