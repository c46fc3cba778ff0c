"""A model, and the version that should serve it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class Policy(models.TextChoices):
    """The policy of activation: by a person, or automatic."""

    MANUAL = "manual", "Manual: a person activates"
    LATEST = "latest", "Latest: a version that passes validation is activated automatically"


class CaptureSides(models.TextChoices):
    """The parts of a request that the prediction log keeps."""

    INPUT = "input", "Input"
    OUTPUT = "output", "Output"
    BOTH = "both", "Input and output"


class RegisteredModel(models.Model):
    """A named predictor, with the desired state: the version that should serve it."""

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True, default="")
    card = models.TextField(blank=True, default="", db_default="", help_text="The model card, in Markdown.")
    card_changed_at = models.DateTimeField(null=True, blank=True, editable=False)
    card_changed_by = models.CharField(max_length=200, blank=True, default="", db_default="", editable=False)
    policy = models.CharField(max_length=10, choices=Policy.choices, default=Policy.MANUAL)
    acceleration = models.BooleanField(
        default=True, help_text="Serve the verified compiled form if there is one; takes effect at the next poll."
    )
    active_version = models.ForeignKey(
        "ModelVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="+", editable=False
    )
    # Increases with each activation and deactivation. `revision` changes with each change of the desired state.
    generation = models.PositiveIntegerField(default=0, editable=False)
    canary = models.OneToOneField(
        "Canary", null=True, blank=True, on_delete=models.PROTECT, related_name="+", editable=False
    )
    latest_percent = models.FloatField(
        default=100,
        db_default=100,
        help_text="With policy latest: the initial share of the traffic for a new version, in percent.",
    )
    latest_bake_minutes = models.FloatField(
        default=30,
        db_default=30,
        help_text="With policy latest and a share below 100: minutes until it becomes active.",
    )
    revision = models.PositiveBigIntegerField(
        default=0, db_default=0, db_index=True, editable=False, help_text="The last change of its desired state."
    )
    capture_percent = models.FloatField(
        default=0, db_default=0, help_text="Share of the requests that the prediction log keeps."
    )
    capture = models.CharField(
        max_length=10, choices=CaptureSides.choices, default=CaptureSides.BOTH, db_default=CaptureSides.BOTH
    )
    # A list of names (left out) and of {"column": name, "hash": bool}; written by services.set_capture.
    capture_exclude = models.JSONField(
        default=list, blank=True, help_text="Columns that the prediction log leaves out or hashes."
    )
    check_began_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When the validation of one of its versions last started."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    archived_by = models.CharField(max_length=200, blank=True, default="", db_default="", editable=False)
    archived_reason = models.TextField(blank=True, default="", db_default="", editable=False)
    # Aliases: numbers of versions by name. Tags: a list of texts, or texts by name. Workers of the previous release
    # insert rows without these columns, so the database has defaults.
    aliases = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)
    tags = models.JSONField(default=list, db_default=models.Value([], models.JSONField()), blank=True)

    class Meta:
        ordering = ["name"]
        verbose_name = "model"
        default_permissions = ("view", "change")
        permissions = [("view_predictionlog", "Can view logged requests")]
        constraints = [
            models.CheckConstraint(condition=Q(name__regex=NAME_PATTERN), name="model_name_fits_a_url"),
            models.CheckConstraint(
                condition=Q(active_version__isnull=True) | Q(generation__gt=0), name="active_version_has_a_generation"
            ),
            models.CheckConstraint(
                condition=Q(canary__isnull=True) | Q(active_version__isnull=False), name="canary_has_an_active_version"
            ),
            models.CheckConstraint(
                condition=Q(archived_at__isnull=True) | Q(active_version__isnull=True),
                name="archived_model_has_no_active_version",
            ),
            models.CheckConstraint(
                condition=Q(capture_percent__gte=0, capture_percent__lte=100), name="capture_percent_is_a_share"
            ),
            models.CheckConstraint(
                condition=Q(latest_percent__gte=0, latest_percent__lte=100), name="latest_percent_is_a_share"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class DesiredStateRevision(models.Model):
    """A counter of all changes of desired state: one row, which every change increases."""

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    number = models.PositiveBigIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_revision")]

    def __str__(self) -> str:
        return str(self.number)
