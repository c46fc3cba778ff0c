"""Changes of a model's traffic: activations, canaries and shadows."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from models_registry.models.registered_model import RegisteredModel
from models_registry.models.version import ModelVersion


class Activation(models.Model):
    """One change of a model's active version; rows are only added."""

    class Kind(models.TextChoices):
        """The cause of the change."""

        ACTIVATION = "activation", "Activation"
        ROLLBACK = "rollback", "Rollback"
        POLICY = "policy", "Policy latest"
        PROMOTION = "promotion", "Promotion"
        DEACTIVATION = "deactivation", "Deactivation"

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="activations")
    version = models.ForeignKey(
        ModelVersion,
        null=True,
        on_delete=models.PROTECT,
        related_name="activations",
        help_text="Empty: the model was deactivated.",
    )
    previous_version = models.ForeignKey(ModelVersion, null=True, on_delete=models.PROTECT, related_name="+")
    generation = models.PositiveIntegerField()
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.ACTIVATION)
    reason = models.TextField(blank=True, default="")
    overrides = models.TextField(blank=True, default="", help_text="The overridden advice of the validation.")
    activated_by = models.CharField(max_length=200, blank=True, default="")
    activated_at = models.DateTimeField(default=timezone.now)
    rolled_out_at = models.DateTimeField(
        null=True, blank=True, help_text="When every live replica served it; recorded only if webhooks are set."
    )
    rollout_failed_at = models.DateTimeField(
        null=True, blank=True, help_text="When a replica first failed to load it; recorded only if webhooks are set."
    )

    class Meta:
        ordering = ["-activated_at", "-generation"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["model", "generation"], name="unique_generation_per_model"),
            models.CheckConstraint(
                condition=Q(previous_version__isnull=True) | ~Q(previous_version=F("version")),
                name="activation_changes_the_version",
            ),
            models.CheckConstraint(
                condition=Q(kind="deactivation", version__isnull=True, previous_version__isnull=False)
                | (~Q(kind="deactivation") & Q(version__isnull=False)),
                name="only_a_deactivation_has_no_version",
            ),
        ]
        indexes = [models.Index(fields=["-activated_at", "-generation"], name="activations_by_time")]

    def __str__(self) -> str:
        return f"{self.model.name}: {f'version {self.version.number}' if self.version else 'no active version'}"


class Canary(models.Model):
    """A candidate that answers a share of a model's requests; the row is kept after its end."""

    class Outcome(models.TextChoices):
        """The end of a canary; empty while it runs."""

        PROMOTED = "promoted", "Promoted"
        ROLLED_BACK = "rolled_back", "Rolled back by a guardrail"
        ENDED = "ended", "Ended by hand"
        SUPERSEDED = "superseded", "Superseded"

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="canaries")
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="canaries")
    active_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    generation = models.PositiveIntegerField(help_text="The model's generation; the salt of the split.")
    percent = models.FloatField(help_text="Share of the requests, 0 to 100.")
    bake_minutes = models.FloatField(null=True, blank=True, help_text="Empty: a person promotes it.")
    # Only the given or default limits; services.start_canary writes it once.
    guardrails = models.JSONField(default=dict, help_text="Limits by name: error_rate, p99_ratio, label_shift.")
    reason = models.TextField(blank=True, default="")
    overrides = models.TextField(blank=True, default="", help_text="The overridden advice of the validation.")
    started_by = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    traffic_at = models.DateTimeField(
        null=True, blank=True, help_text="When it got its first share: after every live replica had loaded it."
    )
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=11, choices=Outcome.choices, blank=True, default="")
    ended_by = models.CharField(max_length=200, blank=True, default="")
    ended_reason = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name_plural = "canaries"
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["model"], condition=Q(ended_at__isnull=True), name="one_running_canary_per_model"
            ),
            models.CheckConstraint(condition=Q(percent__gte=0, percent__lte=100), name="canary_percent_is_a_share"),
            models.CheckConstraint(
                condition=Q(bake_minutes__isnull=True) | Q(bake_minutes__gt=0), name="bake_time_is_positive"
            ),
            models.CheckConstraint(
                condition=~Q(version=F("active_version")), name="canary_is_another_version_than_the_active_one"
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, outcome="") | Q(ended_at__isnull=False) & ~Q(outcome=""),
                name="ended_canary_has_an_outcome",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model.name}: {self.percent:g} % to version {self.version.number}"

    @property
    def bake_ends_at(self) -> datetime | None:
        """The end of its bake time; None without traffic so far, or without a bake time."""
        if self.traffic_at is None or self.bake_minutes is None:
            return None
        return self.traffic_at + timedelta(minutes=self.bake_minutes)


class Shadow(models.Model):
    """A version that gets copies of a model's requests; its predictions are only compared. The row is kept."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="shadows")
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="shadows")
    active_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    percent = models.FloatField(help_text="Share of the requests, 0 to 100.")
    reason = models.TextField(blank=True, default="")
    overrides = models.TextField(blank=True, default="", help_text="The overridden advice of the validation.")
    problem = models.TextField(blank=True, default="", help_text="Why it gave no answers in the last run.")
    started_by = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=200, blank=True, default="")
    ended_reason = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["-created_at", "-pk"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["model"], condition=Q(ended_at__isnull=True), name="one_running_shadow_per_model"
            ),
            models.CheckConstraint(condition=Q(percent__gte=0, percent__lte=100), name="shadow_percent_is_a_share"),
            models.CheckConstraint(
                condition=~Q(version=F("active_version")), name="shadow_is_another_version_than_the_active_one"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model.name}: copies of {self.percent:g} % to version {self.version.number}"


class ShadowWindow(models.Model):
    """The comparison of one replica with a shadow in one minute, in rows."""

    shadow = models.ForeignKey(Shadow, on_delete=models.CASCADE, related_name="windows")
    replica = models.CharField(max_length=200)
    starts_at = models.DateTimeField(db_index=True)
    rows = models.PositiveIntegerField(default=0, help_text="Rows that it was asked to predict.")
    agreed = models.PositiveIntegerField(default=0)
    errors = models.PositiveIntegerField(default=0, help_text="Rows without an answer.")
    dropped = models.PositiveIntegerField(default=0, help_text="Rows that were dropped because the queue was full.")
    # One count for each of monitoring.buckets.SECONDS and one above; services.record_shadow_counts adds to it.
    latency = models.JSONField(default=list, help_text="Times of single rows, in the buckets of the metrics.")

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["shadow", "replica", "starts_at"], name="unique_shadow_window"),
        ]

    def __str__(self) -> str:
        return f"{self.shadow_id} {self.replica} {self.starts_at:%Y-%m-%d %H:%M}"
