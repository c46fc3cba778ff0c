"""The forms of what the registry's API takes and answers about a model in service."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mlapi.api.serializers import Strict
from models_registry.monitoring.usage_report import WINDOWS


class WindowQuery(Strict):
    """How far to look back."""

    window = serializers.ChoiceField(choices=sorted(WINDOWS), default="1h", help_text="In minutes, hours, or days.")


class UsageFigures(serializers.Serializer[Any]):
    """What was answered in some time; shares from 0 to 1."""

    requests = serializers.IntegerField()
    refused = serializers.IntegerField(help_text="Failed for another reason than the model, e.g. the caller's input.")
    errors = serializers.IntegerField(  # type: ignore[assignment]  # the framework takes fields off the class
        help_text="The model failed: an exception, or a number that is not finite."
    )
    error_rate = serializers.FloatField(allow_null=True, help_text="Errors among the requests that were not refused.")
    rows = serializers.IntegerField()
    p50_ms = serializers.FloatField(allow_null=True)
    p99_ms = serializers.FloatField(allow_null=True)


class UsagePoint(UsageFigures):
    """One step; steps without a request are left out."""

    at = serializers.DateTimeField()


class VersionUsage(UsageFigures):
    """One version over the whole window."""

    version = serializers.IntegerField()
    errors_by_kind = serializers.DictField(child=serializers.IntegerField())
    labels = serializers.DictField(child=serializers.IntegerField(), help_text="Predictions by label.")
    label_shares = serializers.DictField(child=serializers.FloatField())
    values = serializers.DictField(allow_null=True, help_text="Bounds, and how many predicted numbers are up to each.")
    points = UsagePoint(many=True)


class Usage(serializers.Serializer[Any]):
    """A model's usage by version."""

    model = serializers.CharField()
    window = serializers.CharField()
    step_seconds = serializers.IntegerField()
    starts_at = serializers.DateTimeField()
    versions = VersionUsage(many=True)
