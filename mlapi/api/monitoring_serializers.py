"""Serializers of the registry API's monitoring endpoints."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mlapi.api.serializers import MAX_NUMBER, Strict
from models_registry.monitoring.replay import DEFAULT_TOLERANCE
from models_registry.monitoring.usage_report import WINDOWS
from models_registry.services.replays import DEFAULT_ROWS, MAX_ROWS


class WindowQuery(Strict):
    """The time window."""

    window = serializers.ChoiceField(choices=sorted(WINDOWS), default="1h", help_text="In minutes, hours, or days.")


class UsageFigures(serializers.Serializer[Any]):
    """Counts of one time window; shares from 0 to 1."""

    requests = serializers.IntegerField()
    refused = serializers.IntegerField(help_text="Failed for a reason outside the model, e.g. the client's input.")
    errors = serializers.IntegerField(  # type: ignore[assignment]  # DRF removes declared fields from the class
        help_text="The model failed: an exception, or a number that is not finite."
    )
    error_rate = serializers.FloatField(
        allow_null=True, help_text="Share of errors among the requests that were not refused."
    )
    rows = serializers.IntegerField()
    p50_ms = serializers.FloatField(allow_null=True)
    p99_ms = serializers.FloatField(allow_null=True)


class UsagePoint(UsageFigures):
    """One step of the window; steps without requests are omitted."""

    at = serializers.DateTimeField()


class VersionUsage(UsageFigures):
    """One version over the whole window."""

    version = serializers.IntegerField()
    errors_by_kind = serializers.DictField(child=serializers.IntegerField())
    labels = serializers.DictField(child=serializers.IntegerField(), help_text="Predictions by label.")
    label_shares = serializers.DictField(child=serializers.FloatField())
    values = serializers.DictField(
        allow_null=True, help_text="Upper bounds, and the number of predicted values up to each bound."
    )
    points = UsagePoint(many=True)


class Usage(serializers.Serializer[Any]):
    """A model's usage by version."""

    model = serializers.CharField()
    window = serializers.CharField()
    step_seconds = serializers.IntegerField()
    starts_at = serializers.DateTimeField()
    versions = VersionUsage(many=True)


class Distribution(serializers.Serializer[Any]):
    """The number of values in each bin, in the reference and in the window."""

    bins = serializers.ListField(child=serializers.CharField(), help_text="Ranges of numbers, or categories.")
    reference = serializers.ListField(child=serializers.IntegerField())
    current = serializers.ListField(child=serializers.IntegerField(), help_text="The values in the window.")


class ColumnDrift(serializers.Serializer[Any]):
    """Statistics of one column; shares from 0 to 1."""

    verdict = serializers.ChoiceField(choices=["drifted", "stable", "too few rows", "not compared"])
    reason = serializers.CharField()
    method = serializers.ChoiceField(choices=["wasserstein", "jensen_shannon"], allow_null=True)
    effect_size = serializers.FloatField(allow_null=True)
    chance = serializers.FloatField(
        allow_null=True, help_text="The largest effect size of random splits of the same values."
    )
    rows = serializers.IntegerField()
    reference_rows = serializers.IntegerField()
    missing = serializers.FloatField(allow_null=True)
    reference_missing = serializers.FloatField(allow_null=True)
    distribution = Distribution(allow_null=True, help_text="Null without an effect size.")


class FeatureDrift(ColumnDrift):
    """One feature."""

    name = serializers.CharField()


class DriftReference(serializers.Serializer[Any]):
    """The reference that served values are compared with."""

    source = serializers.CharField(  # type: ignore[assignment]  # DRF removes declared fields from the class
        help_text="The file that the manifest names as `reference`, or `sample`, or `served`: the first rows served."
    )
    rows = serializers.IntegerField(help_text="Rows in the reference; at most `max_rows` are compared.")


