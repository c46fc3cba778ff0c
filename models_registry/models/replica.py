"""The serving worker processes, the models that each one serves, and the tasks that one of them does for all."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils import timezone

from models_registry import conf
from models_registry.models.registered_model import RegisteredModel
from models_registry.models.version import ModelVersion


class ReplicaState(models.TextChoices):
    """The state of a model in a replica."""

    LOADING = "loading", "Loading"
    SERVING = "serving", "Serving"
    FAILED = "failed", "Failed"
    # The next request for the model loads it.
    UNLOADED = "unloaded", "Not loaded"


class ReplicaQuerySet(models.QuerySet["Replica"]):
    """Filters of replicas."""

    def live(self) -> ReplicaQuerySet:
        """Return the replicas whose last heartbeat is recent."""
        return self.filter(heartbeat_at__gte=timezone.now() - timedelta(seconds=conf.replica_timeout_seconds()))


class Replica(models.Model):
    """One serving worker process."""

    id = models.CharField(primary_key=True, max_length=200)
    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    # Without an index: PostgreSQL then updates a heartbeat in place, and the table has few rows.
    heartbeat_at = models.DateTimeField()
    # Replicas of earlier releases report neither field.
    storage = models.CharField(
        max_length=1000, blank=True, default="", db_default="", help_text="The address of its storage."
    )
    storage_endpoint = models.CharField(
        max_length=500, blank=True, default="", db_default="", help_text="The endpoint of a bucket that is not on AWS."
    )

    objects = ReplicaQuerySet.as_manager()

    class Meta:
        ordering = ["host", "pid"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class ReplicaModel(models.Model):
    """The report of one replica about one model."""

    replica = models.ForeignKey(Replica, on_delete=models.CASCADE, related_name="models")
    model = models.ForeignKey(RegisteredModel, on_delete=models.CASCADE, related_name="replicas")
    state = models.CharField(max_length=10, choices=ReplicaState.choices)
    serving_version = models.ForeignKey(ModelVersion, null=True, on_delete=models.PROTECT, related_name="+")
    generation = models.PositiveIntegerField(help_text="The last generation that this replica applied.")
    desired_generation = models.PositiveIntegerField(
        default=0, help_text="The generation of the desired state that this replica last read."
    )
    reason = models.TextField(blank=True, default="")
    digest = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="SHA-256 of the served artifact; empty: none is served.",
    )
    # {"form": "native" or "compiled", "text": a sentence}, and figures of the compiler's verdict. The loader makes it
    # (`Form.runs`), and services.write_reports stores it.
    runs = models.JSONField(default=dict, help_text="The form that serves, and how it was verified.")
    # Of the candidate, if there is one: {"3": {"state": …, "digest": …, "reason": …}}; from agent.reporting.
    others = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        help_text="Other loaded versions, by number: state, digest and reason.",
    )
    since = models.DateTimeField()

    class Meta:
        ordering = ["replica"]
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["replica", "model"], name="unique_model_per_replica")]

    def __str__(self) -> str:
        return f"{self.replica_id}: {self.model.name} {self.state}"


class Lease(models.Model):
    """A task that one replica at a time does for all replicas."""

    name = models.CharField(primary_key=True, max_length=50)
    holder = models.CharField(max_length=200, blank=True, default="")
    expires_at = models.DateTimeField()
    note = models.TextField(blank=True, default="", help_text="A note of the last holder, e.g. an error.")
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
