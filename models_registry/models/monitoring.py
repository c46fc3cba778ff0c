"""Measurements of a version: its usage, its drift, and its replays."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from models_registry.models.version import ModelVersion


class UsageWindowQuerySet(models.QuerySet["UsageWindow"]):
    """Filters of usage windows."""

    def minutes(self) -> UsageWindowQuerySet:
        """Return the windows of one minute and one replica."""
        return self.filter(seconds=60)

    def hours(self) -> UsageWindowQuerySet:
        """Return the windows of one hour, all replicas together."""
        return self.filter(seconds=3600)


class UsageWindow(models.Model):
    """The usage of one version: of one replica in one minute, or of all replicas in one hour.

    `monitoring.usage` writes it. `latency` and `values` have one count for each of `monitoring.buckets.SECONDS` and
    `VALUES`, and one above. `features` has the form of `monitoring.value_counts.ValueCounts`, {} without counts.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="usage")
    replica = models.CharField(max_length=200, blank=True, default="", help_text="Empty for all replicas together.")
    starts_at = models.DateTimeField()
    seconds = models.PositiveIntegerField()
    requests = models.PositiveBigIntegerField(default=0)
    refused = models.PositiveBigIntegerField(
        default=0, help_text="Requests that failed for a reason outside the model."
    )
    rows = models.PositiveBigIntegerField(default=0)
    errors = models.JSONField(default=dict, help_text="Requests on which the model failed, by kind.")
    latency = models.JSONField(default=list, help_text="Answered requests by bucket of seconds.")
    latency_seconds = models.FloatField(default=0)
    labels = models.JSONField(default=dict, help_text="Predictions by label.")
    values = models.JSONField(default=list, help_text="Predicted numbers by bucket.")
    features = models.JSONField(default=dict, help_text="Served values by feature, in the bins of the reference.")

    objects = UsageWindowQuerySet.as_manager()

    class Meta:
        ordering = ["-starts_at"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["version", "seconds", "starts_at", "replica"], name="unique_usage_window"),
        ]
        indexes = [models.Index(fields=["seconds", "starts_at"], name="usage_by_time")]

    def __str__(self) -> str:
        return f"{self.version} at {self.starts_at:%Y-%m-%d %H:%M}"


class ReferenceRows(models.Model):
    """Training rows of a version, for the comparison with its served values.

    The validation writes them (`services.references.store_rows`). A row is an object by
    name, a list in the schema's order, or a bare value.
    """

    version = models.OneToOneField(ModelVersion, on_delete=models.CASCADE, related_name="reference_rows")
    instances = models.JSONField()
    predictions = models.JSONField(default=list, help_text="One for each row; null where the model has none.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"Reference of {self.version}"


class FeatureBins(models.Model):
    """The bins that served values of a version are counted into, with the counts of its reference.

    `services.feature_bins` writes them, in the form of `monitoring.feature_bins.FeatureBins`.
    """

    class Source(models.TextChoices):
        """The origin of the reference."""

        FILE = "file", "the file that was published as the reference"
        SAMPLE = "sample", "the sample"
        SERVED = "served", "the first rows served"

    version = models.OneToOneField(ModelVersion, on_delete=models.CASCADE, related_name="feature_bins")
    source = models.CharField(max_length=10, choices=Source.choices)
    rows = models.PositiveIntegerField(help_text="Rows of the reference that were counted.")
    columns = models.JSONField(help_text="Bins by column, those of the predictions last.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(source__in=["file", "sample", "served"]), name="feature_bins_source_is_known"
            )
        ]

    def __str__(self) -> str:
        return f"Bins of {self.version}"


class DriftCheck(models.Model):
    """The drifted columns of a version at the last check; `services.drift_watch` writes it."""

    version = models.OneToOneField(ModelVersion, on_delete=models.CASCADE, related_name="drift_check")
    checked_at = models.DateTimeField(null=True)
    features = models.JSONField(default=list, help_text="Names of the features that have drifted.")
    predictions = models.BooleanField(default=False, help_text="Whether the predictions have drifted.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"drift of {self.version}"


class Replay(models.Model):
    """A run of a version on known rows, compared with the active version's predictions."""

    class State(models.TextChoices):
        """The progress of a replay."""

        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    class Source(models.TextChoices):
        """The origin of the rows of a replay."""

        FILE = "file", "a file"
        LOG = "log", "the prediction log"
        SAMPLE = "sample", "the sample"

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="replays")
    compared_with = models.ForeignKey(
        ModelVersion,
        null=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="The active version; empty: the answers are compared with recorded predictions.",
    )
    source = models.CharField(max_length=10, choices=Source.choices)
    max_rows = models.PositiveIntegerField()
    tolerance = models.FloatField()
    # The fields of artifacts.table.Table; services.request_replay writes it, and services.run_replay removes it.
    table = models.JSONField(null=True, help_text="The rows of a file, until the replay has ended.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    reason = models.TextField(blank=True, default="", help_text="Why it failed.")
    # What monitoring.replay.compare returns; services.run_replay writes it.
    result = models.JSONField(null=True)
    created_by = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    claimed_at = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "running", "done", "failed"]), name="replay_state_is_known"
            )
        ]
        indexes = [models.Index(fields=["state", "created_at"], name="replays_to_run")]

    def __str__(self) -> str:
        return f"replay {self.pk} of {self.version}"