class VersionDrift(serializers.Serializer[Any]):
    """One version, the features with the largest effect size first."""

    version = serializers.IntegerField()
    reference = DriftReference(allow_null=True)
    basis = serializers.ChoiceField(
        choices=["log", "windows"],
        help_text="`log`: logged rows were compared. `windows`: counts by bin, of a sample of the served rows.",
    )
    rows = serializers.IntegerField()
    dropped = serializers.IntegerField(help_text="Served rows that were not counted, to keep predictions fast.")
    verdict = serializers.ChoiceField(choices=["drifted", "stable", "too few rows", "not compared"])
    features = FeatureDrift(many=True)
    predictions = ColumnDrift()


class Drift(serializers.Serializer[Any]):
    """A model's drift by version."""

    model = serializers.CharField()
    window = serializers.CharField()
    state = serializers.ChoiceField(choices=["captured", "not captured"])
    note = serializers.CharField(help_text="The setting to turn on if nothing is captured.")
    min_rows = serializers.IntegerField()
    max_rows = serializers.IntegerField()
    threshold = serializers.FloatField()
    versions = VersionDrift(many=True)


class QualityFigures(serializers.Serializer[Any]):
    """The quality of logged predictions."""

    logged_rows = serializers.IntegerField()
    labelled_rows = serializers.IntegerField()
    labelled_share = serializers.FloatField(allow_null=True, help_text="Rows that have a label yet, from 0 to 1.")
    metrics = serializers.DictField(
        help_text="For a classifier: accuracy, balanced_accuracy, f1_macro, log_loss, roc_auc and labels. For a "
        "regressor: mae, rmse and r2. Null: not defined for these rows. Empty: no row has a label."
    )


class DayQuality(QualityFigures):
    """The predictions of one day, in UTC."""

    day = serializers.DateField()


class VersionQuality(QualityFigures):
    """One version over the whole window."""

    version = serializers.IntegerField()
    kind = serializers.CharField()
    days = DayQuality(many=True)


class Quality(serializers.Serializer[Any]):
    """A model's quality by version."""

    model = serializers.CharField()
    window = serializers.CharField()
    starts_at = serializers.DateTimeField()
    is_complete = serializers.BooleanField(help_text="False: there are more files than one report reads.")
    versions = VersionQuality(many=True)


class ReplayRequest(Strict):
    """A replay of the rows that the registry has."""

    version = serializers.IntegerField(min_value=1, max_value=MAX_NUMBER)
    rows = serializers.IntegerField(default=DEFAULT_ROWS, min_value=1, max_value=MAX_ROWS)
    tolerance = serializers.FloatField(default=DEFAULT_TOLERANCE, min_value=0, max_value=1e9)


class ReplayUpload(ReplayRequest):
    """A replay of an uploaded table: a form with a file."""

    input = serializers.FileField(help_text="CSV, JSON Lines or Parquet.")


class Latency(serializers.Serializer[Any]):
    """Latency of single-row predictions; both versions run uncompiled."""

    p50_ms = serializers.FloatField(allow_null=True)
    p99_ms = serializers.FloatField(allow_null=True)


class Latencies(serializers.Serializer[Any]):
    """Latency of both versions."""

    active = Latency()
    candidate = Latency()


class Replay(serializers.Serializer[Any]):
    """A replay; figures appear when it has ended."""

    id = serializers.IntegerField()
    model = serializers.CharField()
    version = serializers.IntegerField()
    compared_with = serializers.IntegerField(allow_null=True, help_text="Null: the recorded predictions.")
    source = serializers.ChoiceField(choices=["file", "log", "sample"])  # type: ignore[assignment]  # as above
    state = serializers.ChoiceField(choices=["waiting", "running", "done", "failed"])
    reason = serializers.CharField(allow_null=True)
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    done_at = serializers.DateTimeField(allow_null=True)
    rows = serializers.IntegerField(required=False)
    changed = serializers.IntegerField(required=False)
    changed_percent = serializers.FloatField(required=False)
    interval = serializers.ListField(child=serializers.FloatField(), required=False, help_text="95 %, in percent.")
    tolerance = serializers.FloatField(required=False)
    errors = serializers.IntegerField(required=False)  # type: ignore[assignment]  # as above
    active_errors = serializers.IntegerField(required=False)
    latency = Latencies(required=False)
    examples = serializers.ListField(child=serializers.DictField(), required=False)
