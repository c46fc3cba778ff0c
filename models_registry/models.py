"""What the registry records: models, their versions, every activation, and the replicas that carry them out."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from models_registry import conf

# A version whose bytes cannot be had is tried again after so long; by hand at once.
POSTPONED_SECONDS = 30

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class Policy(models.TextChoices):
    """Who decides that a ready version should serve."""

    MANUAL = "manual", "Manual: a person activates"
    LATEST = "latest", "Latest: a version that passes its checks is activated by itself"


class CaptureSides(models.TextChoices):
    """What of a request is logged."""

    INPUT = "input", "Input"
    OUTPUT = "output", "Output"
    BOTH = "both", "Input and output"


class State(models.TextChoices):
    """Where a version stands."""

    FOUND = "found", "Found"
    CHECKING = "checking", "Checking"
    READY = "ready", "Ready"
    REJECTED = "rejected", "Rejected"
    MISSING = "missing", "Missing"


class ReplicaState(models.TextChoices):
    """How far a replica is with a model."""

    LOADING = "loading", "Loading"
    SERVING = "serving", "Serving"
    FAILED = "failed", "Failed"
    # It is loaded at the next request for it.
    UNLOADED = "unloaded", "Not loaded"


class RegisteredModel(models.Model):
    """A named predictor, with the desired state: the version that should serve it."""

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True, default="")
    policy = models.CharField(max_length=10, choices=Policy.choices, default=Policy.MANUAL)
    acceleration = models.BooleanField(
        default=True, help_text="Serve a verified compiled form where there is one; takes effect at the next poll."
    )
    active_version = models.ForeignKey(
        "ModelVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="+", editable=False
    )
    generation = models.PositiveIntegerField(default=0, editable=False)
    canary = models.OneToOneField(
        "Canary", null=True, blank=True, on_delete=models.PROTECT, related_name="+", editable=False
    )
    latest_percent = models.FloatField(
        default=100,
        db_default=100,
        help_text="With policy latest: the share of the traffic that a new version begins with.",
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
    capture_exclude = models.JSONField(
        default=list, blank=True, help_text="Columns that the prediction log leaves out, or keeps as a hash."
    )
    check_began_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When a version of it was last taken up for validation."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Numbers of versions by name. The defaults of the database are for workers of the release before.
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
                condition=Q(capture_percent__gte=0, capture_percent__lte=100), name="capture_percent_is_a_share"
            ),
            models.CheckConstraint(
                condition=Q(latest_percent__gte=0, latest_percent__lte=100), name="latest_percent_is_a_share"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class DesiredStateRevision(models.Model):
    """How many changes of any model's desired state there have been: one row, which every change moves."""

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    number = models.PositiveBigIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_revision")]

    def __str__(self) -> str:
        return str(self.number)


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    """Versions, in the registry's own words."""

    def ready(self) -> ModelVersionQuerySet:
        """Return those that passed their checks."""
        return self.filter(state=State.READY)

    def waiting_for_check(self) -> ModelVersionQuerySet:
        """Return those that nobody has checked, or whose checker has died."""
        stale = timezone.now() - timedelta(seconds=2 * settings.MODELS_CHECK_SECONDS + settings.MODELS_STORAGE_SECONDS)
        return self.filter(Q(state=State.FOUND) | Q(state=State.CHECKING, claimed_at__lt=stale))

    def due_for_check(self) -> ModelVersionQuerySet:
        """Return those of them that nobody has tried in vain a moment ago, in the order of their turns."""
        recently = timezone.now() - timedelta(seconds=POSTPONED_SECONDS)
        return self.waiting_for_check().exclude(state=State.FOUND, claimed_at__gte=recently).in_turn()

    def in_turn(self) -> ModelVersionQuerySet:
        """Return them in the order of their validation: models take turns, and what was postponed comes last."""
        return self.order_by(
            F("claimed_at").asc(nulls_first=True), F("model__check_began_at").asc(nulls_first=True), "found_at", "pk"
        )

    def newest_first(self) -> ModelVersionQuerySet:
        """Return them by number, the highest first."""
        return self.order_by("-number")


