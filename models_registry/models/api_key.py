"""API keys: which clients may request predictions, of which models, and how often."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Filters of API keys."""

    def not_revoked(self) -> ApiKeyQuerySet:
        """Return the keys that are not revoked. Expired keys are included, so that their users get the reason."""
        return self.filter(revoked_at__isnull=True)


class ApiKey(models.Model):
    """A key that allows predictions. Its text is shown once; only its digest is stored."""

    name = models.CharField(max_length=100, help_text="The user of the key, e.g. the system that calls.")
    prefix = models.CharField(max_length=30, unique=True, help_text="The visible prefix of the key.")
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the key.")
    # A list of names; services.create_key writes it once.
    model_names = models.JSONField(blank=True, default=list, help_text="The models that it is for; empty: every model.")
    rate_per_minute = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: unlimited.")
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=200, blank=True, default="")
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=200, blank=True, default="")
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="Accurate to the minute.")

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API key"
        default_permissions = ("view",)
        permissions = [("manage_apikey", "Can create and revoke API keys")]
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=Q(revoked_at__isnull=True), name="unique_name_of_a_key_in_use"
            ),
            models.CheckConstraint(
                condition=Q(rate_per_minute__isnull=True) | Q(rate_per_minute__gt=0), name="rate_is_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def state(self) -> str:
        """Return its state: in use, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= timezone.now() else "in use"
