"""Batch scoring jobs."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from models_registry.models.version import ModelVersion


class BatchState(models.TextChoices):
    """The state of a batch scoring job."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class BatchJob(models.Model):
    """Batch scoring that a replica runs: one version over the files of an input."""

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="batches")
    input = models.CharField(max_length=1000)
    output = models.CharField(max_length=1000)
    # The given fields of scoring.job.ScoringOptions, others have its defaults; services.start_batch writes it once.
    options = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=BatchState.choices, default=BatchState.QUEUED)
    reason = models.TextField(blank=True, default="", help_text="Why it failed.")
    rows = models.PositiveBigIntegerField(default=0)
    total_rows = models.PositiveBigIntegerField(null=True, blank=True)
    invalid_rows = models.PositiveBigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    holder = models.CharField(max_length=200, blank=True, default="", help_text="The replica that runs it.")
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=200, blank=True, default="")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = "batch"
        verbose_name_plural = "batches"
        default_permissions = ("view",)
        permissions = [("start_batchjob", "Can start and cancel batch scoring")]
        indexes = [models.Index(fields=["state", "created_at"], name="batches_by_state")]

    def __str__(self) -> str:
        return f"{self.version}: {self.input} → {self.output}"