class ModelVersion(models.Model):
    """One immutable build of a model: pinned by key, storage version, size and digest."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.FOUND)
    reason = models.TextField(blank=True, default="", help_text="Why it is in this state, where that needs words.")
    format = models.CharField(max_length=10)

    storage_key = models.CharField(max_length=900)
    storage_version = models.CharField(max_length=1100)
    size_bytes = models.BigIntegerField()
    digest = models.CharField(max_length=64, blank=True, default="", help_text="SHA-256 of the artifact.")
    parts = models.JSONField(null=True, blank=True, help_text="The stored files that it consists of, where several.")

    description = models.TextField(blank=True, default="")
    metrics = models.JSONField(blank=True, default=dict)
    manifest = models.JSONField(blank=True, default=dict)
    inspection = models.JSONField(null=True, blank=True)
    # The column keeps its first name, so that workers of the release before go on while a rollout runs.
    schema = models.JSONField(null=True, blank=True, db_column="signature")
    sample = models.JSONField(null=True, blank=True)
    sample_is_own = models.BooleanField(
        default=False, help_text="The expected predictions are those of the first check; nobody gave any."
    )
    report = models.JSONField(null=True, blank=True)
    override_reason = models.TextField(
        blank=True, default="", help_text="Why activating it needs somebody to overrule the check; empty where not."
    )

    found_at = models.DateTimeField(default=timezone.now)
    published_by = models.CharField(max_length=200, blank=True, default="")
    claimed_by = models.CharField(max_length=200, blank=True, default="")
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
        indexes = [models.Index(fields=["state", "found_at"], name="versions_to_check")]

    def __str__(self) -> str:
        return f"{self.model.name} {self.number}"

    @property
    def is_active(self) -> bool:
        """Say whether this is the version that clients should get."""
        return self.model.active_version_id == self.pk


class Activation(models.Model):
    """A recorded move of the pointer: append-only."""

    class Kind(models.TextChoices):
        """What moved it."""

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
        help_text="Empty where no version is active from then on.",
    )
    previous_version = models.ForeignKey(ModelVersion, null=True, on_delete=models.PROTECT, related_name="+")
    generation = models.PositiveIntegerField()
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.ACTIVATION)
    reason = models.TextField(blank=True, default="")
    overrides = models.TextField(blank=True, default="", help_text="What the check advised, where it was overruled.")
    activated_by = models.CharField(max_length=200, blank=True, default="")
    activated_at = models.DateTimeField(default=timezone.now)
    rolled_out_at = models.DateTimeField(
        null=True, blank=True, help_text="When every live replica served it; noted where webhooks are set."
    )
    rollout_failed_at = models.DateTimeField(
        null=True, blank=True, help_text="When a replica first failed to load it; noted where webhooks are set."
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

    def __str__(self) -> str:
        return f"{self.model.name}: {f'version {self.version.number}' if self.version else 'no active version'}"


class Canary(models.Model):
    """A candidate that answers a share of a model's requests; kept when it has ended."""

    class Outcome(models.TextChoices):
        """How it ended."""

        PROMOTED = "promoted", "Promoted"
        ROLLED_BACK = "rolled_back", "Rolled back by a guardrail"
        ENDED = "ended", "Ended by hand"
        SUPERSEDED = "superseded", "Superseded"

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="canaries")
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="canaries")
    active_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    generation = models.PositiveIntegerField(help_text="The model's generation while it stands; salts the split.")
    percent = models.FloatField(help_text="Share of the requests, 0 to 100.")
    bake_minutes = models.FloatField(null=True, blank=True, help_text="Empty: it is promoted by hand.")
    guardrails = models.JSONField(default=dict, help_text="Limits by name: error_rate, p99_ratio, label_shift.")
    reason = models.TextField(blank=True, default="")
    overrides = models.TextField(blank=True, default="", help_text="What the check advised, where it was overruled.")
    started_by = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    traffic_at = models.DateTimeField(
        null=True, blank=True, help_text="When it got its first share: every live replica had loaded it."
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
        """When its bake time is over; None while it has no traffic yet, or where it has no bake time."""
        if self.traffic_at is None or self.bake_minutes is None:
            return None
        return self.traffic_at + timedelta(minutes=self.bake_minutes)


class Shadow(models.Model):
    """A version that gets copies of a model's requests and whose answers are only compared; kept when it has ended."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="shadows")
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="shadows")
    active_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    percent = models.FloatField(help_text="Share of the requests, 0 to 100.")
    reason = models.TextField(blank=True, default="")
    overrides = models.TextField(blank=True, default="", help_text="What the check advised, where it was overruled.")
    problem = models.TextField(blank=True, default="", help_text="Why it last gave no answers at all.")
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
    """What one replica compared with a shadow in one minute, in rows."""

    shadow = models.ForeignKey(Shadow, on_delete=models.CASCADE, related_name="windows")
    replica = models.CharField(max_length=200)
    starts_at = models.DateTimeField(db_index=True)
    rows = models.PositiveIntegerField(default=0, help_text="Rows that it was asked for.")
    agreed = models.PositiveIntegerField(default=0)
    errors = models.PositiveIntegerField(default=0, help_text="Rows without an answer.")
    dropped = models.PositiveIntegerField(default=0, help_text="Rows that it was not asked for: the queue was full.")
    latency = models.JSONField(default=list, help_text="Single rows by their time, over the buckets of the metrics.")

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["shadow", "replica", "starts_at"], name="unique_shadow_window"),
        ]

    def __str__(self) -> str:
        return f"{self.shadow_id} {self.replica} {self.starts_at:%Y-%m-%d %H:%M}"


class ReplicaQuerySet(models.QuerySet["Replica"]):
    """Replicas, in the registry's own words."""

    def live(self) -> ReplicaQuerySet:
        """Return those that were heard of lately."""
        return self.filter(heartbeat_at__gte=timezone.now() - timedelta(seconds=conf.replica_timeout_seconds()))


class Replica(models.Model):
    """One serving worker process."""

    id = models.CharField(primary_key=True, max_length=200)
    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField(db_index=True)

    objects = ReplicaQuerySet.as_manager()

    class Meta:
        ordering = ["host", "pid"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class ReplicaModel(models.Model):
    """What one replica reports of one model."""

    replica = models.ForeignKey(Replica, on_delete=models.CASCADE, related_name="models")
    model = models.ForeignKey(RegisteredModel, on_delete=models.CASCADE, related_name="replicas")
    state = models.CharField(max_length=10, choices=ReplicaState.choices)
    serving_version = models.ForeignKey(ModelVersion, null=True, on_delete=models.PROTECT, related_name="+")
    generation = models.PositiveIntegerField(help_text="The last generation that this replica carried out.")
    desired_generation = models.PositiveIntegerField(
        default=0, help_text="The generation that its state is about: the desired state as this replica last read it."
    )
    reason = models.TextField(blank=True, default="")
    digest = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="SHA-256 of what it serves; empty where nothing.",
    )
    runs = models.JSONField(default=dict, help_text="In which form it serves, and how that was verified.")
    others = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        help_text="The versions beside the active one, by number: state, digest and reason.",
    )
    since = models.DateTimeField()

    class Meta:
        ordering = ["replica"]
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["replica", "model"], name="unique_model_per_replica")]

    def __str__(self) -> str:
        return f"{self.replica_id}: {self.model.name} {self.state}"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Keys, in the registry's own words."""

    def not_revoked(self) -> ApiKeyQuerySet:
        """Return those that nobody revoked; expired ones among them, so that their holders are told why."""
        return self.filter(revoked_at__isnull=True)


