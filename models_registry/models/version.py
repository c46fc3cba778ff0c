"""Versions of models, and the state of their validation."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from models_registry.models.registered_model import RegisteredModel

# A version whose bytes could not be read is retried after this time; a person can retry it at once.
POSTPONED_SECONDS = 30
# The longest compilation (compilation/report.py).
COMPILATION_SECONDS = 180
# The large columns, which no list shows.
DETAILS = ("parts", "manifest", "inspection", "schema", "sample", "report", "notes")


class State(models.TextChoices):
    """The state of a version, from discovery to its verdict."""

    FOUND = "found", "Found"
    CHECKING = "checking", "Checking"
    READY = "ready", "Ready"
    REJECTED = "rejected", "Rejected"
    MISSING = "missing", "Missing"
    DELETED = "deleted", "Deleted"


def interrupted_checks_began_before() -> datetime:
    """Return a limit in time: a validation whose current step began before it counts as interrupted."""
    # A compilation may wait for another one of the same artifact; a reference is downloaded, then read and predicted.
    seconds: float = 2 * max(settings.MODELS_CHECK_SECONDS, COMPILATION_SECONDS) + settings.MODELS_STORAGE_SECONDS
    return timezone.now() - timedelta(seconds=seconds)


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    """Filters and orders of versions."""

    def ready(self) -> ModelVersionQuerySet:
        """Return the versions that passed validation."""
        return self.filter(state=State.READY)

    def waiting_for_check(self, *, interrupted_before: datetime | None = None) -> ModelVersionQuerySet:
        """Return the versions that wait for validation, and those whose validation was interrupted."""
        stale = interrupted_before or interrupted_checks_began_before()
        return self.filter(Q(state=State.FOUND) | Q(state=State.CHECKING, claimed_at__lt=stale))

    def due_for_check(self) -> ModelVersionQuerySet:
        """Return the waiting versions without those in back-off, in the order of their turns."""
        recently = timezone.now() - timedelta(seconds=POSTPONED_SECONDS)
        return self.waiting_for_check().exclude(state=State.FOUND, claimed_at__gte=recently).in_turn()

    def in_turn(self) -> ModelVersionQuerySet:
        """Order the versions for validation: models take turns, postponed versions come last."""
        return self.order_by(
            F("claimed_at").asc(nulls_first=True), F("model__check_began_at").asc(nulls_first=True), "found_at", "pk"
        )

    def without_details(self) -> ModelVersionQuerySet:
        """Return the versions without the large columns, which no list shows."""
        return self.defer(*DETAILS)

    def kept(self) -> ModelVersionQuerySet:
        """Return the versions that were not deleted."""
        return self.exclude(state=State.DELETED)

    def newest_first(self) -> ModelVersionQuerySet:
        """Order the versions by number, the highest first."""
        return self.order_by("-number")


class ModelVersion(models.Model):
    """One immutable build of a model: pinned by key, storage version, size and digest."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.FOUND)
    reason = models.TextField(blank=True, default="", help_text="The reason for this state, if there is one.")
    format = models.CharField(max_length=10)

    storage_key = models.CharField(max_length=900)
    storage_version = models.CharField(max_length=1100)
    size_bytes = models.BigIntegerField()
    digest = models.CharField(max_length=64, blank=True, default="", help_text="SHA-256 of the artifact.")
    # The validation (services/examination.py) writes all JSON columns of a version. services.recheck resets them except
    # `manifest` and `metrics`; services.delete_version empties them except `parts`, `metrics` and `schema`.
    # With `steps` in the manifest: the form of artifacts.pack.PinnedPack; else null.
    parts = models.JSONField(null=True, blank=True, help_text="Its stored files, if there are several.")

    description = models.TextField(blank=True, default="")
    notes = models.TextField(blank=True, default="", db_default="", help_text="Notes of users about the version.")
    notes_changed_at = models.DateTimeField(null=True, blank=True, editable=False)
    notes_changed_by = models.CharField(max_length=200, blank=True, default="", db_default="", editable=False)
    # Numbers by name, from the manifest.
    metrics = models.JSONField(blank=True, default=dict)
    # The form of artifacts.manifest.Manifest; that of an MLflow directory is merged with it.
    manifest = models.JSONField(blank=True, default=dict)
    # The form of artifacts.inspection.Inspection, and `version_verdict` and `is_version_verified`. It is written before
    # the load test, so that the admin shows it meanwhile.
    inspection = models.JSONField(null=True, blank=True)
    # The form of artifacts.schema.Schema.
    # The column keeps its first name, so that workers of the previous release work during a rollout.
    schema = models.JSONField(null=True, blank=True, db_column="signature")
    # The form of artifacts.manifest.Sample, always with predictions.
    sample = models.JSONField(null=True, blank=True)
    reference = models.JSONField(
        null=True,
        blank=True,
        help_text="The pinned file of training rows: name, key, storage version, size, SHA-256.",
    )
    sample_is_own = models.BooleanField(
        default=False, help_text="The expected predictions are those of the first validation; the publisher gave none."
    )
    # The form of artifacts.load_test.LoadTestReport. It may also have `signature_warning`, and `acceleration`, the form
    # of compilation.AccelerationReport.
    report = models.JSONField(null=True, blank=True)
    override_reason = models.TextField(
        blank=True, default="", help_text="Why its activation needs an override; empty: it needs none."
    )

    found_at = models.DateTimeField(default=timezone.now)
    published_by = models.CharField(max_length=200, blank=True, default="")
    claimed_by = models.CharField(max_length=200, blank=True, default="")
    # While it is checked: the start of the current step of its validation.
    claimed_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        ordering = ["model", "-number"]
        verbose_name = "version"
        default_permissions = ("view",)
        permissions = [
            ("publish_modelversion", "Can publish versions and look for new ones"),
            ("activate_modelversion", "Can activate and roll back versions"),
            ("try_modelversion", "Can ask versions that are not active"),
            ("download_modelversion", "Can download artifacts"),
            ("override_check", "Can activate a version that its check advises against"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["model", "number"], name="unique_number_per_model"),
            models.UniqueConstraint(fields=["model", "storage_key", "storage_version"], name="unique_stored_version"),
            models.CheckConstraint(condition=Q(number__gte=1), name="version_number_from_one"),
            models.CheckConstraint(condition=Q(state__in=State.values), name="version_state_is_known"),
            models.CheckConstraint(condition=~Q(state=State.READY) | ~Q(digest=""), name="ready_version_is_pinned"),
            models.CheckConstraint(condition=~Q(state=State.REJECTED) | ~Q(reason=""), name="rejection_has_a_reason"),
        ]
        indexes = [
            models.Index(fields=["state", "found_at"], name="versions_to_check"),
            models.Index(fields=["found_at"], name="versions_by_discovery"),
            models.Index(fields=["checked_at"], name="versions_by_check"),
        ]

    def __str__(self) -> str:
        return f"{self.model.name} {self.number}"

    @property
    def is_active(self) -> bool:
        """Return whether this is the active version of its model."""
        return self.model.active_version_id == self.pk