class ApiKey(models.Model):
    """A right to ask for predictions; the key itself is shown once and kept nowhere."""

    name = models.CharField(max_length=100, help_text="Who holds it, e.g. the system that calls.")
    prefix = models.CharField(max_length=30, unique=True, help_text="The key's visible beginning.")
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the key.")
    model_names = models.JSONField(blank=True, default=list, help_text="What it is good for; every model where empty.")
    rate_per_minute = models.PositiveIntegerField(null=True, blank=True, help_text="Requests; unlimited where empty.")
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=200, blank=True, default="")
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=200, blank=True, default="")
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="To the minute.")

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
        """Say whether it opens anything: in use, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= timezone.now() else "in use"


class UsageWindowQuerySet(models.QuerySet["UsageWindow"]):
    """Usage windows, in the registry's own words."""

    def minutes(self) -> UsageWindowQuerySet:
        """Return those of a minute and one replica."""
        return self.filter(seconds=60)

    def hours(self) -> UsageWindowQuerySet:
        """Return those of an hour, all replicas together."""
        return self.filter(seconds=3600)


class UsageWindow(models.Model):
    """What one replica answered with one version in one minute, or what all did in one hour."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="usage")
    replica = models.CharField(max_length=200, blank=True, default="", help_text="Empty for all replicas together.")
    starts_at = models.DateTimeField()
    seconds = models.PositiveIntegerField()
    requests = models.PositiveBigIntegerField(default=0)
    refused = models.PositiveBigIntegerField(
        default=0, help_text="Requests that failed for another reason than the model."
    )
    rows = models.PositiveBigIntegerField(default=0)
    errors = models.JSONField(default=dict, help_text="Requests that the model failed at, by kind.")
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


class DriftCheck(models.Model):
    """Which columns of a version had drifted when it was last looked at."""

    version = models.OneToOneField(ModelVersion, on_delete=models.CASCADE, related_name="drift_check")
    checked_at = models.DateTimeField(null=True)
    features = models.JSONField(default=list, help_text="Names of the features that have drifted.")
    predictions = models.BooleanField(default=False, help_text="Whether the predictions have drifted.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"drift of {self.version}"


class Replay(models.Model):
    """A version that is run over rows, to compare its answers with those of the active version."""

    class State(models.TextChoices):
        """How far it is."""

        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    class Source(models.TextChoices):
        """Where its rows come from."""

        FILE = "file", "a file"
        LOG = "log", "the prediction log"
        SAMPLE = "sample", "the sample"

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="replays")
    compared_with = models.ForeignKey(
        ModelVersion,
        null=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="The active version; empty where the answers are compared with recorded predictions.",
    )
    source = models.CharField(max_length=10, choices=Source.choices)
    max_rows = models.PositiveIntegerField()
    tolerance = models.FloatField()
    table = models.JSONField(null=True, help_text="The rows of a file, until the replay has ended.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    reason = models.TextField(blank=True, default="", help_text="Why it failed.")
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


class BatchState(models.TextChoices):
    """How far a batch scoring job is."""

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


class Lease(models.Model):
    """A task that one replica at a time does for all."""

    name = models.CharField(primary_key=True, max_length=50)
    holder = models.CharField(max_length=200, blank=True, default="")
    expires_at = models.DateTimeField()
    note = models.TextField(blank=True, default="", help_text="What the last holder has to say, e.g. an error.")
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class WebhookDelivery(models.Model):
    """One event for one receiver: the outbox, and what became of it."""

    event = models.CharField(max_length=40, help_text="The id that each attempt carries.")
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
        """Return what became of it: delivered, lost or waiting."""
        if self.delivered_at is not None:
            return "delivered"
        return "lost" if self.gave_up_at is not None else "waiting"
